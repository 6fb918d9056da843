# SPDX-License-Identifier: BSD-2-Clause
"""Requests: what a guest sees of one, and what its answer becomes."""

import json
import resource
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvmctl.engine.library import Engine, Program
from kvmctl.errors import GuestError
from support.compiled import compiled
from support.paths import guest

pytestmark = pytest.mark.kvm


@pytest.fixture
def echo(engine: Engine) -> Program:
    return engine.define("echo", {"filename": str(guest("echo"))})


@pytest.fixture
def hostile(engine: Engine) -> Program:
    return engine.define("hostile", {
        "filename": str(guest("hostile")), "max_memory": 64,
        "max_request_memory": 16, "max_request_time": 0.3,
        "concurrency": 2})


#: Takes half a second; a second version is long in coming.
_SLOW = r"""
#include <time.h>
#include <unistd.h>
#include "kvm_api.h"

static void
on_get(const char *url, const char *arg)
{

	(void)url;
	(void)arg;
	usleep(500000);
	respond_text(200, "done\n");
}

int
main(void)
{

#ifdef LATE
	usleep(2500000);
#endif
	set_backend_get(on_get);
	wait_for_requests();
}
"""


def test_a_fork_goes_to_who_waits_for_one(engine: Engine,
                                          tmp_path: Path) -> None:
    """And not to who waits for the end of a live update."""
    program = engine.define("slow", {
        "filename": compiled(tmp_path, "slow", _SLOW), "concurrency": 1})
    late = compiled(tmp_path, "late", _SLOW, "-DLATE")
    program.start()
    done: list[bytes] = []

    def ask() -> None:
        done.append(program.request(url="/").body)

    threads = [threading.Thread(target=work) for work in (
        lambda: program.live_update(Path(late)), engine.invalidate, ask, ask)]
    for t in threads:
        t.start()
        time.sleep(0.15)
    for t in threads[2:]:
        t.join()
    assert done == [b"done\n"] * 2 and threads[0].is_alive()
    for t in threads:
        t.join()


def test_hello_takes_one_exit(engine: Engine) -> None:
    hello = engine.define("hello", {"filename": str(guest("hello"))})
    for _ in range(5):
        answer = hello.request()
        assert (answer.status, answer.body) == (200, b"Hello, World!\n")
        assert answer.content_type.startswith("text/plain")
        assert answer.exits == 1


@pytest.mark.parametrize("name", ["hello", "hello-musl", "cxxhello"])
def test_languages_and_libcs(engine: Engine, name: str) -> None:
    program = engine.define(name, {"filename": str(guest(name))})
    assert program.request().status == 200
    assert engine.stats()["programs"][name]["unknown_calls"] == 0


def test_a_program_with_its_own_loop(engine: Engine) -> None:
    """Goes on behind its wait, with its own stack, in one exit."""
    loop = engine.define("loop", {"filename": str(guest("loop"))})
    for _ in range(5):
        answer = loop.request("POST", "/some/url", "", [], b"four")
        assert answer.body == b"POST /some/url, 4 bytes, request 1\n"
        assert answer.exits == 1


def test_echo_sees_the_request(echo: Program) -> None:
    answer = echo.request("PUT", "/a?b=c", "the argument", ["X-One: 1",
                          "X-Two: two words"], b"body", "text/plain")
    said = json.loads(answer.body)
    assert said["method"] == "PUT" and said["url"] == "/a?b=c"
    assert said["body"] == "body"
    assert {"X-One: 1", "X-Two: two words"} <= set(said["headers"])
    assert answer.exits == 1


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"),
                max_size=300)


@settings(max_examples=60,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_TEXT, st.lists(_TEXT, max_size=20), st.binary(max_size=70000))
def test_echo_gives_back_anything(echo: Program, url: str,
                                  headers: list[str], body: bytes) -> None:
    lines = [f"X-{i}: {v}" for i, v in enumerate(headers)]
    answer = echo.request("POST", "/" + url, "", lines,
                          body, "application/octet-stream")
    said = json.loads(answer.body.decode("utf-8", "surrogateescape"),
                      strict=False)
    assert said["method"] == "POST" and said["url"] == "/" + url
    assert set(lines) <= set(said["headers"])


def test_large_bodies_span_pages(echo: Program) -> None:
    body = bytes(range(97, 123)) * 40000
    said = json.loads(echo.request("POST", "/", body=body).body)
    assert said["body"].encode() == body


def test_a_body_that_is_too_large(engine: Engine) -> None:
    small = engine.define("small", {"filename": str(guest("echo")),
                                    "max_request_memory": 1})
    with pytest.raises(GuestError, match="max_request_memory"):
        small.request("POST", "/", body=b"x" * (2 << 20))
    assert small.request().status == 200


def test_a_crash_costs_its_request_only(hostile: Program) -> None:
    for _ in range(20):
        with pytest.raises(GuestError, match="null pointer"):
            hostile.request(url="/null-write")
        assert hostile.request(url="/empty-body").status == 204


def test_a_secret_of_one_request_is_not_the_next_ones(engine: Engine) -> None:
    hostile = engine.define("hostile", {
        "filename": str(guest("hostile")), "max_memory": 64,
        "concurrency": 2})
    secret = "s3cret-" + "0123456789abcdef" * 2
    for i in range(10):
        assert hostile.request(url="/plant-secret", arg=secret).status == 200
        answer = hostile.request(url="/find-secret", arg=secret)
        assert answer.body == b"clean\n", i


def test_statistics(engine: Engine, hostile: Program) -> None:
    hostile.request(url="/empty-body")
    for url, key in (("/null-write", "exceptions"),
                     ("/spin", "timeouts"),
                     ("/memory-hog", "memory_exceeded")):
        with pytest.raises(GuestError):
            hostile.request(url=url)
        counts = engine.stats()["programs"]["hostile"]
        assert counts[key] == 1, (key, counts)
    assert counts["invocations"] == 4
    assert counts["forks_busy"] == 0 and counts["queue_length"] == 0


def test_more_threads_than_forks(engine: Engine) -> None:
    """Sixteen threads queue for two forks; each gets its own answer."""
    echo = engine.define("echo", {"filename": str(guest("echo")),
                                  "concurrency": 2})
    wrong: list[Any] = []

    def work(number: int) -> None:
        for i in range(30):
            url = f"/{number}/{i}"
            said = json.loads(echo.request(url=url).body)
            if said["url"] != url:
                wrong.append((url, said))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    counts = engine.stats()["programs"]["echo"]
    assert counts["invocations"] == 16 * 30 and counts["forks"] <= 2


def test_the_queue_has_a_time_limit(engine: Engine) -> None:
    hostile = engine.define("hostile", {
        "filename": str(guest("hostile")), "concurrency": 1,
        "max_request_time": 3.0, "max_queue_time": 0.1,
        "max_request_memory": 16, "max_memory": 64})
    hostile.start()
    ended: list[str] = []

    def spin() -> None:
        try:
            hostile.request(url="/spin")
        except GuestError as e:
            ended.append(str(e))

    thread = threading.Thread(target=spin)
    thread.start()
    while engine.stats()["programs"]["hostile"]["forks_busy"] == 0:
        time.sleep(0.001)
    with pytest.raises(GuestError, match="max_queue_time"):
        hostile.request(url="/empty-body")
    thread.join()
    assert len(ended) == 1 and "3 s" in ended[0]
    assert hostile.request(url="/empty-body").status == 204


def forks(engine: Engine) -> int:
    n: int = engine.stats()["programs"]["hostile"]["forks"]
    return n


def test_a_fork_that_could_not_be_made_is_made_later(
        engine: Engine, hostile: Program) -> None:
    """Of one that has to go for what its guest did, without descriptors."""
    hostile.start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        # Machines that are kept for others take its place at first.
        for _ in range(100):
            with pytest.raises(GuestError):
                hostile.request("GET", "/in-port")
            if forks(engine) == 1:
                break
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert forks(engine) == 1

    def spin() -> None:
        with suppress(GuestError):
            hostile.request("GET", "/spin")

    threads = [threading.Thread(target=spin) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert forks(engine) == 2
    assert hostile.request("GET", "/dirty-fpu").body == b"ok\n"


#: Has the host write three MiB of its request.
_LARGE = r"""
#include <string.h>
#include "kvm_api.h"

static char text[3 << 20], out[4 << 20];

static void
on_get(const char *url, const char *arg)
{

	(void)url;
	(void)arg;
	sys_regex_subst(sys_regex_compile("b", 1), text, "", out, sizeof out,
	    0);
	respond_text(200, "done\n");
}

int
main(void)
{

	memset(text, 'a', sizeof text - 1);
	set_backend_get(on_get);
	wait_for_requests();
}
"""


def test_the_limit_is_told_where_the_host_meets_it(engine: Engine,
                                                   tmp_path: Path) -> None:
    program = engine.define("large", {
        "filename": compiled(tmp_path, "large", _LARGE),
        "max_request_memory": 2})
    with pytest.raises(GuestError, match="max_request_memory"):
        program.request()
    counts = engine.stats()["programs"]["large"]
    assert (counts["memory_exceeded"], counts["exceptions"]) == (1, 0)
