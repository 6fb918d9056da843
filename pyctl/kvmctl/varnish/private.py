# SPDX-License-Identifier: BSD-2-Clause
"""A varnishd of our own: loopback, temporary directory, gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from kvmctl import paths
from kvmctl.errors import HostError, VarnishError
from kvmctl.varnish.admin import Admin, Node

_START_SECONDS = 20.0
_STOP_SECONDS = 15.0


def mortal() -> list[str]:
    """Before a line: it ends when the thread that starts it does."""
    guard = shutil.which("setpriv")
    return [guard, "--pdeathsig", "TERM"] if guard is not None else []


class PrivateVarnish:
    """Starts on entering, stops and leaves nothing behind on leaving.

    port 0 is any free one. parameters are those of varnishd -p. A mortal one
    also ends when the thread that started it does, be it by kill -9.
    """

    def __init__(self, port: int = 0,
                 parameters: dict[str, str] | None = None,
                 parent: Path | None = None, mortal: bool = True) -> None:
        self._wanted_port = port
        self._parameters = parameters or {}
        self._parent = parent
        self._mortal = mortal
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = Path()
        self.port = 0

    @property
    def node(self) -> Node:
        return Node(name=str(self.directory / "varnish"))

    @property
    def admin(self) -> Admin:
        return Admin(self.node)

    @property
    def process_id(self) -> int:
        """Of varnishd's manager, while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        program = shutil.which("varnishd") or shutil.which(
            "varnishd", path="/usr/sbin:/sbin:/usr/local/sbin")
        if program is None:
            raise HostError("varnishd is missing: apt-get install varnish")
        vmods = paths.vmods()
        options = dict(self._parameters)
        if vmods is not None:
            options["vmod_path"] = f"{vmods}:{system_vmods()}"
        before = mortal() if self._mortal else []
        line = [*before, program, "-F", "-n", str(self.directory / "varnish"),
                "-a", f"127.0.0.1:{self._wanted_port}", "-b", "none",
                "-s", "malloc,64m", "-i", "kvmctl-private"]
        if os.geteuid() == 0:
            # /dev/kvm may belong to root alone: no other user is entered.
            line += ["-j", "none"]
        for name, value in options.items():
            line += ["-p", f"{name}={value}"]
        return line

    def __enter__(self) -> "PrivateVarnish":
        self.directory = Path(tempfile.mkdtemp(prefix="kvmctl-",
                                               dir=self._parent))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        log = self.directory / "varnishd.log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if self._process.poll() is not None:
                raise VarnishError("varnishd does not start: "
                                   + log.read_text(errors="replace").strip())
            try:
                if self._is_ready():
                    return
            except VarnishError:
                pass
            if time.monotonic() > deadline:
                raise VarnishError("varnishd did not become ready: "
                                   + log.read_text(errors="replace").strip())
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        found = self.admin.listen_addresses()
        if found:
            self.port = found[0][1]
        return bool(found) and self.admin.status() == "running"

    def restart(self) -> None:
        """Ends varnishd and starts it again, in the same place."""
        self._wanted_port = self.port
        self._end()
        self._start()

    def stop(self) -> None:
        """Ends varnishd by its process id, and removes the directory."""
        self._end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._process = None

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()


def system_vmods() -> str:
    """Where Varnish's own VMODs are; Debian's place where nobody knows it."""
    try:
        said = subprocess.run(
            ["pkg-config", "varnishapi", "--variable=vmoddir"],
            capture_output=True, text=True, check=False).stdout.strip()
    except OSError:                     # it is for those who compile
        said = ""
    return said or "/usr/lib/x86_64-linux-gnu/varnish/vmods"
