# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl run."""

import base64
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.engine import Engine, Response
from kvmctl.environment import Environment
from kvmctl.errors import UsageError
from kvmctl.guest import manifest, toolchains

_LIFE, _ERROR, _GUEST_WORDS, _TRACE = range(4)  # enum tkc_log_kind


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    url: str
    method: str | None
    headers: tuple[str, ...]
    data: str | None
    arg: str
    repeat: int
    output: Path | None
    out: Path
    trace: bool = False
    gdb: int | None = None              # the port, 0: any


def _body(env: Environment, data: str | None) -> bytes:
    if data is None:
        return b""
    if data == "@-":
        return env.stdin.read()
    if data.startswith("@"):
        try:
            return Path(data[1:]).read_bytes()
        except OSError as e:
            raise UsageError(f"cannot read {data[1:]}: {e.strerror}") from None
    return data.encode("utf-8", "surrogateescape")


def _program(env: Environment, path: Path,
             out: Path) -> tuple[str, dict[str, Any]]:
    """A name and settings for the engine; guests are built first."""
    if path.is_dir() or path.name == "guest.toml":
        guest = manifest.load(path)
        env.status(f"building {guest.name} ...")
        built = toolchains.build(guest, out)
        return guest.name, guest.settings | {
            "filename": str(built.executable), "concurrency": 1}
    return path.name, {"filename": str(path.resolve()), "concurrency": 1}


def _show(env: Environment, answer: Response) -> None:
    env.note(f"{answer.status} {answer.content_type}")
    for header in answer.headers:
        env.note(header)
    env.note(f"\n{len(answer.body)} bytes; {answer.seconds * 1e6:.1f} us in "
             f"the guest, {answer.exits} KVM exit"
             f"{'' if answer.exits == 1 else 's'}, {answer.pages_written} "
             f"pages written, reset {answer.reset_seconds * 1e6:.1f} us")


def _to_json(answer: Response) -> dict[str, Any]:
    try:
        body: dict[str, str] = {"body": answer.body.decode("utf-8")}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(answer.body).decode()}
    return body | {
        "status": answer.status, "content_type": answer.content_type,
        "headers": list(answer.headers), "seconds": answer.seconds,
        "exits": answer.exits, "pages_written": answer.pages_written,
        "reset_seconds": answer.reset_seconds,
        "from_error_handler": answer.from_error_handler,
    }


def run(env: Environment, path: Path, options: Options) -> None:
    """Asks the program, and shows its answer and what it took."""
    for header in options.headers:
        if ":" not in header:
            raise UsageError(f"\"{header}\" is no header: 'Name: value'")
    body = _body(env, options.data)
    name, settings = _program(env, path, options.out)
    if options.trace:
        settings["verbose_syscalls"] = True
    if options.gdb is not None:
        settings |= {"allow_debug": True, "remote_debug_on_exception": True,
                     "debug_requests": True, "debug_port": options.gdb}
        # Python would hear of Ctrl-C when the debugger has gone.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def log(program: str, kind: int, text: str) -> None:
        if kind == _GUEST_WORDS:
            env.note(f"{program}: {text.rstrip()}")
        elif options.trace and kind in (_LIFE, _TRACE):
            env.note(env.style(text, "2"))
        elif options.gdb is not None and kind in (_LIFE, _ERROR):
            env.note(text)

    types = [h.split(":", 1)[1].strip() for h in options.headers
             if h.lower().startswith("content-type:")]
    with Engine(log) as engine:
        program = engine.define(name, settings)
        program.start(debug=options.gdb is not None)
        for _ in range(options.repeat):
            answer = program.request(
                options.method or ("POST" if body else "GET"), options.url,
                options.arg, options.headers, body, types[0] if types else "")
    if options.output is not None:
        options.output.write_bytes(answer.body)
    if env.as_json:
        env.result_json(_to_json(answer))
        return
    _show(env, answer)
    if options.output is None:
        if b"\0" in answer.body and sys.stdout.isatty():
            raise UsageError("the body is binary: write it with --output FILE")
        env.result_bytes(answer.body)
