# SPDX-License-Identifier: BSD-2-Clause
"""How a node is reached: on this machine, or through ssh.

Whoever speaks to a node, be it the command line of varnishd or HTTP, asks for
a stream and for files; where they are is told here and nowhere else.
"""

import contextlib
import io
import os
import selectors
import shlex
import shutil
import socket
import subprocess
import tarfile
import time
from pathlib import Path
from typing import IO

from kvmctl import interrupt
from kvmctl.errors import HostError, VarnishError

_SSH_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
_END_SECONDS = 3.0
#: No whole artefact takes longer to copy, nor a command to run there.
_RUN_SECONDS = 300.0
#: Nothing that is asked for is longer: artefacts go the other way.
_MOST_BYTES = 64 << 20


def captured(line: list[str], seconds: float, source: IO[bytes] | None = None,
             ) -> "subprocess.CompletedProcess[bytes]":
    """What a program writes, whoever may have written the program.

    As subprocess.run() captures it, with its TimeoutExpired, but to a bound:
    beyond it the program is ended, and VarnishError raised.
    """
    deadline = time.monotonic() + seconds
    with subprocess.Popen(line, stdin=source or subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          start_new_session=interrupt.is_heeded()
                          ) as process, selectors.DefaultSelector() as waiting:
        assert process.stdout is not None and process.stderr is not None
        out, err = bytearray(), bytearray()
        waiting.register(process.stdout, selectors.EVENT_READ, out)
        waiting.register(process.stderr, selectors.EVENT_READ, err)
        try:
            while waiting.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise subprocess.TimeoutExpired(line, seconds)
                for key, _ in waiting.select(left):
                    data = os.read(key.fd, 65536)
                    key.data.extend(data)
                    if not data:
                        waiting.unregister(key.fileobj)
                if len(out) + len(err) > _MOST_BYTES:
                    raise VarnishError(f"{line[0]} writes more than "
                                       f"{_MOST_BYTES >> 20} MiB")
            process.wait(max(0.0, deadline - time.monotonic()))
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(line, process.returncode, bytes(out),
                                       bytes(err))


class Stream:
    """A connected socket, and the process behind it when there is one."""

    def __init__(self, connection: socket.socket,
                 process: "subprocess.Popen[bytes] | None" = None) -> None:
        self.socket = connection
        self._process = process

    def close(self) -> None:
        """Twice is once."""
        self.socket.close()
        if self._process is None:
            return
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process = None

    def said(self) -> str:
        """What the process behind a broken stream has complained of."""
        if self._process is None or self._process.stderr is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
            return self._process.stderr.read().decode(errors="replace").strip()
        return ""


class Local:
    """This machine."""

    remote = False

    def connect(self, host: str, port: int, seconds: float) -> Stream:
        """A TCP connection. Raises OSError."""
        try:
            return Stream(socket.create_connection((host, port), seconds))
        except (ValueError, OverflowError):     # before anybody is asked
            raise OSError(0, "no such host and port can be") from None

    def read(self, path: Path) -> bytes:
        """A file. Raises OSError."""
        return path.read_bytes()

    def read_all(self, directory: Path, *patterns: str) -> dict[str, bytes]:
        """Files of a directory, by name. Raises OSError."""
        found = [p for pattern in patterns for p in directory.glob(pattern)]
        if not found:
            raise FileNotFoundError(2, "not there", str(directory))
        return {p.name: p.read_bytes() for p in found}

    def line(self, *words: str) -> list[str]:
        """The line that runs a program there."""
        program = shutil.which(words[0])
        if program is None:
            raise HostError(f"{words[0]} is missing: apt-get install varnish")
        return [program, *words[1:]]

    def __str__(self) -> str:
        return "this machine"


class Ssh:
    """Another machine, as `ssh DESTINATION` reaches it without a password."""

    remote = True

    def __init__(self, destination: str) -> None:
        self.destination = destination

    def _ssh(self, *options: str) -> list[str]:
        named = os.environ.get("KVMCTL_SSH")
        program = shutil.which(named or "ssh")
        if program is None:
            raise HostError(
                f"KVMCTL_SSH names {named}, which is no program" if named else
                "ssh is missing: apt-get install openssh-client")
        return [program, *_SSH_OPTIONS, *options, "--", self.destination]

    def connect(self, host: str, port: int, seconds: float) -> Stream:
        """A connection that begins at the other machine: ssh -W."""
        ours, theirs = socket.socketpair()
        ours.settimeout(seconds)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        with theirs:
            process = subprocess.Popen(
                self._ssh("-W", where), stdin=theirs.fileno(),
                stdout=theirs.fileno(), stderr=subprocess.PIPE,
                start_new_session=interrupt.is_heeded())
        return Stream(ours, process)

    def line(self, *words: str) -> list[str]:
        """The line that runs a program there; its words go through a shell."""
        return [*self._ssh(), shlex.join(words)]

    def run(self, *words: str, source: IO[bytes] | None = None) -> bytes:
        """What a program there writes. Raises VarnishError with its words."""
        try:
            done = captured(self.line(*words), _RUN_SECONDS, source)
        except subprocess.TimeoutExpired:
            raise VarnishError(f"{self}: {words[0]} did not end in "
                               f"{_RUN_SECONDS:.0f} s") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise VarnishError(f"{self}: {words[0]}: "
                               f"{said or f'ended with {done.returncode}'}")
        return done.stdout

    def read(self, path: Path) -> bytes:
        """A file. Raises OSError."""
        try:
            return self.run("cat", "--", str(path))
        except VarnishError as e:
            raise OSError(0, str(e)) from None

    def read_all(self, directory: Path, *patterns: str) -> dict[str, bytes]:
        """Files of a directory, by name, in one go. Raises OSError."""
        script = f'cd "$1" && tar -cf - {" ".join(patterns)}'
        try:
            data = self.run("sh", "-c", script, "sh", str(directory))
            # "r:": no compression is looked for, and no link followed.
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                return {m.name: file.read() for m in archive if m.isreg()
                        and (file := archive.extractfile(m)) is not None}
        except (VarnishError, tarfile.TarError, ValueError,
                OverflowError) as e:
            raise OSError(0, str(e)) from None

    def __str__(self) -> str:
        return f"ssh {self.destination}"


Reach = Local | Ssh
