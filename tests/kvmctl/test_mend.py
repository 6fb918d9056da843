# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl doctor --fix: mends what is safe, and nothing else."""

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from kvmctl import paths
from kvmctl.commands import mend
from kvmctl.errors import ExitCode, HostError
from support.paths import ROOT


def test_a_store_is_made(tmp_path: Path) -> None:
    root = tmp_path / "a" / "store"
    found = mend.store_there(root)
    assert found.state == "warn" and found.fix is not None
    assert mend.mended(found)[0].state == "ok"
    assert mend.store_there(root).state == "ok"


def test_nobody_s_home(kvmctl: Any, tmp_path: Path,
                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Without HOME, as a user of a container that passwd does not know."""
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path)
    monkeypatch.setenv("KVMCTL_TEMPLATES", str(ROOT / "vcl"))
    (tmp_path / "edge.toml").write_text("")
    for words in (("history", tmp_path / "edge.toml"), ("key",)):
        assert kvmctl(*words) == ExitCode.HOST
        assert "set HOME" in kvmctl.err
    with pytest.raises(HostError, match="XDG_CACHE_HOME"):
        paths.cache()
    assert [f.check for f in mend.findings(None)][0] == "home"
    monkeypatch.setenv("XDG_CACHE_HOME", "~/there")
    with pytest.raises(HostError, match="set HOME"):
        paths.cache()
    monkeypatch.setenv("HOME", "/home/it")
    assert paths.cache() == Path("/home/it/there/kvmctl")


def test_what_cannot_be_mended_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = mend.store_there(tmp_path / "file" / "store")
    after, said = mend.mended(found)
    assert after is found and "not mended" in said


def test_histories_are_put_aside_whole(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "releases").mkdir(parents=True)
    (site / "history.json").write_text("damaged")
    (site / "releases" / ".partial-old").write_text("x")
    (site / "releases" / ".partial-new").write_text("x")
    os.utime(site / "releases" / ".partial-old", (0, 0))
    found = list(mend.histories(tmp_path))
    assert [f.check for f in found] == ["history", "partial"]
    for one in found:
        assert mend.mended(one)[1] == "mended"
    assert not list(mend.histories(tmp_path))
    (aside,) = site.glob("history.json.damaged-*")
    assert aside.read_text() == "damaged"
    assert (site / "releases" / ".partial-new").exists()
    assert not (site / "releases" / ".partial-old").exists()


def test_left_overs_of_the_dead_only(tmp_path: Path) -> None:
    for name, pid in (("dead", 2**22 + 1), ("alive", os.getpid())):
        directory = tmp_path / f"kvmctl-{name}" / "varnish"
        directory.mkdir(parents=True)
        (directory / "_.pid").write_text(f"{pid}\n")
    (tmp_path / "kvmctl-else").mkdir()
    (found,) = mend.left_over(tmp_path)
    assert mend.mended(found)[1] == "mended"
    assert {p.name for p in tmp_path.iterdir()} == {"kvmctl-alive",
                                                    "kvmctl-else"}


def test_nothing_of_others_is_looked_at(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes in /tmp must not keep root's doctor waiting."""
    directory = tmp_path / "kvmctl-theirs" / "varnish"
    directory.mkdir(parents=True)
    (directory / "_.pid").write_text(f"{2**22 + 1}\n")
    assert list(mend.left_over(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    (directory / "_.pid").unlink()
    os.mkfifo(directory / "_.pid")
    assert not list(mend.left_over(tmp_path))


def test_the_cache_belongs_to_the_worker(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    found = mend.cache(me, tmp_path / "cache")
    assert found.state == "warn"
    assert (found.fix is not None) == (os.geteuid() == 0)
    if found.fix is not None:
        assert mend.mended(found)[1] == "mended"
        assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
        assert mend.cache(me, tmp_path / "cache").state == "ok"
    assert mend.cache("no-such-user", tmp_path / "other").fix is None


@pytest.mark.parametrize("group, worker", [
    ("root", "root"), ("kvm", "no-such-user")])
def test_nobody_joins_the_group_of_root(group: str, worker: str) -> None:
    assert mend.join(group, worker) is None
