# SPDX-License-Identifier: BSD-2-Clause
"""Programs that do not become ready: why, and everything else serves on."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine.library import Engine, Program
from kvmctl.errors import GuestError
from support.compiled import compiled
from support.paths import guest
from support.wait import until

pytestmark = pytest.mark.kvm


@pytest.mark.parametrize("how, words", [
    ("spin", ["1 s", "main"]),
    ("crash", ["null pointer", "main"]),
    ("abort", ["abort"]),
    ("no-handler", ["handler"]),
    ("bad-handler", ["0x123456789000"]),
    ("bad-index", ["99"]),
    ("answer", ["before the program waits", "no request"]),
    ("hog", ["abort"]),
    ("none", ["7"]),
])
def test_bad_boots(engine: Engine, log: Any, how: str,
                   words: list[str]) -> None:
    bad = engine.define("bad", {
        "filename": str(guest("hostile-boot")), "main_arguments": [how],
        "max_memory": 32, "max_boot_time": 1.0})
    with pytest.raises(GuestError) as e:
        bad.start()
    for word in ["bad", *words]:
        assert word in str(e.value)
    # What it printed before is in the log, and a request says the same.
    assert f"about to misbehave: {how}" in log.text()
    with pytest.raises(GuestError) as e:
        bad.request()
    for word in words:
        assert word in str(e.value)
    assert engine.stats()["programs"]["bad"]["boot_failures"] >= 1
    good = engine.define("good", {"filename": str(guest("hello"))})
    assert good.request().body == b"Hello, World!\n"


def test_debug_comes_too_late(engine: Engine, log: Any) -> None:
    """What runs stays as it is, and the log says so."""
    hello = engine.define("hello", {"filename": str(guest("hello"))})
    hello.start()
    assert "debug" not in log.text()
    hello.start()
    assert "debug" not in log.text()
    hello.start(debug=True)
    assert "hello" in [name for name, _, text in log if "debug" in text]
    assert "runs already, and not for debugging" in log.text()
    engine.invalidate()
    log.clear()
    hello.start(debug=True)
    hello.start(debug=True)
    assert "runs already" not in log.text()
    # It stays so, if it boots anew.
    engine.invalidate()
    hello.request()
    hello.start(debug=True)
    assert "runs already" not in log.text()


#: Takes its time, and answers with its number.
_VERSION = r"""
#include <unistd.h>
#include "kvm_api.h"

static void
on_get(const char *url, const char *arg)
{

	(void)url;
	(void)arg;
	respondf(200, "%d", VERSION);
}

int
main(void)
{

	usleep(800000);
	set_backend_get(on_get);
	wait_for_requests();
}
"""


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("versions")
    return [Path(compiled(directory, f"v{n}", _VERSION,
                          f"-DVERSION={n}")) for n in (1, 2)]


def booting(engine: Engine,
            program: Program) -> tuple[threading.Thread, list[bytes]]:
    """A request that waits for the boot, and its answer."""
    answers: list[bytes] = []
    thread = threading.Thread(
        target=lambda: answers.append(program.request().body))
    thread.start()
    until(lambda: engine.stats()["programs"]["it"]["state"] == "booting")
    return thread, answers


def test_invalidated_while_it_boots(engine: Engine, tmp_path: Path,
                                    versions: list[Path]) -> None:
    shutil.copy(versions[0], tmp_path / "it")
    program = engine.define("it", {"filename": str(tmp_path / "it")})
    thread, answers = booting(engine, program)
    shutil.copy(versions[1], tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / "it")
    assert engine.invalidate() == 1
    thread.join()
    assert answers == [b"2"] and program.request().body == b"2"
    assert engine.stats()["programs"]["it"]["boots"] == 2


def test_an_update_that_boots_is_invalidated(engine: Engine,
                                             versions: list[Path]) -> None:
    program = engine.define("it", {"filename": str(versions[0])})
    program.live_update(versions[1])
    engine.set_warm(False)
    engine.set_warm(True)
    thread, answers = booting(engine, program)
    assert engine.invalidate() == 1
    thread.join()
    assert answers == [b"1"]


def test_many_define_at_once(engine: Engine) -> None:
    """The same program, by what is there already, and group by group."""
    engine.define("it", {"filename": str(guest("hello")), "key": "k" * 1000})

    def work(n: int) -> None:
        for i in range(100):
            engine.define("it", {"concurrency": 1 + n, "main_arguments":
                                 [str(i)] * 30})
            engine.stats()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert engine.stats()["programs"]["it"]["filename"] == str(guest("hello"))


_ENVIRONMENT = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "kvm_api.h"

static char all[4096];

static void
on_get(const char *url, const char *arg)
{

	(void)url;
	(void)arg;
	respond_text(200, all);
}

int
main(void)
{
	char **e;

	for (e = environ; *e != NULL; e++)
		snprintf(all + strlen(all), sizeof all - strlen(all), "%s\n", *e);
	set_backend_get(on_get);
	wait_for_requests();
}
"""


def test_the_environment(engine: Engine, tmp_path: Path) -> None:
    it = engine.define("it", {
        "filename": compiled(tmp_path, "it", _ENVIRONMENT),
        "environment": ["A=B", "LC_ALL=C.UTF-8", "KVM_NAME=other", "KVM=x"]})
    it.start()
    assert it.request().body.decode().splitlines() == [
        "LC_TYPE=C", "USER=root", "A=B", "LC_ALL=C.UTF-8", "KVM=x",
        "KVM_NAME=it", "KVM_GROUP=test", "KVM_TYPE=request",
        "KVM_STATE=state", "KVM_DEBUG=0"]


def test_arguments_and_environment(engine: Engine) -> None:
    bad = engine.define("bad", {"filename": str(guest("hostile-boot")),
                                "main_arguments": ["x y", "z"],
                                "environment": ["A=B"]})
    with pytest.raises(GuestError, match="7"):
        bad.start()
