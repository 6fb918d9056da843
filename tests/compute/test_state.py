# SPDX-License-Identifier: BSD-2-Clause
"""State that goes on from request to request, or does not; warm-up."""

from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine.library import Engine, Program
from kvmctl.errors import GuestError, ManifestError
from support.compiled import compiled
from support.paths import guest

pytestmark = pytest.mark.kvm


def define(engine: Engine, *arguments: str, **more: object) -> Program:
    return engine.define("streamtest", {
        "filename": str(guest("streamtest")), "max_memory": 64,
        "max_request_memory": 8, "max_request_time": 0.3, "concurrency": 1,
        "main_arguments": list(arguments), **more})


def counts(program: Program, n: int = 3) -> list[str]:
    return [program.request(url="/count").body.decode() for _ in range(n)]


def test_every_request_begins_anew(engine: Engine) -> None:
    assert counts(define(engine)) == ["1", "1", "1"]


def test_a_program_that_is_not_ephemeral_keeps_its_state(
        engine: Engine) -> None:
    program = define(engine, ephemeral=False)
    assert counts(program) == ["1", "2", "3"]
    assert program.request(url="/alphabet/100000/999").status == 200
    assert counts(program, 1) == ["4"]
    numbers = engine.stats()["programs"]["streamtest"]
    assert numbers["resets"] == 0 and numbers["invocations"] == 5


@pytest.mark.parametrize("deed", ["/fault", "/loop", "/late/crash", "/wild"])
def test_after_an_error_it_is_reset(engine: Engine, deed: str) -> None:
    program = define(engine, ephemeral=False)
    assert counts(program) == ["1", "2", "3"]
    with pytest.raises(GuestError):
        program.request(url=deed)
    assert counts(program) == ["1", "2", "3"]
    assert engine.stats()["programs"]["streamtest"]["resets"] == 1


#: Of two threads, and the one that does not serve answers "/other".
_THREADS = r"""
#include <pthread.h>
#include <semaphore.h>
#include "kvm_api.h"

static sem_t begin;
static int served;

static void *
other(void *arg)
{

	(void)arg;
	for (;;) {
		(void)sem_wait(&begin);
		respondf(200, "%d", served);
	}
}

static void
on_get(const char *url, const char *arg)
{
	sem_t never;

	(void)arg;
	served++;
	if (strcmp(url, "/other") != 0)
		respondf(200, "%d", served);
	(void)sem_init(&never, 0, 0);
	(void)sem_post(&begin);
	for (;;)
		(void)sem_wait(&never);
}

int
main(void)
{
	pthread_t t;

	(void)sem_init(&begin, 0, 0);
	if (pthread_create(&t, NULL, other, NULL) != 0)
		return (1);
	set_backend_get(on_get);
	wait_for_requests();
}
"""


def test_after_an_answer_of_another_thread_it_is_reset(
        engine: Engine, tmp_path: Path) -> None:
    """The next call would take that thread's place in the middle of it."""
    program = engine.define("threads", {
        "filename": compiled(tmp_path, "threads", _THREADS,
                             "-pthread"),
        "max_memory": 64, "max_request_time": 1, "concurrency": 1,
        "ephemeral": False})

    def ask(url: str) -> str:
        return program.request(url=url).body.decode()

    assert [ask("/one"), ask("/one"), ask("/other")] == ["1", "2", "3"]
    assert [ask("/one"), ask("/other"), ask("/other")] == ["1", "2", "1"]
    assert ask("/one") == "1"
    assert engine.stats()["programs"]["threads"]["resets"] == 3


def test_such_a_fork_is_not_kept(engine: Engine, tmp_path: Path) -> None:
    """Not for the next call of a task, either: soft_reset."""
    program = engine.define("threads", {
        "filename": compiled(tmp_path, "threads", _THREADS,
                             "-pthread"),
        "max_memory": 64, "max_request_time": 1, "concurrency": 1})
    ffi: Any = engine._ffi
    inv = ffi.new("struct tkc_invocation **")
    error = ffi.new("struct tkc_error *")
    texts = [ffi.new("char[]", s) for s in (b"GET", b"/one", b"/other", b"")]
    kept = []
    for url in texts[1:3]:
        request = ffi.new("struct tkc_request *", {
            "method": texts[0], "url": url, "arg": texts[3],
            "content_type": texts[3]})
        if inv[0] == ffi.NULL:
            assert engine._lib.tkc_reserve(program._handle, inv, error) == 0
        assert engine._lib.tkc_invoke(
            inv[0], request, ffi.new("struct tkc_response *"), error) == 0
        engine._lib.tkc_keep(inv)
        kept.append(inv[0] != ffi.NULL)
    assert kept == [True, False]
    assert program.request(url="/one").body == b"1"
    assert engine.stats()["programs"]["threads"]["resets"] == 2


def test_nothing_is_missed_when_a_kept_fork_is_reset(engine: Engine) -> None:
    """Many requests write all over the place; one error undoes it all."""
    program = define(engine, ephemeral=False)
    for _ in range(20):
        program.request("POST", "/echo", body=b"x" * 300_000)
        program.request(url="/fresh/3000000")
        program.request(url="/headers/30/5000")
    assert counts(program, 1) == ["1"]
    with pytest.raises(GuestError):
        program.request(url="/fault")
    assert program.request(url="/served").body == b"0\n"


def test_programs_decide_only_with_permission(engine: Engine,
                                              log: Any) -> None:
    assert counts(define(engine, "keep")) == ["1", "1", "1"]
    assert "make_ephemeral: -1" in log.text()
    assert counts(define(engine, "keep", control_ephemeral=True)) == [
        "1", "2", "3"]
    assert "make_ephemeral: 0" in log.text()


@pytest.mark.parametrize("settings", [
    {"ephemeral_keep_working_memory": False},
    {"req_mem_limit_after_reset": 1}])
def test_memory_is_given_back(engine: Engine,
                              settings: dict[str, object]) -> None:
    program = define(engine, **settings)
    for _ in range(4):
        assert program.request(url="/fresh/3000000").status == 200
        numbers = engine.stats()["programs"]["streamtest"]
        assert numbers["working_set_bytes"] <= 1 << 20
    assert counts(program) == ["1", "1", "1"]


def test_memory_is_kept_otherwise(engine: Engine) -> None:
    program = define(engine)
    assert program.request(url="/fresh/3000000").status == 200
    numbers = engine.stats()["programs"]["streamtest"]
    assert numbers["working_set_bytes"] > 1 << 20


def test_warm_up(engine: Engine, log: Any) -> None:
    program = define(engine, warmup={"url": "/count"})
    for _ in range(3):
        assert program.request(url="/served").body == b"20\n"
    assert counts(program) == ["21", "21", "21"]
    assert "warmed up by 20 requests" in log.text()
    numbers = engine.stats()["programs"]["streamtest"]
    assert numbers["invocations"] == 6 and numbers["boots"] == 1


def test_warm_up_is_told_to_the_program(engine: Engine) -> None:
    program = define(engine, "method", warmup={
        "num_requests": 3, "headers": ["X-Warm: yes"], "method": "HEAD"})
    assert program.request(url="/warmups").body == b"303\n"


def test_streams_and_own_loops_can_be_warmed(engine: Engine) -> None:
    program = define(engine, warmup={"url": "/alphabet/5000000"})
    assert program.request(url="/served").body == b"20\n"
    loop = engine.define("loop", {"filename": str(guest("loop")),
                                  "warmup": {"num_requests": 2}})
    for _ in range(3):
        assert b"request" in loop.request(url="/x").body


def test_a_warm_up_without_requests(engine: Engine) -> None:
    program = define(engine, warmup={"num_requests": 0})
    assert program.request(url="/served").body == b"0\n"


@pytest.mark.parametrize("url, words", [
    ("/crash-on-warmup", "null pointer"), ("/loop", "longer than 0.3 s"),
    ("/status-0", "status 0")])
def test_a_warm_up_that_fails_does_not_stop_the_boot(
        engine: Engine, log: Any, url: str, words: str) -> None:
    program = define(engine, warmup={"url": url})
    assert program.request(url="/served").body == b"0\n"
    assert "warm-up failed" in log.text() and words in log.text()
    assert engine.stats()["programs"]["streamtest"]["boot_failures"] == 0


def test_warm_up_ends_with_the_time_for_the_boot(engine: Engine,
                                                 log: Any) -> None:
    program = define(engine, max_boot_time=2, warmup={
        "num_requests": 100000, "url": "/fresh/100"})
    n = int(program.request(url="/served").body)
    assert 0 < n < 100000
    assert f"{n} of 100000 requests until max_boot_time" in log.text()


@pytest.mark.parametrize("warmup, words", [
    (5, "an object"), ({"requests": 5}, "no \"requests\""),
    ({"num_requests": -1}, "whole number"),
    ({"num_requests": 1.5}, "whole number"), ({"url": ""}, "\"url\""),
    ({"method": 5}, "\"method\""), ({"headers": "A: b"}, "a list"),
    ({"headers": ["A: b", "no colon"]}, "number 2"),
    ({"headers": ["A: b\r\nC: d"]}, "number 1")])
def test_settings_of_the_warm_up(engine: Engine, warmup: object,
                                 words: str) -> None:
    with pytest.raises(ManifestError) as e:
        define(engine, warmup=warmup)
    assert words in str(e.value)


#: Loses the memory in which it waits for requests: by munmap() or mprotect().
_CARELESS = r"""
#include <sys/mman.h>
#include "kvm_api.h"

int
main(void)
{
	struct kvm_request *q = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char what;

	wait_for_requests_paused(q);
	what = q->url[1];
	if (what == 'u' && munmap(q, 4096) != 0)
		respond_text(500, "munmap\n");
	if (what == 'p' && mprotect(q, 4096, PROT_READ) != 0)
		respond_text(500, "mprotect\n");
	if (what == 'o' && mprotect(q, 4096, PROT_NONE) != 0)
		respond_text(500, "mprotect\n");
	respond_text(200, "done\n");
}
"""


@pytest.mark.parametrize("deed", ["/protect", "/out-of-reach", "/unmap"])
def test_memory_of_the_request_that_is_gone(engine: Engine, tmp_path: Path,
                                            log: Any, deed: str) -> None:
    """It costs the next request; or the warm-up, and then nothing."""
    settings = {"filename": compiled(tmp_path, "careless", _CARELESS),
                "max_memory": 64, "concurrency": 1, "ephemeral": False}
    program = engine.define("careless", settings)
    for _ in range(3):
        assert program.request(url=deed).body == b"done\n"
        with pytest.raises(GuestError, match="wait_for_requests_paused"):
            program.request(url="/")
        assert program.request(url="/").body == b"done\n"
    warm = engine.define("warm", settings | {"warmup": {"url": deed}})
    assert warm.request(url="/").body == b"done\n"
    assert "warm-up failed" in log.text()
