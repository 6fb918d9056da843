# SPDX-License-Identifier: BSD-2-Clause
"""Live updates: another executable in a program's place while requests come."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine.library import Engine
from kvmctl.errors import GuestError, HostError, ManifestError
from support.paths import ROOT, guest
from support.storage import Storage, begun, define, held, version
from support.wait import until

pytestmark = pytest.mark.kvm


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("versions")
    flags = {"two": ["-DVERSION=2"], "three": ["-DVERSION=3"],
             "plain": ["-DVERSION=4", "-DNO_HANDLERS"],
             "bad-boot": ["-DBAD_BOOT"], "bad-restore": ["-DBAD_RESTORE"],
             "bad-serialise": ["-DBAD_SERIALISE"]}
    return {name: version(directory, name, *flag)
            for name, flag in flags.items()}


@pytest.fixture
def it(engine: Engine, tmp_path: Path) -> Storage:
    return define(engine, tmp_path, max_storage_time=5, concurrency=4)


def test_storage_goes_over(it: Storage, versions: dict[str, Path]) -> None:
    """Version 2 adds 1000, version 3 adds 2000 and takes data the old way."""
    assert it.number("add", 5) == 5
    it.program.live_update(versions["two"].read_bytes())
    assert it.ask("version") == "2" and it.number("add", 1) == 1006
    it.program.live_update(versions["three"])
    assert it.ask("version") == "3" and it.number("add", 1) == 3007
    counts = it.counts()
    assert counts["live_updates"] == 2 and counts["live_update_failures"] == 0
    assert counts["state"] == "up" and counts["boots"] == 3


def test_boots_are_what_was_booted(it: Storage,
                                   versions: dict[str, Path]) -> None:
    def counts() -> tuple[int, int]:
        now = it.counts()
        return now["boots"], now["boot_failures"]

    it.program.start()
    assert counts() == (1, 0)
    with pytest.raises(ManifestError, match="ELF"):
        it.program.live_update(b"x")
    assert counts() == (1, 0)
    with pytest.raises(GuestError):
        it.program.live_update(versions["bad-boot"])
    assert counts() == (2, 1)
    # It booted, and then could not restore.
    with pytest.raises(GuestError):
        it.program.live_update(versions["bad-restore"])
    assert counts() == (3, 1)
    # Twice: once to see that it does, once from the file that is final then.
    it.program.live_update(versions["plain"])
    assert counts() == (5, 1)


def test_a_program_that_is_down(it: Storage,
                                versions: dict[str, Path]) -> None:
    it.program.live_update(versions["two"])
    assert it.ask("version") == "2" and it.number("add", 1) == 1


def test_programs_without_storage(engine: Engine) -> None:
    program = engine.define("it", {"filename": str(guest("hello"))})
    assert program.request().body == b"Hello, World!\n"
    program.live_update(guest("echo"))
    assert b'"method":"GET"' in program.request().body


@pytest.mark.parametrize("name, words", [
    ("bad-boot", "storage: ended before it waited"),
    ("bad-restore", "storage: .*restore"),
])
def test_failures_keep_the_old(it: Storage, versions: dict[str, Path],
                               log: Any, name: str, words: str) -> None:
    it.ask("save", 3)
    assert it.number("add", 5) == 5
    for n in range(3):
        with pytest.raises(GuestError, match=words):
            it.program.live_update(versions[name])
        assert it.ask("version") == "1" and it.number("add", 1) == 6 + n
    assert it.ask("load") == "3"
    assert it.counts()["live_update_failures"] == 3
    assert "the old program stays" in log.text()


def test_an_old_one_that_does_not_serialise(engine: Engine, tmp_path: Path,
                                            versions: dict[str, Path]) -> None:
    it = define(engine, tmp_path, filename=str(versions["bad-serialise"]))
    it.ask("add", 5)
    with pytest.raises(GuestError, match="serialise"):
        it.program.live_update(versions["two"])
    assert it.number("add", 1) == 6


@pytest.mark.parametrize("image, words", [
    (b"x", "ELF"), (b"\x7fELF" + b"\0" * 100, "st: "), (b"", "without"),
])
def test_what_is_no_program(it: Storage, image: bytes, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        it.program.live_update(image)
    with pytest.raises(ManifestError, match="cannot open"):
        it.program.live_update(Path("/no/such/file"))
    assert it.ask("version") == "1"


def test_without_handlers_the_state_file_goes_over(
        it: Storage, versions: dict[str, Path]) -> None:
    it.ask("add", 500)
    it.ask("save", 70)
    it.program.live_update(versions["plain"])
    assert it.ask("version") == "4" and it.number("add", 1) == 71


#: Lets no thread with the stack of storage's be made while the file is there.
_NO_THREADS = r"""
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

int
pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*f)(void *),
    void *arg)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
	    void *) = dlsym(RTLD_NEXT, "pthread_create");
	size_t stack = 0;

	if (attr != NULL)
		pthread_attr_getstacksize(attr, &stack);
	if (stack == 256 * 1024 && access(getenv("NO_THREADS"), F_OK) == 0)
		return (EAGAIN);
	return (real(t, attr, f, arg));
}
"""

_WITHOUT_A_THREAD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from kvmctl.engine.library import Engine
from kvmctl.errors import HostError
from support.storage import define
with Engine() as engine:
    it = define(engine, Path(sys.argv[1]))
    it.ask("save", 7)
    Path(sys.argv[3]).touch()
    try:
        it.program.live_update(Path(sys.argv[2]))
    except HostError as e:
        print(e)
    print(it.ask("version"), it.ask("load"), it.ask("append", 5))
    print(it.ask("load"))
"""


def test_no_thread_for_the_new_storage(tmp_path: Path) -> None:
    """What it restored is not the state of the old one, which goes on."""
    saver = version(tmp_path, "saver", "-DVERSION=2", "-DSAVES_AT_RESTORE")
    (tmp_path / "it.c").write_text(_NO_THREADS)
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o",
                    tmp_path / "it.so", tmp_path / "it.c", "-ldl"], check=True)
    (tmp_path / "state").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_A_THREAD, tmp_path / "state", saver,
         tmp_path / "no-threads", ROOT / "pyctl", ROOT / "tests"],
        env=os.environ | {"LD_PRELOAD": str(tmp_path / "it.so"),
                          "NO_THREADS": str(tmp_path / "no-threads")},
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no thread for its storage" in done.stdout
    assert done.stdout.splitlines()[1:] == ["1 7 1", "75"]


def test_nothing_is_lost_under_load(it: Storage,
                                    versions: dict[str, Path]) -> None:
    """Every request is served, and what each added is there at the end."""
    it.program.start()
    wrong: list[str] = []
    served = [0] * 4
    stop = threading.Event()

    def work(n: int) -> None:
        while not stop.is_set():
            try:
                answer = it.ask("add", 1)
            except GuestError as e:
                answer = str(e)
            if answer.isdigit():
                served[n] += 1
            else:
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for name in ("two", "three", "two", "three"):
        before = list(served)
        until(lambda: all(now > then + 3 for now, then in zip(served, before)))
        it.program.live_update(versions[name])
    stop.set()
    for t in threads:
        t.join()
    assert wrong == []
    assert it.number("add", 0) == sum(served) + 6000


def test_requests_under_way_end_in_peace(it: Storage, log: Any,
                                         versions: dict[str, Path]) -> None:
    it.program.start()
    answers: dict[str, str] = {}

    def ask(name: str, url: str, ms: int) -> threading.Thread:
        def work() -> None:
            answers[name] = it.ask(url, ms)
        thread = threading.Thread(target=work)
        thread.start()
        return thread

    # Half a second is waited for; two are not, and its storage has gone.
    threads = [ask("short", "linger-add", 500), ask("plain", "linger", 2500),
               ask("long", "linger-add", 2000)]
    until(lambda: begun(log) == 3)
    start = time.monotonic()
    it.program.live_update(versions["two"])
    assert time.monotonic() - start > 0.9
    assert "plain" not in answers
    assert it.ask("version") == "2"
    for t in threads:
        t.join()
    assert answers == {"short": "1", "plain": "1", "long": "-1"}
    assert it.number("add", 0) == 1001


def test_one_at_a_time(it: Storage, versions: dict[str, Path]) -> None:
    it.program.start()
    results: list[str] = []

    def work() -> None:
        try:
            it.program.live_update(versions["two"])
            results.append("done")
        except GuestError as e:
            results.append(str(e))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert "done" in results
    assert all("another live update" in r for r in results if r != "done")
    assert it.ask("version") == "2"


def test_the_update_lasts_until_invalidate(engine: Engine, it: Storage,
                                           versions: dict[str, Path]) -> None:
    it.ask("save", 20)
    it.program.live_update(versions["two"])
    engine.set_warm(False)
    with pytest.raises(GuestError, match="cold"):
        it.program.live_update(versions["three"])
    engine.set_warm(True)
    assert it.ask("version") == "2" and it.number("add", 2) == 22
    # Back to the file, at once, with what storage has.
    assert engine.invalidate("st") == 1
    assert it.ask("version") == "1" and it.number("add", 1) == 23
    assert it.counts()["live_updates"] == 2


def test_invalidate_takes_the_file_as_it_is(
        engine: Engine, tmp_path: Path, log: Any,
        versions: dict[str, Path]) -> None:
    shutil.copy(guest("storagetest"), tmp_path / "program")
    it = define(engine, tmp_path, filename=str(tmp_path / "program"))
    assert it.number("add", 5) == 5
    (tmp_path / "program").unlink()
    shutil.copy(versions["two"], tmp_path / "program")
    assert engine.invalidate() == 1
    assert it.number("add", 0) == 1005
    (tmp_path / "program").write_bytes(b"broken")
    assert engine.invalidate() == 0
    assert it.number("add", 0) == 1005 and it.ask("version") == "2"
    assert "the old program stays" in log.text()
    # Without handlers there is nothing to keep.
    (tmp_path / "program").unlink()
    shutil.copy(versions["plain"], tmp_path / "program")
    engine.define("st", {"max_request_time": 5})
    it.ask("add", 5)
    assert engine.invalidate() == 1
    assert it.number("add", 0) == 0


def test_a_new_definition_ends_the_update(engine: Engine, it: Storage,
                                          versions: dict[str, Path]) -> None:
    it.program.live_update(versions["two"])
    engine.define("st", {"max_request_time": 5})
    assert it.ask("version") == "1"


def test_keys(engine: Engine, tmp_path: Path) -> None:
    open_one = define(engine, tmp_path, "one", key="the right key")
    open_one.program.may_update("the right key")
    for key in ("", "the right ke", "the right key ", "The right key"):
        with pytest.raises(GuestError, match="wrong key"):
            open_one.program.may_update(key)
    with pytest.raises(GuestError, match="too many"):
        open_one.program.may_update("the right key")
    time.sleep(1.1)                     # one attempt a second
    open_one.program.may_update("the right key")
    for name, more in (("two", {}), ("three", {"key": ""})):
        closed = define(engine, tmp_path, name, **more)
        for key in ("", "x"):
            with pytest.raises(GuestError, match="no \"key\""):
                closed.program.may_update(key)


def knock(it: Storage, wrong: str) -> None:
    """With a wrong key, until there have been too many."""
    said = ""
    while "too many" not in said:
        with pytest.raises(GuestError) as e:
            it.program.may_update(wrong)
        said = str(e.value)
        assert "wrong key" in said or "too many" in said


@pytest.mark.parametrize("key", ["k" * 32, "0123456789abcdef" * 4])
def test_a_long_key_is_not_locked_out(engine: Engine, tmp_path: Path,
                                      key: str) -> None:
    """Wrong ones are few all the same, also those that look alike."""
    one = define(engine, tmp_path, "one", key=key)
    for wrong in ("x" * len(key), key[:-1], key + key, ""):
        for _ in range(10):
            knock(one, wrong)
            one.program.may_update(key)


def test_a_short_key_is(engine: Engine, tmp_path: Path) -> None:
    """Else it could be guessed at any speed."""
    one = define(engine, tmp_path, "one", key="k" * 31)
    knock(one, "x")
    with pytest.raises(GuestError, match="too many"):
        one.program.may_update("k" * 31)


def test_updates_leave_nothing(engine: Engine, tmp_path: Path,
                               versions: dict[str, Path]) -> None:
    it = define(engine, tmp_path, main_arguments=["tick"])

    def updates(times: int) -> None:
        for _ in range(times):
            it.program.live_update(versions["three"])
            with pytest.raises((GuestError, HostError)):
                it.program.live_update(versions["bad-restore"])
            it.program.live_update(versions["plain"])
            assert it.number("add", 1) >= 1

    updates(4)
    before = held()
    updates(20)
    after = held()
    assert after[:2] == before[:2]
    assert after[2] < before[2] + 2048
    until(lambda: it.number("ticks") > 3)
