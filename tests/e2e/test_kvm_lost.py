# SPDX-License-Identifier: BSD-2-Clause
"""A /dev/kvm that is not there, is denied, or goes away from who has it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.child import Child
from support.live import Live, running
from support.needed import lacking
from support.paths import settings
from support.wait import until
from support.wrapped import wrap_varnishd

pytestmark = pytest.mark.kvm

#: What makes it so, and ends it, in varnishd's own view of the file system.
DENIED = (("mount --bind /dev/kvm /dev/kvm && "
           "mount -o remount,bind,nodev /dev/kvm", "umount /dev/kvm"),
          "No permission for /dev/kvm")
OTHER = (("mount --bind /dev/null /dev/kvm", "umount /dev/kvm"),
         "/dev/kvm is not KVM's: Inappropriate ioctl for device")
#: All of /dev is another: what exists cannot be removed for one process.
GONE = (("mount -t tmpfs none /mnt && mkdir /mnt/away && "
         "cp -a /dev/kvm /mnt/away && "
         "cp -a /dev/null /dev/zero /dev/*random /mnt && "
         "mount --bind /mnt /dev", "mv /dev/away/kvm /dev"),
        "/dev/kvm is not there")


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    """Its varnishd mounts what it likes, unseen by others."""
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True,
                           text=True, check=False)
    if tried.returncode != 0:
        lacking(f"a mount namespace: {tried.stderr.strip()}")
    wrap_varnishd(tmp_path, monkeypatch, 'exec unshare -m "$VARNISHD" "$@"')
    with running() as live:
        yield live


def within(live: Live, line: str) -> None:
    subprocess.run(["nsenter", "-m", "-t", str(live.varnish.process_id),
                    "sh", "-c", line], check=True)


def words_of(live: Live) -> str:
    """All that Varnish's log has."""
    return subprocess.run(
        ["varnishlog", "-d", "-g", "raw", "-n", str(live.varnish.node.name)],
        capture_output=True, text=True, check=True).stdout


def is_denied(live: Live, path: str, words: str) -> None:
    lost = live.ask(path)
    assert (lost.status_code, lost.reason) == (503, "Service Unavailable")
    assert words in words_of(live)


@pytest.mark.parametrize("how, words", [DENIED, OTHER, GONE])
def test_away_and_back(apart: Live, how: tuple[str, str], words: str) -> None:
    """Who has it goes on; a worker without it says so until it is back."""
    apart.use_guests(["hello", "echo"])
    assert apart.ask("/hello/").status_code == 200
    within(apart, how[0])
    for _ in range(20):
        assert apart.ask("/hello/").status_code == 200
    # Boots, too.
    assert apart.ask("/echo/").status_code == 200
    os.kill(Child(apart.varnish.process_id).process_id, signal.SIGKILL)
    apart.deaths = 1
    until(lambda: apart.varnish.admin.status() == "running"
          and apart.counter("MGT.child_start") == 2)
    is_denied(apart, "/hello/", words)
    is_denied(apart, "/echo/", words)
    # VCLs are loaded nonetheless.
    apart.use_programs({name: settings(name) for name in ("hello", "echo")},
                       "other")
    is_denied(apart, "/echo/", words)
    within(apart, how[1])
    until(lambda: apart.ask("/echo/").status_code == 200)
    until(lambda: apart.ask("/hello/").status_code == 200)
