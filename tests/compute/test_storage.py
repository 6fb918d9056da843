# SPDX-License-Identifier: BSD-2-Clause
"""Storage: what lasts, who may, what a misdeed costs."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kvmctl.engine.library import Engine
from kvmctl.errors import GuestError
from support.paths import guest
from support.storage import Storage, begun, define, held
from support.wait import until

pytestmark = pytest.mark.kvm


@pytest.fixture
def it(engine: Engine, tmp_path: Path) -> Storage:
    return define(engine, tmp_path, max_storage_time=0.5)


def in_thread(results: list[str], it: Storage, *call: Any) -> threading.Thread:
    """A request by itself; its answer, or its error, goes to results."""
    def work() -> None:
        try:
            results.append(it.ask(*call))
        except GuestError as e:
            results.append(str(e))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


# What it is for

def test_storage_lasts_and_requests_do_not(it: Storage) -> None:
    assert [it.number("add", n) for n in (5, 7, 0)] == [5, 12, 12]
    assert it.number("add-and-return", 1) == 13
    assert it.number("is") == 1
    counts = it.counts()
    assert counts["storage_calls"] == 5 and counts["storage_errors"] == 0
    assert counts["storage_time"] > 0


def test_a_call_takes_one_exit_more(it: Storage) -> None:
    it.ask("add", 1)
    assert it.program.request(url="/add", arg="1").exits == 2


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[
    HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=70000), st.integers(1, 60))
def test_buffers_arrive_as_they_were(it: Storage, piece: bytes,
                                     times: int) -> None:
    body = piece * times
    assert it.program.request("POST", "/join", body=body).body == body


def test_a_result_is_cut_to_its_place(it: Storage) -> None:
    assert it.ask("cut") == "4 0123...."


def test_many_threads_lose_nothing(engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path, concurrency=8)
    results: list[str] = []
    for _ in range(4):
        threads = [in_thread(results, it, url, 1)
                   for url in ("add", "add-and-return") * 8]
        for t in threads:
            t.join()
    assert sorted(map(int, results)) == list(range(1, 65))
    assert it.counts()["storage_queue"] == 0


def test_first_come_first_served(engine: Engine, log: Any,
                                 tmp_path: Path) -> None:
    it = define(engine, tmp_path, concurrency=6)
    it.program.start()
    results: list[list[str]] = [[] for _ in range(5)]
    threads = []
    for n, result in enumerate(results):
        threads.append(in_thread(result, it, "slow", 100))
        until(lambda: begun(log) + it.counts()["storage_queue"] > n)
    for t in threads:
        t.join()
    assert results == [["1"], ["2"], ["3"], ["4"], ["5"]]


def test_without_storage(engine: Engine, log: Any) -> None:
    it = Storage(engine, engine.define("st", {
        "filename": str(guest("storagetest"))}), "st")
    assert it.ask("add", 1) == "-1" and it.ask("task", 1) == "-1"
    assert it.ask("stop", 1) == "0" and it.ask("load").startswith("No such")
    assert "storage_callv: the program has no storage" in log.text()


def test_a_storage_that_does_not_boot(engine: Engine, tmp_path: Path) -> None:
    bad = engine.define("bad", {
        "filename": str(guest("hostile-boot")), "main_arguments": ["crash"],
        "storage": True, "state_directory": str(tmp_path)})
    for _ in range(3):
        with pytest.raises(GuestError, match="bad: storage: .*null pointer"):
            bad.start()


def test_regular_expressions_are_its_own(it: Storage) -> None:
    for _ in range(3):
        assert it.ask("match", "aaa") == "1 -1"
        assert it.ask("match", "bbb") == "-1 1"


def test_warming_up_reaches_it(engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path, warmup={"num_requests": 3, "url": "/slow"})
    assert it.number("add", 0) == 3


# Who may

def test_the_allow_list(engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path, main_arguments=["allow"])
    assert it.number("add", 3) == 3
    for url in ("slow", "task"):
        with pytest.raises(GuestError, match="does not allow"):
            it.ask(url, 1)
    assert it.number("add", 0) == 3


# Misdeeds

@pytest.mark.parametrize("url, words", [
    ("crash", "null pointer"), ("spin", "0.5 s"), ("sleep-long", "slept"),
    ("answer-wildly", "0x123456789000"), ("answer-hugely", "4611686018427387904"),
    ("call-itself", "in storage itself"),
    ("respond-in-storage", "there is no request"),
    ("no-function", "no function"), ("data-function", "no function"),
    ("null-function", "no function"), ("half-a-state", "null pointer"),
])
def test_failures_in_storage_are_minus_one(it: Storage, log: Any, url: str,
                                           words: str) -> None:
    for n in range(2):
        assert it.ask(url) == "-1"
    assert words in log.text()
    before = it.number("add", 0)
    assert it.number("add", 1) == before + 1
    counts = it.counts()
    assert counts["storage_errors"] == 2 and counts["boots"] == 1
    # A sleep after one that was cut short takes its time.
    start = time.monotonic()
    it.ask("sleep", 100)
    assert time.monotonic() - start > 0.09


@pytest.mark.parametrize("url, words", [
    ("twice", "second time"), ("answer-and-spin", "ran longer"),
    ("answer-and-crash", "null pointer"),
])
def test_an_answer_is_an_answer(it: Storage, log: Any, url: str,
                                words: str) -> None:
    it.ask("add", 7)
    assert it.number(url) == 7
    assert words in log.text()
    assert it.counts()["storage_errors"] == 1
    assert it.number("add", 0) >= 7


def test_an_answer_is_no_reprieve(engine: Engine, tmp_path: Path) -> None:
    """What goes on behind it has what is left of max_storage_time."""
    it = define(engine, tmp_path, max_storage_time=2)
    it.program.start()
    start = time.monotonic()
    assert it.number("answer-and-spin") == 0
    # Twice as long, were it one.
    assert time.monotonic() - start < 3.6


def test_no_answer_is_an_empty_one(it: Storage) -> None:
    assert it.ask("silent") == "0"


@pytest.mark.parametrize("url, words", [
    ("65", "65 buffers"), ("many", "18446744073709551615 buffers"),
    ("wild-list", "list of buffers"), ("wild-buffer", "buffer 1"),
    ("kernel-buffer", "buffer 0"), ("huge-buffer", "max_request_memory"),
    ("huge-sum", "max_request_memory"), ("long-sum", "max_request_memory"),
    ("wild-result", "result's place"), ("text-result", "result's place"),
    ("return-outside", "only allowed in storage"),
    ("allow-late", "only allowed before"), ("wild-task", "0x123456789000"),
    ("large-task", "at most 2097152"),
])
def test_lies_cost_their_request(it: Storage, url: str, words: str) -> None:
    for n in range(3):
        with pytest.raises(GuestError, match=words):
            it.ask(url)
        assert it.number("add", 1) == n + 1
    assert it.counts()["boots"] == 1


def test_a_huge_result_place_is_no_lie(it: Storage) -> None:
    it.ask("add", 5)
    assert it.number("huge-result") == 5


def test_a_broken_machine_is_booted_anew(it: Storage, log: Any,
                                         tmp_path: Path) -> None:
    it.ask("save", 40)
    it.ask("add", 2)
    assert it.ask("break-machine") == "-1"
    assert "boots anew" in log.text()
    assert it.number("add", 1) == 41
    assert it.counts()["boots"] == 2
    # By a task: nobody is there to be told.
    it.ask("break-task")
    until(lambda: it.ask("version") == "1" and it.counts()["boots"] == 3)
    assert it.number("add", 1) == 41


# Time

def test_waiting_has_an_end(engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path, concurrency=4, max_storage_time=1.3)
    it.program.start()
    results: list[str] = []
    threads = [in_thread(results, it, "slow", 900) for _ in range(4)]
    for t in threads:
        t.join()
    # At 0, 0.9; the others would have begun at 1.8.
    assert results.count("-1") == 2, results
    assert it.number("add", 0) == 2


def test_a_request_does_not_wait_longer_than_it_may_run(
        engine: Engine, log: Any, tmp_path: Path) -> None:
    it = define(engine, tmp_path, max_request_time=0.15, max_storage_time=5)
    it.program.start()
    results: list[str] = []
    slow = in_thread(results, it, "slow", 2000)
    until(lambda: begun(log) == 1)
    with pytest.raises(GuestError, match="its time was over|ran longer"):
        it.ask("add", 1)
    assert slow.is_alive()
    slow.join()
    # It was not cut short; its request's time was over then.
    assert "time" in results[0]
    until(lambda: it.number("add", 0) == 1)
    assert it.counts()["timeouts"] == 2


# Tasks and timers

def test_tasks(it: Storage) -> None:
    for n in range(5):
        assert it.ask("task", 10) == "0"
    until(lambda: it.number("add", 0) == 50)
    assert it.ask("chain", 30) == "0"
    until(lambda: it.number("add", 0) == 80)
    assert it.counts()["storage_tasks"] == 35


def test_timers(it: Storage) -> None:
    start = time.monotonic()
    timer = it.number("timer", 10)
    assert timer > 0
    until(lambda: it.number("ticks") >= 20)
    ticks = it.number("ticks")
    assert time.monotonic() - start > (ticks - 1) * 0.01
    assert it.counts()["storage_timers"] == 1
    assert it.number("stop", timer) == 1
    ticks = it.number("ticks")
    time.sleep(0.1)                     # in which ten more would come
    assert it.number("ticks") == ticks
    assert it.number("stop", timer) == 0 and it.number("stop", -1) == 0
    # Once: it is gone by itself.
    once = it.number("timer", 0)
    until(lambda: it.number("ticks") == ticks + 1)
    until(lambda: it.number("stop", once) == 0)


def test_timers_of_main(engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path, main_arguments=["tick"])
    it.program.start()
    until(lambda: it.number("ticks") > 5)


def test_failing_tasks(it: Storage, log: Any) -> None:
    for url in ("crash-task", "null-task", "spin-task"):
        it.ask(url)
    until(lambda: it.counts()["storage_task_errors"] == 3)
    assert it.number("add", 1) == 1
    for words in ("crash_later", "0x0 is no function", "spin_later"):
        assert words in log.text()
    assert it.ask("negative-timer") == "-1"


def test_a_storm_is_bounded(engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path, max_storage_time=0.05)
    it.program.start()
    start = time.monotonic()
    tasks, timers = map(int, it.ask("storm").split())
    # Each of 1 MiB, 16 at a time; those that ran meanwhile ran 50 ms.
    assert tasks <= 18 + (time.monotonic() - start) / 0.05
    assert timers == 15
    # Requests get their turn all the same.
    for _ in range(10):
        it.ask("add", 1)
    assert it.ask("timer", 1) == "-1"


# Coming and going

def test_cold_ends_what_runs(engine: Engine, log: Any,
                             tmp_path: Path) -> None:
    it = define(engine, tmp_path, max_storage_time=60,
                main_arguments=["tick"])
    it.program.start()
    threads = held()[0]
    it.ask("slow-task", 30000)
    until(lambda: begun(log) == 1)
    start = time.monotonic()
    engine.set_warm(False)
    assert time.monotonic() - start < 3
    assert held()[0] == threads - 1
    with pytest.raises(GuestError, match="cold"):
        it.ask("add", 1)
    engine.set_warm(True)
    assert it.number("add", 1) == 1


def test_unloading_under_load(engine: Engine, log: Any,
                              tmp_path: Path) -> None:
    """The machines of a request outlive their program's unloading."""
    it = define(engine, tmp_path, concurrency=4, max_storage_time=5)
    # Without handlers it would be reloaded with its state.
    it.ask("save", 1)
    results: list[str] = []
    for _ in range(8):
        before = begun(log)
        threads = [in_thread(results, it, "slow", 20) for _ in range(4)]
        until(lambda: begun(log) > before)
        engine.define("st", {"max_request_time": 7})
        for t in threads:
            t.join()
    assert all(int(r) != 0 for r in results), results
    assert it.number("add", 0) >= 1


def test_reloads_leave_nothing(engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path, main_arguments=["tick"], shared_memory=2)

    def cycle() -> None:
        engine.set_warm(True)
        assert it.number("add", 1) == 1
        engine.set_warm(False)

    for _ in range(10):
        cycle()
    before = held()
    for _ in range(100):
        cycle()
    after = held()
    assert after[:2] == before[:2]
    assert after[2] < before[2] + 2048
