# SPDX-License-Identifier: BSD-2-Clause
"""Fetches of guests: large and endless answers, TLS, memory that is undone."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine.library import Engine, Program
from kvmctl.errors import ManifestError
from support import origin
from support.compiled import compiled
from support.paths import settings

MIB = 1 << 20


def apitest(engine: Engine, *allowed: str, **more: Any) -> Program:
    return engine.define("apitest", settings(
        "apitest", **{"max_request_memory": 8, "max_request_time": 20,
                      "allowed_fetch": list(allowed)} | more))


def ask(program: Program, path: str, url: str, *headers: str) -> bytes:
    return program.request(url=path, headers=[f"X-Url: {url}/",
                                              *headers]).body


@pytest.mark.kvm
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65536, 2 * MIB])
def test_sizes(engine: Engine, size: int) -> None:
    data = bytes(i * 7 % 251 for i in range(min(size, 5000)))
    data = (data * (size // max(1, len(data)) + 1))[:size]
    with origin.serving(origin.body(data, Content_Type="a/b")) as url:
        program = apitest(engine, url)
        for _ in range(3):
            answer = ask(program, "/fetch", url)
            assert answer == f"0 200 a/b {size}\n".encode() + data


@pytest.mark.kvm
def test_too_large_with_and_without_a_length(engine: Engine) -> None:
    for answer in (origin.body(bytes(9 * MIB)), origin.endless):
        with origin.serving(answer) as url:
            program = apitest(engine, url)
            assert ask(program, "/fetch", url) == b"-63 0  0\n"
            assert ask(program, "/fetch/buffer", url).startswith(b"-63 ")
    text = engine.stats()["programs"]["apitest"]
    assert text["fetches"] == text["fetches_failed"] == 4


@pytest.mark.kvm
def test_an_answer_without_end_leaves_room_to_say_so(engine: Engine) -> None:
    with origin.serving(origin.endless) as url:
        page = apitest(engine, url).request(url="/fetch",
                                            headers=[f"X-Url: {url}/"])
    assert page.body == b"-63 0  0\n"
    assert page.pages_written < 8 * MIB // 4096


@pytest.mark.kvm
def test_storage_gets_memory_for_an_answer(engine: Engine,
                                           tmp_path: Path) -> None:
    """As much as it may have of its own, without a buffer that it gives."""
    with origin.serving(origin.body(b"hello")) as url:
        program = engine.define("anycall", settings(
            "anycall", allowed_fetch=[url], storage=True,
            state_directory=str(tmp_path)))
        where = f"sys_fetch,={url}/".replace("/", "%2f") + ",len,op"
        alone = program.request(url=f"/{where}").body
        assert alone == b"0\n"
        assert program.request(url=f"/in-storage/{where}").body == alone


@pytest.mark.kvm
def test_what_is_kept_counts(engine: Engine) -> None:
    """Three MB each, eight in all; and all of it free for the next."""
    with origin.serving(origin.body(bytes(3 * MIB))) as url:
        program = apitest(engine, url)
        for _ in range(5):
            assert ask(program, "/fetch/hoard", url,
                       "X-Count: 4") == b"2 -63\n"
    with origin.serving(origin.body(b"x" * 5000)) as url:
        program = apitest(engine, url)
        pages = [program.request(url="/fetch/hoard", headers=[
            f"X-Url: {url}/", "X-Count: 100"]) for _ in range(4)]
        assert all(p.body == b"100 0\n" for p in pages)
        assert pages[-1].pages_written == pages[-2].pages_written


@pytest.mark.kvm
def test_a_post_is_read_from_the_guest(engine: Engine) -> None:
    got: list[bytes] = []

    def take(it: Any) -> None:
        got.append(it.rfile.read(int(it.headers["Content-Length"])))
        origin.body(b"ok")(it)

    with origin.serving(take) as url:
        program = apitest(engine, url)
        ask(program, "/fetch/post-much", url, f"X-Size: {5 * MIB}")
    assert got == [b"p" * (5 * MIB)]


@pytest.mark.kvm
def test_a_post_of_nothing(engine: Engine, tmp_path: Path) -> None:
    """It is none the less one."""
    program = compiled(tmp_path, "it", r"""
        #include "kvm_fetch.h"
        static void on_request(const struct kvm_request *r) {
            struct kvm_fetched f = fetch_post(r->arg, "text/plain", "", 0);
            respondf(200, "%ld %d", f.error, f.status);
        }
        int main(void) { kvm_serve(on_request); }""")
    got: list[str] = []

    def take(it: Any) -> None:
        got.append(it.command)
        origin.body(b"ok")(it)

    with origin.serving(take) as url:
        answer = engine.define("it", {
            "filename": program, "allowed_fetch": [url]}).request(
                arg=f"{url}/")
    assert (answer.body, got) == (b"0 200", ["POST"])


@pytest.mark.kvm
@pytest.mark.parametrize("what", ["content", "text", "headers", "post"])
def test_what_comes_goes_nowhere_wild(engine: Engine, what: str) -> None:
    with origin.serving(origin.body(b"x" * 100000)) as url:
        program = apitest(engine, url)
        for _ in range(3):
            answer = program.request(url="/fetch/wild", headers=[
                f"X-Url: {url}/", f"X-What: {what}"])
            assert answer.from_error_handler
            assert b"not the program's memory" in answer.body
        assert ask(program, "/fetch", url).startswith(b"0 200  100000\n")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of localhost, by nobody whom the system trusts: key and certificate."""
    path = tmp_path / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", path, "-out",
         tmp_path / "c.pem"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "c.pem").read_bytes())
    return path


@pytest.mark.kvm
def test_an_untrusted_certificate(engine: Engine, certificate: Path,
                                  log: Any) -> None:
    with origin.serving(origin.body(b"secret"), certificate) as url:
        program = apitest(engine, url)
        assert ask(program, "/fetch", url) == b"-60 0  0\n"
        # Not to look at the name is not to trust everybody.
        assert ask(program, "/fetch/options", url,
                   "X-Dont-Verify: 1") == b"-60 0 0\n"
    assert "certificate" in log.text()


@pytest.mark.kvm
def test_an_authority_of_ones_own(engine: Engine, certificate: Path,
                                  monkeypatch: pytest.MonkeyPatch,
                                  tmp_path: Path) -> None:
    monkeypatch.setenv("TINYKVM_CA_FILE", str(tmp_path / "c.pem"))
    with origin.serving(origin.body(b"trusted"), certificate) as url:
        named = url.replace("127.0.0.1", "localhost")
        program = apitest(engine, named)
        assert ask(program, "/fetch", named) == b"0 200  7\ntrusted"
        # The name is looked at.
        other = apitest(engine, url)
        other.start()
        assert ask(other, "/fetch", url) == b"-60 0  0\n"
        # With a file that is none nobody is trusted.
        monkeypatch.setenv("TINYKVM_CA_FILE", "/nowhere")
        assert ask(apitest(engine, named), "/fetch", named).startswith(b"-")


@pytest.mark.kvm
def test_the_time_limit_is_the_requests(engine: Engine) -> None:
    asked, over, late = (threading.Event() for _ in range(3))

    def slow(it: Any) -> None:
        asked.set()
        if not over.wait(2):
            late.set()
        origin.body(b"late")(it)

    with origin.serving(slow) as url:
        program = apitest(engine, url, max_request_time=0.5)
        answer = program.request(url="/fetch", headers=[f"X-Url: {url}/"])
        over.set()
        assert asked.is_set() and not late.is_set()
        assert answer.from_error_handler and b"its time" in answer.body


@pytest.mark.kvm
def test_no_fetch_of_varnish_without_varnish(engine: Engine,
                                             log: Any) -> None:
    assert ask(apitest(engine), "/fetch", "") == b"-9 0  0\n"
    assert "init_self_requests" in log.text()


@pytest.mark.parametrize("entry, words", [
    ("ftp://a/", "only http and https"),
    ("http://", "no host"),
    ("", "no host"),
    ("http://a:0", "port"),
    ("http://a:99999", "port"),
    ("http://a:b", "port"),
    ("http://a b", "it is a URL"),
    ("http://user@a/", "it is a URL"),
    ("http://a.*.b", "subdomains"),
    ("http://*a", "subdomains"),
    ("*.", "no host"),
    ("http://a/b?c", "path"),
    ("http://a/*", "path"),
    ("[::1", "no host"),
])
def test_entries_that_are_none(engine: Engine, entry: str,
                               words: str) -> None:
    with pytest.raises(ManifestError) as e:
        apitest(engine, "http://good", entry)
    assert "allowed_fetch" in str(e.value) and words in str(e.value)
    assert "entry 2" in str(e.value)


@pytest.mark.parametrize("entry", [
    "http://a", "HTTPS://A.example:8443/v1/", "a", "a:8080", "*.a.example",
    "https://*", "*", "*:8080", "127.0.0.1", "[::1]:80", "http://[fe80::1]/x",
    "10.0.0.0/8", "fc00::/7", "localhost",
])
def test_entries_that_are_some(engine: Engine, entry: str) -> None:
    apitest(engine, entry)


@pytest.mark.kvm
def test_a_bad_boot_by_fetch(engine: Engine) -> None:
    """A fetch before waiting, and its failure, which the program bears."""
    program = apitest(engine, main_arguments=["http://127.0.0.1:1/"])
    assert program.request(url="/fetch/init").body == b"-9 0 \n"
    counts = engine.stats()["programs"]["apitest"]
    assert counts["fetches"] == counts["fetches_failed"] == 1


@pytest.mark.kvm
def test_wrong_words_end_the_request(engine: Engine) -> None:
    program = apitest(engine)
    answer = program.request(url="/fetch", headers=[
        "X-Url: http://a/", "X-Send: a b"])
    assert answer.from_error_handler and b"Name: value" in answer.body


#: Spellings that some server takes for a way up, or for another path.
WAYS_UP = [
    "..;/x", "..;a=b/x", "..;", "..%3b/x", "..%3B/x", ".;/..;/x", "%2e%2e;/x",
    "%2E%2E/x", ".%2e/x", "..%2fx", "..%5cx", "..\\x", "a\\..\\x", "..%00/x",
    "..%20/x", "..%09/x", ".%00./x", "%252e%252e/x", "%252e%252e%252fx",
    "..%252fx", "..%255cx", "..%253b/x", "%25252e/x", "%c0%ae%c0%ae/x",
    "..%c0%afx", "..%C1%9Cx", "%e0%80%ae/x", "%u002e%u002e/x", "%%32%65/x",
    "%25%32%65/x", "%25%35%63x", "%2525252e/x", "%f0%80%80%ae/x",
    "x%", "x%2", "x%zz", "a/..;x/b",
]


@contextmanager
def telling_paths() -> Iterator[tuple[str, list[str]]]:
    """An origin's URL, and the paths that it was asked for."""
    got: list[str] = []

    def take(it: Any) -> None:
        got.append(it.path)
        origin.body(b"ok")(it)

    with origin.serving(take) as url:
        yield url, got


@pytest.mark.kvm
def test_no_way_up_from_a_path(engine: Engine, log: Any) -> None:
    with telling_paths() as (url, got):
        program = apitest(engine, f"{url}/only/")
        for path in WAYS_UP:
            answer = program.request(url="/fetch", headers=[
                f"X-Url: {url}/only/{path}"]).body
            assert answer.startswith(b"-9 "), (path, answer)
        assert got == []


@pytest.mark.kvm
@pytest.mark.parametrize("path", [
    "x;a=b", ".well-known/x", "..x/y", "a..b/", "a.;b", "%20x", "a%25b",
    "%C3%A4", "a//b", "%e2%82%ac", "x?y=/..;/%2e%2e/", "a/;/b", "100%25",
    "...x",
])
def test_what_is_only_odd_is_fetched(engine: Engine, path: str) -> None:
    with telling_paths() as (url, got):
        program = apitest(engine, f"{url}/only/")
        assert program.request(url="/fetch", headers=[
            f"X-Url: {url}/only/{path}"]).body == b"0 200  2\nok"
        assert got == [f"/only/{path}"]
