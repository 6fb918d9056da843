# SPDX-License-Identifier: BSD-2-Clause
"""The SDK's WSGI server, in this Python: what PEP 3333 asks of it."""

import importlib.util
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from wsgiref.validate import validator

import pytest

from support.paths import SOURCES

#: What an application sees, and what it answers.
Environ = dict[str, Any]


@dataclass
class Sdk:
    """kvm.py, and what it asked of the launcher."""

    kvm: Any
    log: list[str] = field(default_factory=list)
    answer: Any = None

    def ask(self, application: Any = None, url: str = "/", *,
            method: str = "GET", kind: str = "", body: bytes = b"",
            headers: tuple[tuple[str, str], ...] = ()) -> Any:
        """(status, type, body, headers) of an application's answer."""
        if application is not None:
            self.kvm.serve_wsgi(application)
        self.answer = None
        self.kvm._dispatch(method, url, "", kind, body, list(headers), 1)
        return self.answer

    def environ(self, **request: Any) -> Environ:
        """What an application is given."""
        seen: Environ = {}

        def application(environ: Environ, start: Any) -> list[bytes]:
            seen.update(environ)
            start("200 OK", [("Content-Type", "text/plain")])
            return []
        self.ask(application, **request)
        return seen


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sdk]:
    path = SOURCES / "sdk" / "python" / "kvm.py"
    launcher: Any = types.ModuleType("_kvm")
    it = Sdk(None)

    def respond(status: int, kind: bytes, body: bytes, headers: Any,
                ttl: float, grace: float, keep: float) -> None:
        it.answer = (status, kind, body, headers, ttl)
    launcher.respond, launcher.log = respond, it.log.append
    monkeypatch.setitem(sys.modules, "_kvm", launcher)
    spec = importlib.util.spec_from_file_location("kvm_of_the_sdk", path)
    assert spec is not None and spec.loader is not None
    it.kvm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(it.kvm)
    yield it


def test_the_standard_librarys_own_check(sdk: Sdk) -> None:
    @validator
    def application(environ: Environ, start: Any) -> list[bytes]:
        data = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        write = start("201 Created", [("Content-Type", "text/plain"),
                                      ("Set-Cookie", "a=1"),
                                      ("Set-Cookie", "b=2")])
        write(b"first ")
        return [data]
    status, kind, body, headers, _ = sdk.ask(
        application, "/a?b", method="POST", kind="text/plain", body=b"then")
    assert (status, kind, body) == (201, b"text/plain", b"first then")
    assert [v for _, v in headers] == [b"a=1", b"b=2"]


def test_texts_are_bytes(sdk: Sdk) -> None:
    """Each character is a byte, whatever encoding that is in."""
    text = "\u20ac\udcff"               # three bytes of UTF-8, one of none
    want = "\xe2\x82\xac\xff"
    seen = sdk.environ(url=f"/{text}?{text}", kind=f"text/{text}",
                       headers=(("X-Word", text),))
    assert seen["PATH_INFO"] == f"/{want}"
    assert seen["QUERY_STRING"] == want
    assert seen["CONTENT_TYPE"] == f"text/{want}"
    assert seen["HTTP_X_WORD"] == want

    def application(environ: Environ, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", f"text/{want}"), ("X-Word", want)])
        return []
    _, kind, _, headers, _ = sdk.ask(application)
    assert kind == b"text/\xe2\x82\xac\xff"
    assert headers == [(b"X-Word", b"\xe2\x82\xac\xff")]


@pytest.mark.parametrize("url, path", [
    ("/a%20b%2F", "/a b/"), ("/%c3%A9", "/\xc3\xa9"), ("/%+1", "/%+1"),
    ("/%1", "/%1"), ("/% 1", "/% 1"), ("/%", "/%"), ("/%zz%41", "/%zzA"),
])
def test_paths(sdk: Sdk, url: str, path: str) -> None:
    assert sdk.environ(url=url)["PATH_INFO"] == path


def test_nobody_passes_for_another_field(sdk: Sdk) -> None:
    """X_User would be X-User's variable: VCL may have unset that one."""
    seen = sdk.environ(headers=(("X_User", "admin"), ("X-Word", "a"),
                                ("x-word", "b"), ("Content_Length", "99")))
    assert "HTTP_X_USER" not in seen and seen["CONTENT_LENGTH"] == "0"
    assert seen["HTTP_X_WORD"] == "a,b"


@pytest.mark.parametrize("host, name, port", [
    ("example.com", "example.com", "80"), ("it:8080", "it", "8080"),
    ("[::1]", "[::1]", "80"), ("[::1]:81", "[::1]", "81"),
])
def test_hosts(sdk: Sdk, host: str, name: str, port: str) -> None:
    seen = sdk.environ(headers=(("Host", host),))
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == (name, port)


def test_an_application_that_does_not_start(sdk: Sdk) -> None:
    with pytest.raises(RuntimeError, match="start_response"):
        sdk.ask(lambda environ, start: [b"all is well"])
    assert sdk.answer is None


def test_starting_twice(sdk: Sdk) -> None:
    def application(environ: Environ, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/html")])
        if environ["PATH_INFO"] == "/twice":
            start("200 OK", [])
        try:
            raise ValueError("asked to fail")
        except ValueError:
            start("500 Failed", [("X-Why", "it")], sys.exc_info())
        return [b"sorry"]
    assert sdk.ask(application)[:3] == (
        500, b"text/plain; charset=utf-8", b"sorry")
    with pytest.raises(RuntimeError, match="start_response"):
        sdk.ask(application, "/twice")


def test_failures_while_it_answers(sdk: Sdk) -> None:
    closed: list[bool] = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            yield b"some"
            raise ValueError("asked to fail")

        def close(self) -> None:
            closed.append(True)

    def application(environ: Environ, start: Any) -> Chunks:
        start("200 OK", [("Content-Type", "text/plain")])
        return Chunks()
    with pytest.raises(ValueError, match="asked to fail"):
        sdk.ask(application)
    assert closed and sdk.answer is None


def test_lines_of_the_log(sdk: Sdk) -> None:
    """The last one is logged, too, if it does not end."""
    def application(environ: Environ, start: Any) -> list[bytes]:
        environ["wsgi.errors"].write("one\ntwo")
        start("200 OK", [("Content-Type", "text/plain")])
        return []
    sdk.ask(application)
    assert sdk.log == ["one", "two"]


@pytest.mark.parametrize("ttl, told", [(None, -1), (0, 0), (-5, 0), (7, 7)])
def test_what_is_over_is_not_cached(sdk: Sdk, ttl: "int | None",
                                    told: int) -> None:
    """A time in the past is no time; none leaves it to VCL."""
    sdk.kvm.serve(lambda request: sdk.kvm.Response("it", ttl=ttl))
    assert sdk.ask()[4] == told
