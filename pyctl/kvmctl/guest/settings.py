# SPDX-License-Identifier: BSD-2-Clause
"""The settings of a program, as the VMOD knows them: names and types."""

import difflib
import os.path
from pathlib import Path
from typing import Any

from kvmctl.errors import ManifestError

_NUMBER = (int, float)

#: Limits and permissions that guest.toml and edge.toml may set.
LIMITS: dict[str, tuple[type, ...]] = {
    "max_boot_time": _NUMBER, "max_request_time": _NUMBER,
    "max_storage_time": _NUMBER, "max_queue_time": _NUMBER,
    "max_queue": (int,),
    "max_memory": _NUMBER, "max_request_memory": _NUMBER,
    "address_space": _NUMBER, "req_mem_limit_after_reset": _NUMBER,
    "shared_memory": _NUMBER, "concurrency": (int,), "smp": (int,),
    "hugepages": (bool,), "transparent_hugepages": (bool,),
    "hugepage_arena_size": _NUMBER, "request_hugepages": (bool,),
    "request_hugepage_arena_size": _NUMBER, "split_hugepages": (bool,),
}
PERMISSIONS: dict[str, tuple[type, ...]] = {
    "allowed_paths": (list,), "allowed_fetch": (list,),
    "executable_heap": (bool,), "storage": (bool,),
    "ephemeral": (bool,), "ephemeral_keep_working_memory": (bool,),
    "control_ephemeral": (bool,), "stdout": (bool,),
    "verbose_syscalls": (bool,), "allow_debug": (bool,),
    "remote_debug_on_exception": (bool,), "debug_requests": (bool,),
    "debug_port": (int,), "debug_wait": _NUMBER,
}
OTHER: dict[str, tuple[type, ...]] = {
    "group": (str,), "main_arguments": (list,), "environment": (list,),
    "current_working_directory": (str,), "start": (bool,),
    "server": (dict,), "websocket_server": (dict,), "warmup": (dict,),
    "key": (str,), "sha256": (str,), "state_directory": (str,),
}
ALL = LIMITS | PERMISSIONS | OTHER


def unknown_key(where: str, key: str, known: "list[str]") -> ManifestError:
    """The error for a key that nobody knows, with the likeliest one meant."""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean \"{near[0]}\"?" if near else ""
    return ManifestError(f"{where}: there is no key \"{key}\"{hint}")


def check(where: str, table: Any,
          known: dict[str, tuple[type, ...]]) -> dict[str, Any]:
    """The table, when every key is known and of its type."""
    if not isinstance(table, dict):
        raise ManifestError(f"{where}: a table is expected")
    for key, value in table.items():
        if key not in known:
            raise unknown_key(where, key, list(known))
        types = known[key]
        is_bool = isinstance(value, bool)
        if not isinstance(value, types) or (is_bool and bool not in types):
            names = " or ".join(t.__name__ for t in types)
            raise ManifestError(f"{where}: \"{key}\" is of type {names}")
    return table


def allowed_paths(where: str, directory: Path, value: list[Any]) -> list[Any]:
    """The list with its relative paths made absolute.

    A relative "real" path is in the directory of guest.toml; the program sees
    a relative path below "/", where it starts unless told otherwise.
    """
    result: list[Any] = []
    for number, entry in enumerate(value, 1):
        if isinstance(entry, str):
            entry = {"real": entry}
        if not isinstance(entry, dict):
            raise ManifestError(f"{where}: \"allowed_paths\", entry {number}: "
                                "a string or a table is expected")
        entry = dict(entry)
        real = entry.get("real", "/")
        if isinstance(real, str) and real[:1] not in ("/", "$"):
            entry.setdefault("virtual", real)
            entry["real"] = str((directory / real).resolve())
        seen = entry.get("virtual", "/")
        if isinstance(seen, str) and seen[:1] not in ("/", "$"):
            entry["virtual"] = os.path.normpath("/" + seen)
        result.append(entry)
    return result
