# SPDX-License-Identifier: BSD-2-Clause
"""tests/*.toml: requests, and what they must be answered."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl import document as documents
from kvmctl import files
from kvmctl.document import DocumentError, Place
from kvmctl.engine import Response
from kvmctl.schema import check as schema_check
from kvmctl.trial.origin import Answer, Origin
from kvmctl.trial.request import Request

_SHOWN = 300                            # characters of a body in a failure


@dataclass(frozen=True)
class Case:
    """One [[tests]]. expect is its table; body_file is read into it."""

    name: str
    line: int
    request: Request
    expect: dict[str, Any]
    repeat: int = 1


@dataclass(frozen=True)
class CaseFile:
    """A checked file of tests; `${NAME}` is not yet replaced in it."""

    path: Path
    origins: tuple[Origin, ...]
    settings: dict[str, Any]
    cases: tuple[Case, ...]


def _bytes(place: Place, table: dict[str, Any]) -> bytes:
    """The body of a table: a text, or a file beside this one."""
    if "body_file" not in table:
        return str(table.get("body", "")).encode()
    if "body" in table:
        raise place.error("either \"body\" or \"body_file\"", "body_file")
    path = place.document.path.parent / str(table["body_file"])
    try:
        return files.read(path, files.DATA)
    except OSError as e:
        raise place.error(f"cannot read {path}: {e.strerror}",
                          "body_file") from None


def _origin(place: Place, name: str, table: dict[str, Any]) -> Origin:
    return Origin(name, [
        Answer(a.get("path"), a.get("method"), a.get("status", 200),
               tuple(a.get("headers", ())),
               _bytes(place / "answers" / n, a), a.get("delay", 0))
        for n, a in enumerate(table.get("answers", ()))])


def _case(place: Place, table: dict[str, Any]) -> Case:
    asked, expect = table.get("request", {}), dict(table.get("expect", {}))
    body = _bytes(place / "request", asked)
    if "body" in expect or "body_file" in expect:
        expect["body"] = _bytes(place / "expect", expect)
    if "matches" in expect:
        (place / "expect").pattern("matches", expect["matches"])
    return Case(
        table["name"], place.document.line(place.keys) or 0,
        Request(asked.get("method", "POST" if body else "GET"),
                asked.get("url", "/"), asked.get("arg", ""),
                tuple(asked.get("headers", ())), body),
        expect, table.get("repeat", 1))


def load(path: Path) -> CaseFile:
    """Reads a file of tests. Raises ManifestError with file, line and key."""
    document = documents.read(path)
    table, top = schema_check.check("test", document), document.top
    cases = tuple(_case(top / "tests" / n, t)
                  for n, t in enumerate(table["tests"]))
    names = [case.name for case in cases]
    for n, name in enumerate(names):
        if name in names[:n]:
            raise DocumentError((document.problem(
                ("tests", n), f"there is a test \"{name}\" already", "name"),))
    return CaseFile(
        path, tuple(_origin(top / "origins" / n, n, t)
                    for n, t in table.get("origins", {}).items()),
        table.get("settings", {}), cases)


def replaced(value: Any, urls: dict[str, str]) -> Any:
    """The value with ${NAME} replaced in all its texts."""
    if isinstance(value, dict):
        return {k: replaced(v, urls) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replaced(v, urls) for v in value)
    if isinstance(value, bytes):
        for name, url in urls.items():
            value = value.replace(f"${{{name}}}".encode(), url.encode())
    if isinstance(value, str):
        for name, url in urls.items():
            value = value.replace(f"${{{name}}}", url)
    return value


# -- does an answer fit? -----------------------------------------------------

def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _alike(one: Any, other: Any) -> bool:
    """Are they the same as JSON? 1 is 1.0, and not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return (isinstance(one, bool) == isinstance(other, bool)
            and bool(one == other))


def _body_wrong(expect: dict[str, Any], body: bytes) -> list[str]:
    text, wrong = body.decode("utf-8", "replace"), []
    if "body" in expect and body != expect["body"]:
        want = expect["body"].decode("utf-8", "replace")
        wrong.append(f"the body is {_short(text)!r}, not {_short(want)!r}")
    wrong += [f"the body has no {part!r}: {_short(text)!r}"
              for part in expect.get("contains", ()) if part not in text]
    if "matches" in expect and not re.search(expect["matches"], text):
        wrong.append(f"the body does not match {expect['matches']!r}: "
                     f"{_short(text)!r}")
    if "json" in expect:
        try:
            found = files.json_of(body)
        except ValueError as e:
            wrong.append(f"the body is no JSON: {e}")
        else:
            if not _alike(found, expect["json"]):
                wrong.append(f"the body is {_short(json.dumps(found))} as "
                             "JSON, not " + _short(json.dumps(
                                 expect["json"], default=str)))
    return wrong


def _limits_wrong(expect: dict[str, Any], answer: Response) -> list[str]:
    return [f"{told}: more than {expect[key]}" for key, value, told in (
        ("max_exits", answer.exits, f"{answer.exits} exits"),
        ("max_pages", answer.pages_written,
         f"{answer.pages_written} pages written"),
        ("max_seconds", answer.seconds, f"{answer.seconds:.6f} seconds"))
        if key in expect and value > expect[key]]


def wrong(expect: dict[str, Any], answer: Response | None, error: str,
          log: str, fetched: list[str]) -> list[str]:
    """Sentences about what does not fit. No answer: it failed with error."""
    found = []
    if answer is None and "error" not in expect:
        return [f"it failed: {error}"]
    if "error" in expect:
        if answer is not None and not answer.from_error_handler:
            found.append(f"it answered {answer.status}, and was to fail")
        elif expect["error"] not in error + log:
            found.append(f"its error is {error or log!r}, and has no "
                         f"{expect['error']!r}")
    if answer is not None:
        status = expect.get("status", None if "error" in expect else 200)
        if status is not None and answer.status != status:
            found.append(f"the status is {answer.status}, not {status}")
        if not answer.content_type.startswith(expect.get("type", "")):
            found.append(f"the type is {answer.content_type!r}, not "
                         f"{expect['type']!r}")
        have = {_field(h) for h in answer.headers}
        found += [f"there is no header {h!r}" for h in
                  expect.get("headers", ()) if _field(h) not in have]
        found += _body_wrong(expect, answer.body)
        found += _limits_wrong(expect, answer)
    if expect.get("log", "") not in log:
        found.append(f"it did not log {expect['log']!r}: {_short(log)!r}")
    if "fetched" in expect and fetched != expect["fetched"]:
        found.append(f"it fetched {fetched}, not {expect['fetched']}")
    return found


def _field(header: str) -> tuple[str, str]:
    name, _, value = header.partition(":")
    return name.strip().lower(), value.strip()
