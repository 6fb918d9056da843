# SPDX-License-Identifier: BSD-2-Clause
"""Where a varnishd's command line is: from its working directory.

The manager publishes its -T and -S there, in small files that an index names:

    # PID START                                  a new manager began
    + FILE OFFSET LENGTH CLASS IDENT             a segment came
    - FILE ...                                   and went
"""

import socket
from dataclasses import dataclass
from pathlib import Path

from kvmctl.decimals import decimal
from kvmctl.errors import VarnishError
from kvmctl.varnish.reach import Reach

#: Debian's, and that of a build from source.
STATE_DIRECTORIES = (Path("/var/lib/varnish"), Path("/usr/local/var/varnish"))


@dataclass(frozen=True)
class CommandLine:
    """Addresses that the manager listens on, and its secret's file."""

    addresses: tuple[tuple[str, int], ...]
    secret: Path | None


def directories(name: str | None, remote: bool = False) -> list[Path]:
    """Where `varnishd -n NAME` may work. Remote: the name must be known."""
    if name is not None and Path(name).is_absolute():
        return [Path(name)]
    # Without a name it is the host's, since 7.6 "varnishd".
    names = [name] if name else [
        *([] if remote else [socket.gethostname()]), "varnishd"]
    return [base / n for n in names for base in STATE_DIRECTORIES]


def _segments(index: str) -> dict[tuple[str, str], tuple[str, int, int]]:
    """(class, ident) -> (file, offset, length)."""
    found: dict[str, tuple[tuple[str, str], tuple[str, int, int]]] = {}
    for line in index.splitlines():
        words = line.split()
        if words[:1] == ["#"]:
            found.clear()
        elif len(words) >= 5 and words[0] == "+":
            offset, length = decimal(words[2]), decimal(words[3])
            ident = words[5] if len(words) > 5 else ""
            if offset is not None and length is not None:
                found[words[1]] = ((words[4], ident),
                                   (words[1], offset, length))
        elif words[:1] == ["-"] and len(words) > 1:
            found.pop(words[1], None)
    return dict(found.values())


def _argument(files: dict[str, bytes], ident: str) -> str | None:
    index = files["_.index"].decode(errors="replace")
    where = _segments(index).get(("Arg", ident))
    if where is None:
        return None
    name, offset, length = where
    data = files.get(name, b"")[offset:offset + length]
    return data.split(b"\0")[0].decode(errors="replace").strip()


def find(reach: Reach, name: str | None) -> CommandLine:
    """Raises VarnishError when no varnishd of that name has run there."""
    problem = ""
    for directory in directories(name, reach.remote):
        try:
            files = reach.read_all(directory / "_.vsm_mgt", "_.index",
                                   "_.Arg.*")
            where, secret = _argument(files, "-T"), _argument(files, "-S")
        except (OSError, KeyError) as e:
            problem = problem or f"{directory}: " + (
                e.strerror or "" if isinstance(e, OSError) else "no index")
            continue
        rows = [line.split() for line in (where or "").splitlines()]
        addresses = tuple((row[0], port) for row in rows if len(row) == 2
                          and (port := decimal(row[1])) is not None)
        if not addresses:
            raise VarnishError(f"the varnishd in {directory} has no command "
                               "line: start it with -T, or give its address "
                               "by -T and its secret by -S")
        return CommandLine(addresses, Path(secret) if secret else None)
    raise VarnishError(f"no varnishd {name or 'here'} ({problem}): -n names "
                       "its directory as for varnishd, or -T its address")
