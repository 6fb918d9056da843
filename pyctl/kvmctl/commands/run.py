# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl run."""

import base64
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kvmctl import files
from kvmctl.engine import Engine, Response
from kvmctl.environment import Environment
from kvmctl.errors import KvmctlError, UsageError
from kvmctl.trial import request as requests
from kvmctl.trial.program import prepare
from kvmctl.trial.request import Request
from kvmctl.trial.runner import ask

_LIFE, _ERROR, _GUEST_WORDS, _TRACE = range(4)  # enum tkc_log_kind


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    url: str
    method: str | None
    headers: tuple[str, ...]
    data: str | None
    arg: str
    out: Path
    request: str | None = None          # a .http or .har file, - is stdin
    repeat: int = 1
    output: Path | None = None
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


def requests_of(env: Environment, options: Options) -> list[Request]:
    """What the options say, or what is in the file."""
    for header in options.headers:
        if ":" not in header:
            raise UsageError(f"\"{header}\" is no header: 'Name: value'")
    if options.request is None:
        body = _body(env, options.data)
        return [Request(options.method or ("POST" if body else "GET"),
                        options.url, options.arg, options.headers, body)]
    if options.data is not None or options.method is not None:
        raise UsageError("--request brings method and body: not with -X or -d")
    if options.request == "-":
        text = env.stdin.read().decode("utf-8", "replace")
        found = requests.parse(text, Path(), "standard input")
    else:
        found = requests.read(Path(options.request))
    return [replace(it, arg=options.arg, headers=it.headers + options.headers)
            for it in found]


def _debugging(settings: dict[str, Any], options: Options) -> dict[str, Any]:
    if options.trace:
        settings |= {"verbose_syscalls": True}
    if options.gdb is not None:
        settings |= {"allow_debug": True, "remote_debug_on_exception": True,
                     "debug_requests": True, "debug_port": options.gdb}
        # Python would hear of Ctrl-C when the debugger has gone.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return settings


def _write(env: Environment, answer: Response, options: Options) -> None:
    if options.output is not None:
        with files.problems(KvmctlError, "the body cannot be written"):
            options.output.write_bytes(answer.body)
    elif b"\0" in answer.body and env.stdout.isatty():
        raise UsageError("the body is binary: write it with --output FILE")
    else:
        env.result_bytes(answer.body)


def run(env: Environment, path: Path, options: Options) -> None:
    """Asks the program, and shows its answers and what they took."""
    asked = requests_of(env, options)
    if options.output is not None and len(asked) > 1:
        raise UsageError(f"{options.request} has {len(asked)} requests: "
                         "--output is for one")
    name, settings = prepare(env, path, options.out)
    settings = _debugging(settings, options)

    def log(program: str, kind: int, text: str) -> None:
        if kind == _GUEST_WORDS:
            env.note(f"{program}: {text.rstrip()}")
        elif options.trace and kind in (_LIFE, _TRACE):
            env.note(env.style(text, "2"))
        elif options.gdb is not None and kind in (_LIFE, _ERROR):
            env.note(text)

    answers = []
    with Engine(log) as engine:
        program = engine.define(name, settings)
        program.start(debug=options.gdb is not None)
        for it in asked:
            for _ in range(options.repeat):
                answer = ask(program, it)
            answers.append(answer)
            if env.as_json:
                continue
            if len(asked) > 1:
                env.note(env.style(f"\n{it}", "1"))
            _show(env, answer)
            _write(env, answer, options)
    if env.as_json:
        if options.output is not None:
            _write(env, answers[0], options)
        found = [_to_json(a) for a in answers]
        env.result_json(found if options.request else found[0])
