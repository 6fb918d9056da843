# SPDX-License-Identifier: BSD-2-Clause
"""The engine in Python's words.

The declarations are the engine's own headers, so that the two cannot drift
apart: what stands between their cffi marks is given to cffi as it is.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cffi import FFI

from kvmctl import files, paths
from kvmctl.errors import GuestError, HostError, ManifestError

_PART = re.compile(r"/\* cffi: begin \*/(.*?)/\* cffi: end \*/", re.S)
_MAX_HEADERS = 256
_AT_ONCE = 1 << 30              # bytes of a body

#: enum tkc_reason values whose cause is not the program.
_SETTINGS, _NOTFOUND, _ENVIRONMENT = 1, 2, 9

LogFunction = Callable[[str, int, str], None]


@dataclass(frozen=True)
class Response:
    """One answer. Times are in seconds."""

    status: int
    content_type: str
    headers: tuple[str, ...]
    body: bytes
    seconds: float
    exits: int
    pages_written: int
    reset_seconds: float
    from_error_handler: bool


def _declarations(directory: Path) -> str:
    text = ""
    for name in ("host.h", "compute.h"):
        try:
            found = _PART.search((directory / name).read_text())
        except OSError as e:
            raise HostError(f"cannot read {directory / name}: "
                            f"{e.strerror}: run `make`") from None
        if found is None:
            raise HostError(f"{directory / name} has no declarations")
        text += found.group(1)
    return text


class Engine:
    """A registry of programs. Use it as a context manager."""

    def __init__(self, log: LogFunction | None = None) -> None:
        library = paths.engine()
        self._ffi = FFI()
        self._ffi.cdef(_declarations(library.parent))
        try:
            self._lib: Any = self._ffi.dlopen(str(library))
        except OSError as e:
            raise HostError(f"cannot load {library}: {e}") from None
        self._log = log
        self._interface = self._ffi.new("struct tkc_host_interface *")
        self._on_log = self._ffi.callback(
            "void(void *, const char *, int, const char *, size_t)",
            self._receive_log)
        self._interface.log = self._on_log
        self._registry = self._lib.tkc_registry_new(self._interface,
                                                    self._ffi.NULL)
        if self._registry == self._ffi.NULL:
            raise HostError("out of memory")

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives all machines back."""
        if self._registry is not None:
            handle = self._ffi.new("struct tkc_registry **", self._registry)
            self._lib.tkc_registry_free(handle)
            self._registry = None

    def _receive_log(self, _host: Any, program: Any, kind: int, text: Any,
                     length: int) -> None:
        if self._log is not None:
            words = bytes(self._ffi.buffer(text, length))
            self._log(self._ffi.string(program).decode(), kind,
                      words.decode("utf-8", "replace"))

    def _new_error(self) -> Any:
        return self._ffi.new("struct tkc_error *")

    def _raise(self, error: Any) -> None:
        text = self._ffi.string(error.text).decode("utf-8", "replace")
        if error.reason in (_SETTINGS, _NOTFOUND):
            raise ManifestError(text)
        if error.reason == _ENVIRONMENT:
            raise HostError(text)
        raise GuestError(text)

    def define(self, name: str, settings: dict[str, Any]) -> "Program":
        """A program of these settings ("filename" among them).

        Raises ManifestError when they, or the file, are wrong.
        """
        error = self._new_error()
        if any("\udc80" <= c <= "\udcff"
               for c in name + str(settings.get("filename", ""))):
            raise ManifestError(f"{name!r}: the name of a program's file is "
                                "UTF-8: rename it")
        if self._lib.tkc_configure(self._registry, name.encode(),
                                   json.dumps(settings).encode(), error):
            self._raise(error)
        handle = self._lib.tkc_find(self._registry, name.encode(), error)
        if handle == self._ffi.NULL:
            self._raise(error)
        return Program(self, handle)

    def invalidate(self, pattern: str = "") -> int:
        """Unloads programs, as tinykvm.invalidate_programs() does."""
        error = self._new_error()
        n: int = self._lib.tkc_invalidate(self._registry, pattern.encode(),
                                          error)
        if n < 0:
            self._raise(error)
        return n

    def set_warm(self, warm: bool) -> None:
        """The temperature of the registry: cold gives all machines back."""
        if warm:
            self._lib.tkc_registry_warm(self._registry)
        else:
            self._lib.tkc_registry_cold(self._registry)

    def stats(self) -> dict[str, Any]:
        """What tinykvm.stats() shows."""
        error = self._new_error()
        text = self._lib.tkc_stats(self._registry, b"", -1, error)
        value: dict[str, Any] = self._take_json(text, error)
        return value

    def host_report(self) -> dict[str, Any]:
        """Facts about this machine's KVM. Raises HostError without it."""
        error = self._new_error()
        value: dict[str, Any] = self._take_json(
            self._lib.tkc_host_report(error), error)
        return value

    def linux_calls(self) -> list[dict[str, Any]]:
        """The Linux calls there are: number, name, support, note."""
        error = self._new_error()
        calls: list[dict[str, Any]] = self._take_json(
            self._lib.tkc_linux_calls(error), error)
        return calls

    def _take_json(self, text: Any, error: Any) -> Any:
        if text == self._ffi.NULL:
            self._raise(error)
        try:
            return json.loads(self._ffi.string(text))
        finally:
            self._lib.tkc_stats_free(text)


class Program:
    """A program that can be started and asked."""

    def __init__(self, engine: Engine, handle: Any) -> None:
        self._engine = engine
        self._handle = handle

    def start(self, debug: bool = False) -> None:
        """Boots now. Raises GuestError with the reason."""
        error = self._engine._new_error()
        if self._engine._lib.tkc_start(self._handle, 0, int(debug), error):
            self._engine._raise(error)

    def live_update(self, program: bytes | Path) -> None:
        """Another executable takes its place; or GuestError, and it stays."""
        ffi, lib = self._engine._ffi, self._engine._lib
        error = self._engine._new_error()
        if isinstance(program, Path):
            e = lib.tkc_live_update_file(self._handle, str(program).encode(),
                                         error)
        else:
            e = lib.tkc_live_update(self._handle, ffi.from_buffer(program),
                                    len(program), error)
        if e:
            self._engine._raise(error)

    def may_update(self, key: str) -> None:
        """Raises GuestError when the key does not allow a live update."""
        error = self._engine._new_error()
        if self._engine._lib.tkc_may_update(self._handle, key.encode(), error):
            self._engine._raise(error)

    def request(self, method: str = "GET", url: str = "/", arg: str = "",
                headers: Sequence[str] = (), body: bytes = b"",
                content_type: str = "") -> Response:
        """One request in a fork, which is reset before this returns.

        headers are "Name: value". Raises GuestError when the program fails.
        """
        ffi, lib = self._engine._ffi, self._engine._lib
        error = self._engine._new_error()
        if len(headers) > _MAX_HEADERS:
            raise GuestError(f"more than {_MAX_HEADERS} headers")
        inv = ffi.new("struct tkc_invocation **")
        if lib.tkc_reserve(self._handle, inv, error):
            self._engine._raise(error)
        cost = ffi.new("struct tkc_release_cost *")
        response = ffi.new("struct tkc_response *")
        keep = [ffi.new("char[]", s.encode("utf-8", "surrogateescape"))
                for s in (method, url, arg, content_type, *headers)]
        spans = ffi.new("struct tkc_span[]", max(1, len(headers)))
        for span, text in zip(spans, keep[4:]):
            span.ptr = text
            span.len = len(text) - 1
        request = ffi.new("struct tkc_request *", {
            "method": keep[0], "url": keep[1], "arg": keep[2],
            "content_type": keep[3], "headers": spans,
            "num_headers": len(headers), "is_backend": 1,
            "body_expected": len(body),
        })
        try:
            if body:
                lib.tkc_body_append(inv[0], request, ffi.from_buffer(body),
                                    len(body))
            if lib.tkc_invoke(inv[0], request, response, error):
                self._engine._raise(error)
            answer = self._copy(inv[0], response, error)
        finally:
            lib.tkc_release(inv, cost)
        return Response(pages_written=cost.pages_written,
                        reset_seconds=cost.reset_seconds, **answer)

    def _copy(self, inv: Any, response: Any, error: Any) -> dict[str, Any]:
        ffi, lib = self._engine._ffi, self._engine._lib
        body = bytearray()
        span = ffi.new("struct tkc_span *")
        while True:
            if lib.tkc_body_next(inv, _AT_ONCE, span, error):
                self._engine._raise(error)
            if span.len == 0:
                break
            if len(body) + span.len > files.DATA:
                raise GuestError("it answers more than "
                                 f"{files.DATA >> 20} MiB, which are not kept "
                                 "here: Varnish passes such streams on")
            body += ffi.buffer(span.ptr, span.len)
        return {
            "status": response.status,
            "content_type": ffi.string(
                response.content_type).decode("utf-8", "replace"),
            "headers": tuple(
                bytes(ffi.buffer(h.ptr, h.len)).decode("utf-8", "replace")
                for h in (response.headers[i]
                          for i in range(response.num_headers))),
            "body": bytes(body),
            "seconds": response.seconds,
            "exits": response.exits,
            "from_error_handler": bool(response.from_error_handler),
        }
