# SPDX-License-Identifier: BSD-2-Clause
"""Commands to a running Varnish, over one connection to its command line."""

import contextlib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl import files
from kvmctl.decimals import decimal
from kvmctl.errors import VarnishError
from kvmctl.varnish import protocol, vsm
from kvmctl.varnish.protocol import Conversation, ProtocolError
from kvmctl.varnish.reach import Local, Reach, Ssh, Stream

_CONNECT_SECONDS = 10.0
#: Of a node on this machine or by TCP; ssh has its own handshake.
_PING_SECONDS, _SSH_PING_SECONDS = 5.0, 30.0
#: What was found out about nodes behind ssh: every look is a connection.
_KNOWN: dict["Node", tuple[list[tuple[str, int]], bytes | None]] = {}


@dataclass(frozen=True)
class Node:
    """Which Varnish, and how it is reached."""

    name: str | None = None             # as varnishd -n
    address: str | None = None          # as varnishd -T: HOST:PORT
    secret: Path | None = None          # as varnishd -S, on the node
    ssh: str | None = None              # as `ssh DESTINATION`
    title: str | None = None            # its name in the inventory
    store: Path | None = None           # on the node, with ssh
    http: str | None = None             # HOST:PORT where probes ask

    @property
    def reach(self) -> Reach:
        return Ssh(self.ssh) if self.ssh else Local()

    @property
    def countable(self) -> bool:
        """Its shared memory, with counters and log, can be read."""
        return self.address is None or self.ssh is not None

    def __str__(self) -> str:
        return (self.title or self.address or self.name or self.ssh
                or "the local varnishd")


@dataclass(frozen=True)
class LoadedVcl:
    """A line of vcl.list."""

    name: str
    active: bool
    state: str                          # auto/warm, cold/cold ...
    busy: int


@dataclass(frozen=True)
class Listing:
    """What vcl.list knows."""

    vcls: tuple[LoadedVcl, ...]
    labels: dict[str, str]              # label -> VCL
    active: str | None                  # a VCL; an active label's own

    def loaded(self, name: str) -> bool:
        return any(v.name == name for v in self.vcls)


def split_address(address: str) -> tuple[str, int]:
    """HOST:PORT, [HOST]:PORT or :PORT. Raises VarnishError."""
    host, colon, port = address.rpartition(":")
    number = decimal(port)
    if not colon or number is None or number > 65535:
        raise VarnishError(f"\"{address}\" is no address: HOST:PORT")
    return host.strip("[]") or "127.0.0.1", number


class Admin:
    """Commands to one node, for one thread. Every failure is a VarnishError.

    The connection is made by the first command, made again by the first one
    after it broke, and closed by close() or with the object.
    """

    def __init__(self, node: Node, timeout: float = 60.0) -> None:
        self.node = node
        self.timeout = timeout          # seconds, per command
        self._stream: Stream | None = None
        self._conversation: Conversation | None = None

    def close(self) -> None:
        stream, self._stream, self._conversation = self._stream, None, None
        if stream is not None:
            stream.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def __enter__(self) -> "Admin":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the connection ------------------------------------------------

    def _found(self) -> tuple[list[tuple[str, int]], bytes | None]:
        """Where the command line is, and the secret that opens it."""
        if self.node in _KNOWN:
            return _KNOWN[self.node]
        reach = self.node.reach
        if self.node.address is not None:
            addresses = [split_address(self.node.address)]
            secret = self.node.secret
        else:
            found = vsm.find(reach, self.node.name)
            addresses = list(found.addresses)
            secret = self.node.secret or found.secret
        try:
            key = reach.read(secret) if secret is not None else None
        except OSError as e:
            raise VarnishError(f"cannot read the secret {secret} of "
                               f"{self.node}: {e.strerror}") from None
        if self.node.ssh:
            _KNOWN[self.node] = (addresses, key)
        return addresses, key

    def _connect(self, deadline: float) -> Conversation:
        reach = self.node.reach
        addresses, key = self._found()
        problems = []
        for host, port in addresses:
            seconds = min(_CONNECT_SECONDS, deadline - time.monotonic())
            try:
                self._stream = reach.connect(host, port, max(seconds, 0.1))
                self._conversation = self._greet(key, deadline)
                return self._conversation
            except (OSError, ProtocolError) as e:
                said = self._stream.said() if self._stream else ""
                self.close()
                what = ("no answer in time" if isinstance(e, TimeoutError)
                        else getattr(e, "strerror", None) or str(e))
                problems.append(f"{host}:{port}: {said or what}")
        _KNOWN.pop(self.node, None)
        raise VarnishError(f"cannot reach {self.node} ({'; '.join(problems)}):"
                           " is its varnishd running, with that -T?")

    def _greet(self, key: bytes | None, deadline: float) -> Conversation:
        assert self._stream is not None
        talk = Conversation(self._stream.socket)
        banner = talk.read(deadline)
        if banner.status == protocol.AUTHENTICATE:
            if key is None:
                self.close()
                raise VarnishError(f"{self.node} asks for its secret: name "
                                   "its file by -S")
            banner = talk.ask(
                "auth " + protocol.response(banner.text, key), deadline)
            if banner.status != protocol.OK:
                self.close()
                _KNOWN.pop(self.node, None)
                raise VarnishError(f"{self.node} refuses the secret "
                                   f"{self.node.secret or ''}: it is not that "
                                   "of varnishd -S")
        if banner.status != protocol.OK:
            raise ProtocolError(f"it answered {banner.status}: "
                                f"{banner.text.strip()}")
        return talk

    def _ask(self, line: str, what: str, timeout: float | None) -> str:
        deadline = time.monotonic() + (timeout or self.timeout)
        talk = self._conversation or self._connect(deadline)
        try:
            answer = talk.ask(line, deadline)
        except TimeoutError:
            self.close()
            raise VarnishError(f"{self.node} did not answer \"{what}\" in "
                               f"{timeout or self.timeout:.0f} s") from None
        except (OSError, ProtocolError) as e:
            self.close()
            raise VarnishError(f"{self.node} broke off at \"{what}\" ({e}): "
                               "varnishd was stopped or restarted") from None
        text = answer.text.strip()
        if answer.status == protocol.TRUNCATED:
            raise VarnishError(f"{self.node} truncated its answer to \"{what}"
                               "\": raise its parameter cli_limit")
        if answer.status == protocol.COMMUNICATION:
            self.close()
        if answer.status != protocol.OK:
            raise VarnishError(
                text or f"{self.node} refused \"{what}\" with "
                f"{answer.status}")
        return text

    # -- commands ------------------------------------------------------

    def command(self, *words: str, timeout: float | None = None) -> str:
        """Runs one command; its output. Errors carry Varnish's own text."""
        return self._ask(" ".join(protocol.quoted(w) for w in words),
                         words[0], timeout)

    def ping(self) -> None:
        """Raises VarnishError when nobody answers, and that soon."""
        self.command("ping", timeout=_SSH_PING_SECONDS if self.node.ssh
                     else _PING_SECONDS)

    def cli_timeout(self) -> float:
        """Seconds that the manager waits for its child process."""
        try:
            row = files.json_of(self.command("param.show", "-j",
                                             "cli_timeout"))[-1]
            seconds = float(row["value"])
        except (ValueError, TypeError, LookupError):
            seconds = -1.0
        if not 0 <= seconds < math.inf:
            raise VarnishError(f"{self.node} answers \"param.show\" in another "
                               "way than Varnish 7 does")
        return seconds

    def load(self, name: str, path: Path) -> None:
        """It takes the manager's compiler, and then the programs' boots."""
        self.command("vcl.load", name, str(path),
                     timeout=self.timeout + self.cli_timeout())

    def start(self) -> None:
        """Starts the child process, and with it all that is loaded."""
        self.command("start", timeout=self.timeout + self.cli_timeout())

    def load_text(self, name: str, text: str) -> None:
        """Loads VCL that is in no file."""
        self._ask(f"vcl.inline {protocol.quoted(name)} "
                  + protocol.here(text), "vcl.inline", None)

    def use(self, name: str) -> None:
        self.command("vcl.use", name)

    def discard(self, name: str) -> None:
        self.command("vcl.discard", name)

    def label(self, label: str, vcl: str) -> None:
        """Makes the label, or moves it."""
        self.command("vcl.label", label, vcl)

    def listing(self) -> Listing:
        try:
            return self._listed(files.json_of(self.command("vcl.list", "-j")))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise VarnishError(f"{self.node} answers \"vcl.list\" in another "
                               "way than Varnish 7 does") from None

    @staticmethod
    def _listed(rows: list[Any]) -> Listing:
        vcls: list[LoadedVcl] = []
        labels: dict[str, str] = {}
        active: str | None = None
        for row in rows:
            if not isinstance(row, dict):
                continue
            name = str(row["name"])
            if row["status"] == "active":
                active = name
            if row.get("state") == "label":
                labels[name] = str(row["label"]["name"])
            elif row["status"] != "discarded":
                vcls.append(LoadedVcl(
                    name, row["status"] == "active",
                    f"{row['state']}/{row['temperature']}",
                    int(row.get("busy", 0))))
        return Listing(tuple(vcls), labels,
                       labels.get(active, active) if active else None)

    def vcls(self) -> list[LoadedVcl]:
        """What vcl.list knows, labels left out."""
        return list(self.listing().vcls)

    def active(self) -> str | None:
        return self.listing().active

    def uses_labels(self, vcl: str) -> bool:
        """Does this VCL pass requests on to labels?"""
        return any(line.split()[:1] == [vcl] and len(line.split()) > 1
                   for line in self.command("vcl.deps").splitlines())

    def status(self) -> str:
        """The child process: running, stopped, starting, ..."""
        return self.command("status").rpartition("state ")[2].strip()

    def listen_addresses(self) -> list[tuple[str, int]]:
        """Where it accepts HTTP."""
        out = []
        for line in self.command("debug.listen_address").splitlines():
            words = line.split()
            port = decimal(words[2]) if len(words) >= 3 else None
            if port is not None:
                out.append((words[1], port))
        return out

    def panics(self) -> str | None:
        """The last panic of the child, None when there was none."""
        try:
            return self.command("panic.show")
        except VarnishError as e:
            if "has not panicked" in str(e):
                return None
            raise
