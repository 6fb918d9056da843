# SPDX-License-Identifier: BSD-2-Clause
"""What `kvmctl doctor` looks at beside the machine, and what --fix mends.

A mend is safe: it makes what is missing, or puts aside what is broken. It
never deletes a file that somebody may want, never stops a process, and never
takes a permission away. What needs a decision stays advice.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kvmctl.deploy.store import Store, default_root
from kvmctl.errors import DeployError, HostError

CACHE = Path("/var/cache/tinykvm")
WORKER = "vcache"                       # the user of Varnish's default jail
_PARTIAL_SECONDS = 3600.0
Mend = Callable[[], str]


@dataclass(frozen=True)
class Finding:
    """One look. state: ok, warn (something is missing out), fail.

    mend is for people; fix is how kvmctl itself can do it.
    """

    check: str
    state: str
    found: str
    mend: str = ""
    fix: Mend | None = None


def _root(store: Path | None) -> Path:
    return store if store is not None else default_root()


def store_there(store: Path | None) -> Finding:
    root = _root(store)

    def make() -> str:
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)
        return f"made {root}"

    if not root.exists():
        return Finding("store", "warn", f"there is no {root} yet: the first "
                       "deployment makes it", f"install -d -m 755 {root}",
                       make)
    if not root.is_dir() or not os.access(root, os.W_OK | os.X_OK):
        return Finding("store", "warn", f"{root} cannot be written by this "
                       "user", "deploy as its owner, or name another by "
                       "--store")
    return Finding("store", "ok", str(root))


def histories(store: Path | None) -> Iterator[Finding]:
    """Every site of the store: is its history whole?"""
    root = _root(store)
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        return
    for directory in sorted(p for p in root.iterdir() if p.is_dir()):
        history = directory / "history.json"
        if not history.exists():
            continue
        try:
            Store(root, directory.name).releases()
        except DeployError as e:
            aside = history.with_name(
                f"history.json.damaged-{time.strftime('%Y%m%dT%H%M%S')}")

            def put_aside(history: Path = history,
                          aside: Path = aside) -> str:
                history.rename(aside)
                return f"put aside as {aside}"

            yield Finding("history", "fail", str(e),
                          f"mv {history} {aside}", put_aside)
        yield from _partial(directory)


def _partial(directory: Path) -> Iterator[Finding]:
    """What a killed deployment was writing."""
    old = []
    for path in directory.rglob(".partial-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _PARTIAL_SECONDS:
                old.append(path)
    if not old:
        return

    def remove() -> str:
        for path in old:
            path.unlink(missing_ok=True)
        return f"removed {len(old)}"

    yield Finding("partial", "warn", f"{len(old)} half-written files in "
                  f"{directory}", f"rm {directory}/*/.partial-*", remove)


def cache(worker: str = WORKER, directory: Path = CACHE) -> Finding:
    """Where what `uri` settings fetch is kept."""
    if directory.is_dir():
        return Finding("cache", "ok", str(directory))
    mend = f"install -d -o {worker} -m 700 {directory}"

    def make() -> str:
        owner = pwd.getpwnam(worker)
        directory.mkdir(parents=True, mode=0o700)
        os.chown(directory, owner.pw_uid, owner.pw_gid)
        return f"made {directory}"

    return Finding("cache", "warn", f"there is no {directory}: programs of "
                   "`uri` settings are fetched at each boot", mend,
                   make if os.geteuid() == 0 and _user(worker) else None)


def _user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def join(group: str, worker: str = WORKER) -> Mend | None:
    """Puts the worker into the group of /dev/kvm; None where it cannot."""
    usermod = shutil.which("usermod", path="/usr/sbin:/sbin:/usr/bin")
    if os.geteuid() != 0 or group == "root" or usermod is None \
            or not _user(worker):
        return None

    def add() -> str:
        subprocess.run([usermod, "-aG", group, worker], check=True,
                       capture_output=True)
        return f"{worker} is in the group {group} now: restart Varnish"

    return add


def left_over(parent: Path | None = None) -> Iterator[Finding]:
    """Directories of private varnishds whose kvmctl was killed."""
    parent = parent or Path(tempfile.gettempdir())
    dead = []
    for directory in parent.glob("kvmctl-*"):
        pid = directory / "varnish" / "_.pid"
        try:
            # Anybody may put there what is never read to its end.
            if directory.lstat().st_uid != os.geteuid():
                continue
            number = int(pid.read_text())
        except (OSError, ValueError):
            continue
        if Path(f"/proc/{number}").exists():
            continue
        dead.append(directory)
    if not dead:
        return

    def remove() -> str:
        for directory in dead:
            shutil.rmtree(directory, ignore_errors=True)
        return f"removed {len(dead)}"

    yield Finding("left over", "warn", f"{len(dead)} directories of private "
                  f"varnishds that run no more, in {parent}",
                  f"rm -r {dead[0]} ...", remove)


def findings(store: Path | None) -> Iterator[Finding]:
    try:
        yield store_there(store)
        yield from histories(store)
        yield cache()
    except HostError as e:
        yield Finding("home", "fail", str(e), "export HOME=/some/directory")
    yield from left_over()


def mended(finding: Finding) -> tuple[Finding, str]:
    """Tries the mend; what was done, or why not."""
    assert finding.fix is not None
    try:
        done = finding.fix()
    except (OSError, subprocess.CalledProcessError, KeyError) as e:
        return finding, f"not mended: {e}"
    return Finding(finding.check, "ok", done), "mended"
