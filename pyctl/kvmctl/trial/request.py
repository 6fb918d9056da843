# SPDX-License-Identifier: BSD-2-Clause
"""One request, and the files that requests are kept in: .http and HAR."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kvmctl import files
from kvmctl.errors import UsageError

#: Fields of a connection, not of a request; HTTP/2's names among them.
_NOT_SENT = re.compile(
    r"(:.*|connection|content-length|transfer-encoding|keep-alive)", re.I)
#: Nothing that a request's line or header can hold.
_UNWRITABLE = re.compile("[\0-\x08\x0a-\x1f\x7f\ud800-\udfff]")
#: Of a line when its variables are in it.
_LONGEST = 1 << 20
_METHOD = re.compile(r"([A-Z]+)\s+(.*)")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)")
_VARIABLE = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")
_SETTING = re.compile(r"@([\w.-]+)\s*=\s*(.*)")


@dataclass(frozen=True)
class Request:
    """What a program is asked. headers are "Name: value"."""

    method: str = "GET"
    url: str = "/"
    arg: str = ""
    headers: tuple[str, ...] = ()
    body: bytes = b""

    @property
    def content_type(self) -> str:
        for header in self.headers:
            name, _, value = header.partition(":")
            if name.strip().lower() == "content-type":
                return value.strip()
        return ""

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


def of_url(method: str, url: str, headers: tuple[str, ...],
           body: bytes) -> Request:
    """A request to an absolute URL, or to a path, as a server sees it.

    Raises ValueError, with words.
    """
    for what, text in (("method", method), ("URL", url),
                       *(("header", header) for header in headers)):
        if _UNWRITABLE.search(text):
            raise ValueError(f"the {what} {text!r} has a control character, or "
                             "half of one")
    if not url.startswith("/"):
        try:
            parts = urlsplit(url)
        except ValueError as e:
            raise ValueError(f"\"{url}\" is no URL: {e}") from None
        if not parts.netloc:
            raise ValueError(f"\"{url}\" is no URL: a path, or http://...")
        url = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not any(h.lower().startswith("host:") for h in headers):
            headers = (f"Host: {parts.netloc}", *headers)
    return Request(method, url, "", headers, body)


# -- .http: what VS Code's and JetBrains' editors call an HTTP file ---------

def _body(lines: list[str], directory: Path) -> bytes:
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) == 1 and lines[0].startswith("< "):
        path = directory / lines[0][2:].strip()
        try:
            return files.read(path, files.DATA)
        except OSError as e:
            raise UsageError(f"cannot read {path}: {e.strerror}") from None
        except ValueError as e:
            raise UsageError(f"cannot read {str(path)!r}: {e}") from None
    return "\n".join(lines).encode()


def _one(lines: list[str], directory: Path, where: str) -> Request:
    line = re.sub(r"(?<!\s)\s+HTTP/[0-9.]+$", "", lines.pop(0).strip())
    found = _METHOD.fullmatch(line)
    method, url = found.groups() if found else ("GET", line)
    while lines and re.match(r"\s+[?&]", lines[0]):     # the query goes on
        url += lines.pop(0).strip()
    headers = []
    while lines and lines[0].strip():
        field = _HEADER.fullmatch(lines.pop(0).rstrip())
        if field is None:
            raise UsageError(f"{where}: behind \"{line}\" are header fields, "
                             "a blank line, and the body")
        headers.append(f"{field[1]}: {field[2]}")
    body = _body(lines[1:], directory)
    try:
        return of_url(method, url.strip(), tuple(headers), body)
    except ValueError as e:
        raise UsageError(f"{where}: {e}") from None


def parse_http(text: str, directory: Path, where: str) -> Iterator[Request]:
    """Requests of an HTTP file, between lines that begin with ###."""
    variables: dict[str, str] = {}

    def value(found: re.Match[str]) -> str:
        if found[1] not in variables:
            raise UsageError(f"{where}: there is no variable {found[1]}: "
                             f"@{found[1]} = ...")
        return variables[found[1]]

    def filled(line: str) -> str:
        line = _VARIABLE.sub(value, line)
        if len(line) > _LONGEST:
            raise UsageError(f"{where}: a line of more than {_LONGEST} "
                             "characters with its variables in it")
        return line

    for part in re.split(r"^###.*$", text.replace("\r\n", "\n"), flags=re.M):
        lines = part.split("\n")
        while lines and re.match(r"\s*($|#|//|@)", lines[0]):
            setting = _SETTING.fullmatch(lines.pop(0).strip())
            if setting:
                variables[setting[1]] = filled(setting[2])
        if lines:
            yield _one([filled(line) for line in lines], directory, where)


# -- HAR: what browsers save -------------------------------------------------

def _of_entry(it: dict[str, Any]) -> Request:
    headers = tuple(f"{h['name']}: {h['value']}" for h in it["headers"]
                    if not _NOT_SENT.fullmatch(h["name"]))
    data = it.get("postData") or {}
    text = str(data.get("text", ""))
    body = (base64.b64decode(text, validate=True)
            if data.get("encoding") == "base64" else text.encode())
    if body and data.get("mimeType") and not any(
            h.lower().startswith("content-type:") for h in headers):
        headers = (*headers, f"Content-Type: {data['mimeType']}")
    return of_url(str(it["method"]), str(it["url"]), headers, body)


def parse_har(text: str, where: str) -> list[Request]:
    """Requests of a HAR file."""
    try:
        return [_of_entry(entry["request"])
                for entry in files.json_of(text)["log"]["entries"]]
    except (ValueError, KeyError, TypeError, AttributeError,
            binascii.Error) as e:
        raise UsageError(f"{where} is no HAR file: {type(e).__name__}: {e}"
                         ) from None


def parse(text: str, directory: Path, where: str) -> list[Request]:
    """Requests of a file, by what it looks like. Raises UsageError."""
    if text.lstrip()[:1] == "{":
        found = parse_har(text, where)
    else:
        found = list(parse_http(text, directory, where))
    if not found:
        raise UsageError(f"{where} has no request")
    return found


def read(path: Path) -> list[Request]:
    """Requests of a .http or .har file. Raises UsageError."""
    try:
        text = files.read(path, files.DATA).decode()
    except OSError as e:
        raise UsageError(f"cannot read {path}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8") from None
    return parse(text, path.parent, str(path))
