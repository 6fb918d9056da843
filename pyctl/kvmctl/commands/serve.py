# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl serve."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchfiles import DefaultFilter, watch

from kvmctl import files
from kvmctl.decimals import decimal
from kvmctl.dev.live import Live, directories, load_site
from kvmctl.dev.log import Reporter, following
from kvmctl.environment import Environment
from kvmctl.errors import KvmctlError, UsageError, VarnishError
from kvmctl.site import Site
from kvmctl.varnish.private import PrivateVarnish

_DEBOUNCE = 50                          # ms; editors write in several steps
_LOOK = 2000                            # ms; is varnishd still there?


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    port: int | None
    out: Path


class _Sources(DefaultFilter):
    """Everything but what builds write."""

    def __init__(self, out: Path) -> None:
        super().__init__(ignore_paths=(files.real(out),))


def _port(site: Site, options: Options) -> int:
    if options.port is not None:
        return options.port
    host, _, word = site.listen.rpartition(":")
    port = decimal(word)
    if host not in ("127.0.0.1", "localhost", "") or port is None \
            or port > 65535:
        raise UsageError(f"{site.path}: \"listen\" is {site.listen}: serve "
                         "listens on 127.0.0.1 only; name a --port")
    return port


def _check_free(port: int) -> None:
    """varnishd would take a minute to say it."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as e:
            raise VarnishError(f"127.0.0.1:{port}: {e.strerror}; --port 0 is "
                               "any that is free") from None


def _when(changes: set[tuple[object, str]]) -> float:
    """When the newest of these files was written, on time.time()'s clock."""
    times = []
    for _, name in changes:
        try:
            times.append(Path(name).stat().st_mtime)
        except OSError:
            continue                    # it has gone
    return min(time.time(), max(times, default=time.time()))


def _changes(directory: list[Path], out: Path,
             stop: threading.Event) -> Iterator[set[tuple[object, str]]]:
    """Sets of changes; empty ones now and then."""
    for found in watch(*directory, watch_filter=_Sources(out),
                       debounce=_DEBOUNCE, step=20, rust_timeout=_LOOK,
                       yield_on_timeout=True, stop_event=stop,
                       raise_interrupt=True):
        yield {(kind, name) for kind, name in found}


class _Session:
    def __init__(self, path: Path, varnish: PrivateVarnish, report: Reporter,
                 out: Path) -> None:
        self._path, self._varnish, self._report = path, varnish, report
        self._live = Live(varnish, out)
        self._out = out

    def _update(self, since: float, what: str) -> Site | None:
        """The site as it is now; None when it is wrong."""
        try:
            site = load_site(self._path)
            change = self._live.update(site)
        except KvmctlError as e:
            self._report.error(str(e))
            return None
        if change.changed:
            seconds = time.time() - since
            self._report.event(
                "live", f"live {seconds:.2f} s after {what} (build "
                f"{change.build_seconds:.2f} s, load "
                f"{change.load_seconds:.2f} s)", "1", seconds=seconds,
                build_seconds=change.build_seconds,
                load_seconds=change.load_seconds, after=what)
        return site

    def run(self, site: Site) -> None:
        """Until Ctrl-C. Raises VarnishError when varnishd has gone."""
        self._update(time.time(), "the start")
        watched = directories(site)
        stop = threading.Event()
        while True:
            for changes in _changes(watched, self._out, stop):
                if not changes:
                    try:
                        self._varnish.admin.ping()
                    except VarnishError as e:
                        raise VarnishError(f"varnishd has gone: {e}"
                                           ) from None
                    continue
                # Editors write beside, and rename: what is there counts.
                there = {n for _, n in changes if Path(n).exists()}
                names = sorted({Path(n).name for n in there
                                or {n for _, n in changes}})
                now = self._update(
                    _when(changes), f"{', '.join(names[:3])} changed")
                if now is not None and directories(now) != watched:
                    watched = directories(now)
                    break


def run(env: Environment, path: Path, options: Options) -> None:
    """Serves, and deploys again at every change, until Ctrl-C."""
    site = load_site(path)
    port, report = _port(site, options), Reporter(env)
    _check_free(port)
    # All end the same way: everything that was started is stopped. A shell
    # may have had SIGINT ignored, as for `kvmctl serve &` in a script.
    before = {s: signal.signal(s, signal.default_int_handler)
              for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        with PrivateVarnish(port) as varnish, \
                following(varnish, report):
            env.answered = True         # by events
            report.event("serving", f"{site.name} is served on {varnish.url}; "
                         "Ctrl-C ends it", url=varnish.url,
                         varnish=varnish.node.name)
            _Session(path, varnish, report, options.out).run(site)
    except KeyboardInterrupt:
        env.note("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
