# SPDX-License-Identifier: BSD-2-Clause
"""More vCPUs for one request: they compute together, and end with it."""

import threading
from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine import Engine
from kvmctl.engine.library import Program
from kvmctl.errors import GuestError
from support.compiled import compiled
from support.paths import guest, settings

pytestmark = pytest.mark.kvm

_SUM = sum(i * i for i in range(2_000_000)) % 2**64


@pytest.fixture
def parallel(engine: Engine) -> Program:
    return engine.define("parallel", settings("parallel")
                         | {"concurrency": 2})


def text(program: Program, url: str) -> str:
    return program.request("GET", url).body.decode().strip()


def test_they_compute(parallel: Program) -> None:
    for _ in range(10):
        assert text(parallel, "/sum") == f"{_SUM} right"


def test_they_run_at_the_same_time(parallel: Program) -> None:
    for _ in range(5):
        assert text(parallel, "/together") == "0"


def test_memory_is_backed_for_all(parallel: Program) -> None:
    for _ in range(5):
        assert text(parallel, "/touch") == "0"
    assert text(parallel, "/sum") == f"{_SUM} right"


def test_clones_go_on_behind_the_call(parallel: Program) -> None:
    for _ in range(5):
        assert text(parallel, "/clone") == "0 6"


def test_what_goes_wrong(parallel: Program, log: Any) -> None:
    assert text(parallel, "/crash") == "-1"
    assert "null pointer" in log.text() and "vCPU 1" in log.text()
    assert text(parallel, "/linux") == "0 1"
    assert text(parallel, "/too-many") == "-1 -1 -1"
    with pytest.raises(GuestError, match="no function"):
        parallel.request("GET", "/no-function")
    assert text(parallel, "/sum") == f"{_SUM} right"


def test_they_end_with_the_request(parallel: Program) -> None:
    for _ in range(10):
        assert text(parallel, "/no-wait") == "answered"
    # Who waits for them learns that they were ended, or is ended as well.
    try:
        assert text(parallel, "/spin") == "-1"
    except GuestError as e:
        assert "ran longer" in str(e)
    assert text(parallel, "/sum") == f"{_SUM} right"
    assert threads() < 10


def threads() -> int:
    """Ours: the kernel has one for each machine, idle ones too."""
    return sum(not (task / "comm").read_text().startswith("kvm-")
               for task in Path("/proc/self/task").iterdir())


def test_many_requests_at_once(parallel: Program) -> None:
    wrong: list[str] = []

    def work() -> None:
        for url, want in (("/sum", f"{_SUM} right"), ("/no-wait", "answered"),
                          ("/touch", "0")) * 5:
            have = text(parallel, url)
            if have != want:
                wrong.append(have)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for t in workers:
        t.start()
    for t in workers:
        t.join()
    assert not wrong


def test_not_without_the_setting(engine: Engine) -> None:
    program = engine.define("one", {"filename": str(guest("parallel"))})
    assert text(program, "/sum") == "no more vCPUs"


#: Answers with what lies on the stack of another vCPU, which goes with it.
_BORROWER = r"""
#include <sys/mman.h>
#include "kvm_api.h"

#define PART	(384 << 10)

static char *volatile there;

static void
lend(void *arg)
{
	char text[16384];

	memset(text, 'x', sizeof text);
	there = text;
	for (;;)
		__asm__ volatile ("" :: "r" (arg), "m" (text));
}

static void
on_get(const char *url, const char *arg)
{
	void *last[4];
	unsigned n = 0;

	(void)url;
	(void)arg;
	/* No room for its stack in what is reserved, and stays readable. */
	do {
		last[n++ % 4] = mmap(NULL, PART, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	} while (last[(n - 1) % 4] != MAP_FAILED);
	for (n = 0; n < 4; n++)
		if (last[n] != MAP_FAILED)
			munmap(last[n], PART);
	if (multiprocess(2, lend, NULL) != 0)
		respond_text(500, "no more vCPUs\n");
	while (there == NULL)
		__asm__ volatile ("pause");
	sys_backend_response(200, "text/plain", 10, there, 16384, NULL);
}

int
main(void)
{

	set_backend_get(on_get);
	wait_for_requests();
}
"""


def test_an_answer_on_a_stack_that_is_gone(engine: Engine,
                                           tmp_path: Path) -> None:
    program = engine.define("borrower", {
        "filename": compiled(tmp_path, "borrower", _BORROWER),
        "max_memory": 64, "max_request_memory": 32, "smp": 2,
        "concurrency": 1})
    for _ in range(3):
        with pytest.raises(GuestError, match="is not its memory any more"):
            program.request(url="/")
    assert engine.stats()["programs"]["borrower"]["exceptions"] == 3
