# SPDX-License-Identifier: BSD-2-Clause
"""The file "state": the old one or the new one, whatever happens."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine.library import Engine
from kvmctl.errors import GuestError
from support.paths import ROOT, guest, settings
from support.small_disk import small_disk
from support.storage import Storage, define
from support.wait import until

pytestmark = pytest.mark.kvm


@pytest.fixture
def it(engine: Engine, tmp_path: Path) -> Storage:
    return define(engine, tmp_path)


def test_requests_read_what_storage_wrote(it: Storage, tmp_path: Path) -> None:
    assert it.ask("load") == "No such file or directory"
    for text in ("first", "", "a second one"):
        assert it.number("save", text) == len(text)
        assert it.ask("load") == text
        # On the disk, alone, and nobody else's to read.
        assert (tmp_path / "st.state").read_text() == text
        assert os.listdir(tmp_path) == ["st.state"]
        assert (tmp_path / "st.state").stat().st_mode & 0o777 == 0o600
    assert it.ask("scribble") == "Read-only file system"
    assert it.counts()["state_saves"] == 3


def test_it_survives_everything(tmp_path: Path) -> None:
    for n in range(3):
        with Engine() as engine:
            it = define(engine, tmp_path)
            assert it.number("add", 0) == n
            it.ask("save", n + 1)
            it.ask("add", 100)


def test_unchanged_is_not_written(it: Storage, tmp_path: Path) -> None:
    it.ask("save", "text")
    inode = (tmp_path / "st.state").stat().st_ino
    for url in ("add", "is", "ticks"):
        it.ask(url, 1)
    assert (tmp_path / "st.state").stat().st_ino == inode
    assert it.counts()["state_saves"] == 1


def test_tasks_save_too(it: Storage, tmp_path: Path) -> None:
    it.ask("save-task", "by a task")
    until(lambda: it.ask("load") == "by a task")


def test_the_boot_saves_too(engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path, main_arguments=["create"])
    assert it.ask("load") == "0"


def test_a_failed_call_saves_nothing(it: Storage, tmp_path: Path) -> None:
    it.ask("save", "whole")
    assert it.ask("half-a-state") == "-1"
    assert it.ask("load") == "whole"
    # Nor does the next one save what the failed one left.
    it.ask("add", 1)
    assert (tmp_path / "st.state").read_text() == "whole"


def test_a_first_state_that_failed(it: Storage, tmp_path: Path) -> None:
    assert it.ask("half-a-state") == "-1"
    it.ask("add", 1)
    assert it.ask("load") == "No such file or directory"
    assert os.listdir(tmp_path) == []


def test_a_failed_call_whose_state_cannot_be_read_again(
        engine: Engine, tmp_path: Path, log: Any) -> None:
    """Nothing is built on what may be empty, or half of something."""
    there, away = tmp_path / "there", tmp_path / "away"
    there.mkdir()
    it = define(engine, there)
    it.ask("save", "7")
    there.rename(away)
    assert it.ask("half-a-state") == "-1"
    away.rename(there)
    assert it.number("append", "5") == 1
    assert (there / "st.state").read_text() == "75"
    # Storage began anew, from the file.
    assert it.number("add", 0) == 7
    assert "could not be put back" in log.text()
    assert "boots anew" in log.text()


def test_a_file_that_is_none_any_more(
        engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path)
    it.ask("save", "7")
    (tmp_path / "st.state").rename(tmp_path / "good")
    (tmp_path / "st.state").mkdir()
    assert it.ask("half-a-state") == "-1"
    with pytest.raises(GuestError, match="cannot read its state"):
        it.ask("append", "5")
    (tmp_path / "st.state").rmdir()
    (tmp_path / "good").rename(tmp_path / "st.state")
    time.sleep(1.1)
    assert it.number("append", "5") == 1
    assert (tmp_path / "st.state").read_text() == "75"


def test_its_size_is_limited(it: Storage) -> None:
    assert it.number("write-for-ever") == 16 << 20
    assert it.number("remove-state") == 0


def test_beside_the_program(engine: Engine, tmp_path: Path) -> None:
    shutil.copy(guest("storagetest"), tmp_path / "program")
    settings_of = settings("storagetest", filename=str(tmp_path / "program"))
    for name, file in (("one", "one.state"), ("a/b", "a%2Fb.state"),
                       ("..", "%2E..state")):
        it = Storage(engine, engine.define(name, settings_of), name)
        it.ask("save", name)
        assert (tmp_path / file).read_text() == name


def test_in_another_directory(engine: Engine, tmp_path: Path) -> None:
    it = define(engine, tmp_path, current_working_directory="/some/where")
    it.ask("save", "text")
    assert it.ask("load") == "text"


# A host that does not let us

def test_a_directory_that_is_not_there(engine: Engine, log: Any,
                                       tmp_path: Path) -> None:
    it = define(engine, tmp_path / "missing")
    it.program.start()
    assert "cannot be saved" in log.text() and "state_dir" in log.text()
    assert it.number("save", "text") == 4
    assert it.number("add", 1) == 1
    assert it.counts()["state_errors"] == 1
    # Once it is there, later calls try again.
    (tmp_path / "missing").mkdir()
    until(lambda: it.number("add", 1) > 0 and it.counts()["state_saves"] == 1)
    assert it.ask("version") == "1"
    assert (tmp_path / "missing" / "st.state").read_text() == "text"


def test_a_state_that_was_not_there_at_the_boot(
        engine: Engine, tmp_path: Path, log: Any) -> None:
    """Mounted too late: what is there then is not replaced unread."""
    it = define(engine, tmp_path / "late")
    assert it.number("append", "5") == 1
    assert it.ask("half-a-state") == "-1"
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "st.state").write_text("7")
    time.sleep(1.1)
    assert it.number("append", "6") == 1
    assert "has not read" in log.text()
    assert it.counts()["state_saves"] == 0
    assert (tmp_path / "late" / "st.state").read_text() == "7"
    engine.define("st", {"max_request_time": 5})
    assert it.number("append", "8") == 1
    assert (tmp_path / "late" / "st.state").read_text() == "78"


def test_a_directory_that_is_read_only(engine: Engine, log: Any,
                                       tmp_path: Path) -> None:
    # Not even root makes files there.
    it = define(engine, Path("/proc/self/fdinfo"))
    assert it.number("save", "text") == 4
    assert it.number("add", 5) == 5
    assert it.counts()["state_errors"] == 1
    assert "state could not be saved" in log.text()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, 64) as it:
        yield it


def test_a_full_disk(disk: Path, engine: Engine, log: Any) -> None:
    it = define(engine, disk)
    it.program.request("POST", "/save", body=b"x" * 20000)
    (disk / "filler").write_bytes(b"y" * 40000)
    assert it.ask("save", "", b"z" * 30000) == "30000"
    assert "No space left" in log.text()
    assert (disk / "st.state").read_text() == "x" * 20000
    assert sorted(os.listdir(disk)) == ["filler", "st.state"]
    (disk / "filler").unlink()
    until(lambda: it.number("add", 1) > 0 and it.counts()["state_saves"] == 2)
    assert (disk / "st.state").read_text() == "z" * 30000


def test_the_last_chance_is_the_end(log: Any, tmp_path: Path) -> None:
    """What could not be saved is tried once more when storage ends."""
    with Engine() as engine:
        it = define(engine, tmp_path / "late")
        it.ask("save", "text")
        (tmp_path / "late").mkdir()
    assert (tmp_path / "late" / "st.state").read_text() == "text"


@pytest.mark.parametrize("make, words", [
    (lambda path: path.mkdir(), "Invalid argument"),
    (lambda path: path.symlink_to("/etc/passwd"), "symbolic links"),
    (lambda path: path.write_bytes(b"x" * (17 << 20)), "max_request_memory"),
])
def test_a_state_that_is_none(engine: Engine, tmp_path: Path, make: Any,
                              words: str) -> None:
    make(tmp_path / "st.state")
    it = define(engine, tmp_path)
    with pytest.raises(GuestError, match=f"st.state: .*{words}"):
        it.program.start()


def test_somebody_else_writes(it: Storage, log: Any, tmp_path: Path) -> None:
    it.ask("save", "one")
    (tmp_path / "other").write_text("other")
    (tmp_path / "other").rename(tmp_path / "st.state")
    assert it.ask("load") == "other"
    it.ask("save", "two")
    assert "written by somebody else" in log.text()
    assert it.ask("load") == "two"


def test_what_a_killed_process_left(it: Storage, tmp_path: Path) -> None:
    (tmp_path / ".st.state.new").write_text("half of someth")
    it.ask("save", "one")
    assert os.listdir(tmp_path) == ["st.state"]


_SAVER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from kvmctl.engine.library import Engine
from support.storage import define
with Engine() as engine:
    it = define(engine, Path(sys.argv[1]))
    n = it.number("add", 0)
    while True:
        n += 1
        text = f"{n} " * 3000
        it.ask("save", body=text.encode())
        print(n, flush=True)
"""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Never a mixture; never less than what the caller was told."""
    saved = 0
    chance = random.Random(5)
    for _ in range(40):
        process = subprocess.Popen(
            [sys.executable, "-c", _SAVER, tmp_path, ROOT / "pyctl",
             ROOT / "tests"], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        process.kill()
        told = [int(n) for n in (first + process.stdout.read()).split()]
        process.wait()
        process.stdout.close()
        assert told[0] == saved + 1
        words = (tmp_path / "st.state").read_text().split(" ")
        assert len(words) == 3001 and len(set(words[:-1])) == 1
        saved = int(words[0])
        assert saved in (told[-1], told[-1] + 1)
    assert len(os.listdir(tmp_path)) <= 2
