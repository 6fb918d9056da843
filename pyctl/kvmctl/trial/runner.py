# SPDX-License-Identifier: BSD-2-Clause
"""Runs files of tests: a boot for each file, a reset machine for each test."""

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kvmctl.engine import Engine, Program, Response
from kvmctl.errors import GuestError
from kvmctl.trial import cases
from kvmctl.trial.cases import Case, CaseFile
from kvmctl.trial.origin import Origin
from kvmctl.trial.request import Request

_LIFE, _TRACE = 0, 3                    # enum tkc_log_kind


@dataclass(frozen=True)
class Result:
    """How one test went. Times in seconds, of the slowest of its requests."""

    file: str
    line: int
    name: str
    wrong: tuple[str, ...]
    log: str
    exits: int = 0
    pages_written: int = 0
    seconds: float = 0
    reset_seconds: float = 0

    @property
    def good(self) -> bool:
        return not self.wrong

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"good": self.good}


class _Log:
    """What the program says, and what the engine says of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, _program: str, kind: int, text: str) -> None:
        if kind not in (_LIFE, _TRACE):
            self.lines.append(text.rstrip())

    def take(self) -> str:
        text, self.lines = "\n".join(self.lines), []
        return text


def ask(program: Program, request: Request) -> Response:
    """Raises GuestError when the program fails."""
    return program.request(request.method, request.url, request.arg,
                           request.headers, request.body,
                           request.content_type)


def _run(it: Case, path: Path, program: Program, log: _Log,
         origins: tuple[Origin, ...]) -> Result:
    result = Result(str(path), it.line, it.name, (), "")
    urls = {o.name: o.url for o in origins}
    request = replace(it.request, **{
        name: cases.replaced(getattr(it.request, name), urls)
        for name in ("url", "arg", "headers", "body")})
    expect = cases.replaced(it.expect, urls)
    for _ in range(it.repeat):
        answer, error = None, ""
        try:
            answer = ask(program, request)
        except GuestError as e:
            error = str(e)
        said = log.take()
        fetched = [line for o in origins for line in o.take_asked()]
        wrong = cases.wrong(expect, answer, error, said, fetched)
        if answer is not None and answer.seconds >= result.seconds:
            result = replace(
                result, exits=answer.exits, seconds=answer.seconds,
                pages_written=answer.pages_written,
                reset_seconds=answer.reset_seconds)
        result = replace(result, wrong=tuple(wrong), log=said)
        if wrong:
            break
    return result


def run(file: CaseFile, name: str, settings: dict[str, Any],
        wanted: Callable[[str], bool],
        report: Callable[[Result], None]) -> list[Result]:
    """Boots the program of these settings, and asks all that is wanted."""
    log, results = _Log(), []
    chosen = [it for it in file.cases if wanted(it.name)]
    with contextlib.ExitStack() as stack:
        urls = {o.name: stack.enter_context(o.serving()).url
                for o in file.origins}
        settings = settings | cases.replaced(file.settings, urls)
        if urls:
            settings["allowed_fetch"] = [
                *settings.get("allowed_fetch", ()),
                *(f"{url}/" for url in urls.values())]
        engine = stack.enter_context(Engine(log))
        program = engine.define(name, settings)
        try:
            program.start()
        except GuestError as e:
            results = [Result(str(file.path), it.line, it.name,
                              (f"it does not boot: {e}",), log.take())
                       for it in chosen]
            for result in results:
                report(result)
            return results
        log.take()
        for it in chosen:
            results.append(_run(it, file.path, program, log, file.origins))
            report(results[-1])
    return results
