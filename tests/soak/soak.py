# SPDX-License-Identifier: BSD-2-Clause
"""`make soak`: everything at once, for as long as SECONDS says (60).

One varnishd with good and hostile programs, and some in each language. Clients
ask for all of them, in chains, streams, fetches of Varnish itself, through
storage, and talk to one by sockets and WebSocket; meanwhile VCLs are loaded,
used, made cold and discarded, programs are invalidated and updated live. Every
answer is classified: right, the error that it had to be, busy (503 of a program
that is just being replaced), or unclassified, which is a failure; wrong() has
the others. What has leaked is told by the worker process when all programs are
gone again, after a warm-up and at the end. Writes build/soak/report.json.
"""

import contextlib
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from websockets.exceptions import WebSocketException
from websockets.sync.client import unix_connect

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
sys.path.insert(0, str(ROOT / "tests"))

from kvmctl.varnish import stats                        # noqa: E402
from kvmctl.varnish.private import PrivateVarnish       # noqa: E402
from languages.cases import AGENT, GUESTS, Ask          # noqa: E402
from support.child import Child                         # noqa: E402
from support.live import configure                      # noqa: E402
from support.paths import settings                      # noqa: E402

CLIENTS = 6
#: Between two changes of VCL, in seconds: in short runs, and in long ones, as
#: booting all programs takes one CPU for seconds.
RELOAD, RELOAD_OF_LONG = 3.0, 10.0
#: Before the growth is measured from: all programs are asked once or more, and
#: the machines that are kept for reuse are made.
WARM_UP = 15.0
#: The longest wait for the VCLs that were discarded, in seconds.
SETTLE = 90
#: Between two samples of the worker process, and how many are kept.
SAMPLE, SAMPLES = 10.0, 60
#: What may have grown when all programs are gone: what the allocator keeps, in
#: KiB, and descriptors.
RSS_GROWTH, FD_GROWTH = 65536, 64
#: From so many seconds on, all must have been asked, and VCLs reloaded.
LONG = 10.0
#: Of all answers, and of those of one kind, what may be busy.
BUSY, BUSY_OF_KIND = 0.02, 0.2
KINDS = ("hostile", "hello", "echo", "chain", "stream", "counter", "synth",
         "string", "server", "thumbnail", "parallel", "cxx", "chat", "others")
_EXPECTED: dict[str, Any] = json.loads(
    (ROOT / "guests" / "hostile" / "expectations.json").read_text())
#: Misdeeds that take their whole time limit are rarer: one in so many.
RARE = 100
_SLOW = {u for u, e in _EXPECTED.items() if e["outcome"] == "timeout"}
_PHOTO = (ROOT / "guests/thumbnail/photos/hubble.jpg").read_bytes()

PROGRAMS: dict[str, dict[str, Any]] = {
    "hello": {}, "echo": {"concurrency": 4}, "cxxhello": {},
    "minify": {}, "thumbnail": {"max_request_memory": 160},
    "hostile": {"max_memory": 64, "max_request_memory": 16,
                # Of those that compute, none is to need it on a busy machine.
                "max_request_time": 8.0, "concurrency": 3},
    "streamtest": {"concurrency": 4},
    "counter": {"storage": True, "key": "secret"},
    "parallel": {"smp": 4, "max_memory": 64},
    "c-server": {"max_memory": 64, "max_request_memory": 16},
    "chat": {"max_memory": 32, "max_request_memory": 4, "start": True,
             "max_request_time": 0.5,
             "server": {"path": "CHAT.tcp", "systems": 2},
             "websocket_server": {"path": "CHAT.ws", "systems": 2}},
}
#: Of all other guests: what is asked, and the answer.
OTHERS = (
    *((guest.name, ask) for guest in GUESTS for ask in guest.asks
      if ask.url.isascii()),
    ("minify", Ask("/", '{"a":[1,2]}', method="POST",
                   data=b'{ "a" : [1, 2] }')),
    ("loop", Ask("/", "GET /, 0 bytes, request 1\n")),
    ("go-server", Ask("/hello?name=soak", "Hello from Go, soak!\n")),
    ("python-server", Ask("/hello?name=soak", "Hello from Python, soak!\n")),
)
NAMES = set(PROGRAMS) | {name for name, _ in OTHERS}
#: What ends the connections of a machine.
MISDEEDS = ("crash", "spin", "deep", "exit", "write", "wait", "respond")


def vcl(directory: Path) -> str:
    text = "vcl 4.1;\nimport tinykvm;\nbackend default none;\nsub vcl_init {\n"
    for name, own in PROGRAMS.items():
        text += configure(name, {
            "filename": str(BUILD / "guests" / name / name),
            "state_directory": str(directory)} | own)
    for name in NAMES - set(PROGRAMS):
        text += configure(name, settings(name, concurrency=2))
    return text.replace("CHAT", str(directory / "chat")) + """
        tinykvm.init_self_requests("", "SELF", 20);
    }
    sub vcl_recv {
        if (req.url ~ "^/synth/") { return (synth(700)); }
        if (req.url == "/invalidate") {
            set req.http.N = tinykvm.invalidate_programs("^(hello|echo)$");
            return (synth(200));
        }
        return (pass);
    }
    sub vcl_synth {
        if (resp.status == 700) {
            tinykvm.synth(200, "hello", "/");
            return (deliver);
        }
    }
    sub vcl_backend_fetch {
        set bereq.http.X-Program = regsub(bereq.url, "^/([^/?]*).*", "\\1");
        set bereq.url = regsub(bereq.url, "^/[^/?]*", "");
        unset bereq.http.Accept-Encoding;
        if (bereq.http.X-Program == "chain") {
            tinykvm.chain("streamtest", "/stream-echo");
            tinykvm.chain("streamtest", "/echo");
            set bereq.backend = tinykvm.program("streamtest", "/echo");
        } elseif (bereq.http.X-Program == "string") {
            set bereq.http.S = regsub(tinykvm.to_string("hello"), "\\s+$", "");
            set bereq.backend = tinykvm.program("echo", "/", bereq.http.S);
        } elseif (bereq.http.X-Program == "update") {
            set bereq.backend = tinykvm.live_update("counter", "secret");
        } else {
            set bereq.backend = tinykvm.program(bereq.http.X-Program,
                bereq.url, bereq.http.X-Arg);
        }
    }"""


class Soak:
    """One run. Counts are of all threads, under a lock."""

    def __init__(self, seconds: float, seed: int) -> None:
        self.seconds = seconds
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        self.unclassified: list[str] = []
        self.failures: list[Exception] = []
        self.lock = threading.Lock()
        self.end = 0.0
        self.reloads = 0
        self.samples: list[dict[str, int]] = []
        self.chat = ""                  # path of its sockets

    def count(self, kind: str, words: str = "") -> None:
        with self.lock:
            self.counts[kind] += 1
            if kind == "unclassified" and len(self.unclassified) < 20:
                self.unclassified.append(words)

    # What is asked: the answer is right, or says what else it is.

    def check(self, kind: str, answer: requests.Response, right: bool,
              url: str = "") -> None:
        if right:
            error = kind == "hostile" and answer.status_code >= 500
            self.count("expected error" if error else "right")
            with self.lock:
                self.right[kind] += 1
        elif answer.status_code == 503:
            self.count("busy")
            with self.lock:
                self.busy[kind] += 1
        else:
            self.count("unclassified", f"{kind}{url}: {answer.status_code} "
                       f"{answer.content[:120]!r}")

    def hostile(self, ask: Callable[..., requests.Response],
                rng: random.Random) -> None:
        url = rng.choice(sorted(_EXPECTED))
        if url in _SLOW and rng.randrange(RARE) > 0:
            url = "/ok"
        want = _EXPECTED[url]
        answer = ask("GET", "/hostile" + url, headers={"X-Arg": "secret"})
        if want["outcome"] == "any":
            right = 200 <= answer.status_code < 600
        else:
            right = answer.status_code == want["status"]
            if "body" in want and right:
                right = answer.text.rstrip("\n") == want["body"]
        self.check("hostile", answer, right, url)

    def one(self, ask: Callable[..., requests.Response],
            rng: random.Random) -> None:
        kind = rng.randrange(15)
        words = os.urandom(rng.choice((3, 300, 30000))).hex()
        if kind < 2:
            self.hostile(ask, rng)
        elif kind < 4:
            a = ask("GET", "/hello/")
            self.check("hello", a, a.text == "Hello, World!\n")
        elif kind == 4:
            a = ask("POST", "/echo/x", data=words)
            self.check("echo", a, a.status_code == 200
                       and a.json()["body"] == words)
        elif kind == 5:
            a = ask("POST", "/chain/", data=words)
            self.check("chain", a, a.text == words)
        elif kind == 6:
            n = rng.randrange(1, 300000)
            a = ask("GET", f"/streamtest/alphabet/{n}/7000")
            self.check("stream", a, len(a.content) == n)
        elif kind == 7:
            a = ask("GET", "/counter/name")
            self.check("counter", a, a.status_code == 200
                       and a.text.strip().isdigit())
        elif kind == 8:
            a = ask("GET", "/synth/x")
            self.check("synth", a, a.text == "Hello, World!\n")
        elif kind == 9:
            a = ask("GET", "/string/")
            self.check("string", a, a.status_code == 200
                       and a.json()["arg"] == "Hello, World!")
        elif kind == 10:
            a = ask("GET", "/c-server/hello?name=soak")
            self.check("server", a, a.text == "Hello from C, soak!\n")
        elif kind == 11:
            self.talk(rng, words[:2000])
        elif kind > 12:
            self.other(ask, rng)
        elif rng.random() < 0.2:
            a = ask("POST", "/thumbnail?w=64", data=_PHOTO)
            self.check("thumbnail", a, a.content[8:12] == b"WEBP")
        elif rng.random() < 0.3:
            a = ask("GET", "/parallel/sum")
            self.check("parallel", a, a.text.endswith(" right\n"))
        elif rng.random() < 0.2:
            self.abort(ask)
        else:
            a = ask("GET", "/cxxhello/throw")
            self.check("cxx", a, a.status_code == 418)

    def other(self, ask: Callable[..., requests.Response],
              rng: random.Random) -> None:
        name, it = rng.choice(OTHERS)
        answer = ask(it.method, f"/{name}{it.url}", data=it.data,
                     headers={"X-Arg": it.arg, "User-Agent": AGENT})
        self.check("others", answer, it.wrong(
            answer.status_code, answer.content) is None, f" {name}{it.url}")

    def talk(self, rng: random.Random, words: str) -> None:
        """A client beside Varnish. Misdeeds of others may cut it short."""
        say: Callable[[str], object]
        hear: Callable[[], str]
        bad = rng.random() < 0.03
        last = f"/{rng.choice(MISDEEDS)}" if bad else words
        said = heard = ""
        try:
            with contextlib.ExitStack() as stack:
                if rng.random() < 0.5:
                    s = stack.enter_context(socket.socket(socket.AF_UNIX))
                    s.settimeout(60)
                    s.connect(self.chat + ".tcp")
                    lines = stack.enter_context(s.makefile())
                    say = lambda t: s.sendall(t.encode() + b"\n")  # noqa
                    hear = lambda: lines.readline().rstrip("\n")  # noqa
                else:
                    ws = stack.enter_context(unix_connect(
                        self.chat + ".ws", compression=None,
                        open_timeout=60))
                    say, hear = ws.send, lambda: str(ws.recv(60))
                for text in ("hello from " + words[:8], last):
                    say(text)
                    said = text
                    # Others talk, too.
                    while (heard := hear()) not in (text, ""):
                        pass
                    if heard == "":
                        break
        except TimeoutError:
            self.count("unclassified", f"chat: silent after {said[:20]!r}")
            return
        except (OSError, EOFError, WebSocketException):
            heard = ""
        # A misdeed is never told to all: it ends the connection.
        if said == last and heard == ("" if bad else last):
            self.count("expected error" if bad else "right")
            with self.lock:
                self.right["chat"] += 1
        else:
            self.count("busy")
            with self.lock:
                self.busy["chat"] += 1

    def abort(self, ask: Callable[..., requests.Response]) -> None:
        """A client that goes away in the middle of a stream."""
        a = ask("GET", "/streamtest/alphabet/20000000/7000", stream=True)
        a.raw.read(1000)
        a.close()
        self.count("aborted")

    def client(self, base: str, number: int) -> None:
        rng = random.Random(self.seed * 1000 + number)
        with requests.Session() as session:
            session.trust_env = False

            def ask(method: str, path: str, **more: Any) -> requests.Response:
                return session.request(method, base + path, timeout=60, **more)

            while time.monotonic() < self.end:
                try:
                    self.one(ask, rng)
                except (requests.RequestException, ValueError) as e:
                    self.count("unclassified", f"{type(e).__name__}: {e}")

    def guarded(self, work: Callable[..., None], *words: Any) -> None:
        """A thread's work: run() raises what it raised, and the rest ends."""
        try:
            work(*words)
        except Exception as e:
            with self.lock:
                self.failures.append(e)
            self.end = 0.0

    # What goes on meanwhile.

    def operator(self, varnish: PrivateVarnish, path: Path) -> None:
        admin, n = varnish.admin, 0
        every = min(max(RELOAD, self.seconds / 60), RELOAD_OF_LONG)
        counter = (BUILD / "guests" / "counter" / "counter").read_bytes()
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < self.end:
                time.sleep(every)
                n += 1
                admin.load(f"r{n}", path)
                admin.use(f"r{n}")
                old = "it" if n == 1 else f"r{n - 1}"
                if n % 4 == 0:
                    admin.command("vcl.state", old, "cold")
                    admin.command("vcl.state", old, "warm")
                admin.discard(old)
                self.reloads += 1
                if n % 3 == 0:
                    self.done(session.get(varnish.url + "/invalidate",
                                          timeout=60))
                if n % 5 == 0:
                    self.done(session.post(varnish.url + "/update/",
                                           data=counter, timeout=60))

    @staticmethod
    def done(answer: requests.Response) -> None:
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.url}: {answer.status_code} "
                               f"{answer.text[:300]}")

    def watch(self, varnish: PrivateVarnish) -> None:
        """What the worker process holds meanwhile."""
        began = time.monotonic()
        every = max(SAMPLE, self.seconds / SAMPLES)
        while time.monotonic() < self.end:
            child = Child(varnish.process_id)
            self.samples.append({
                "seconds": round(time.monotonic() - began),
                "rss_kib": child.rss_kib, "fds": child.descriptors,
                "vcls": len(varnish.admin.vcls())})
            pause = min(time.monotonic() + every, self.end)
            while time.monotonic() < pause:
                time.sleep(0.2)

    @staticmethod
    def settle(varnish: PrivateVarnish, left: int) -> None:
        """Waits until no more VCLs than these are there."""
        until = time.monotonic() + SETTLE
        while len(varnish.admin.vcls()) > left and time.monotonic() < until:
            time.sleep(0.5)
        time.sleep(2)

    def emptied(self, varnish: PrivateVarnish) -> Child:
        """The worker process without any program."""
        admin = varnish.admin
        admin.use("boot")
        for vcl in admin.vcls():
            if vcl.name != "boot":
                admin.discard(vcl.name)
        self.settle(varnish, 1)
        return Child(varnish.process_id)

    def work(self, seconds: float, *threads: threading.Thread) -> None:
        """Runs these threads for so long."""
        self.end = time.monotonic() + seconds
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for failure in self.failures:
            raise failure

    def thread(self, work: Callable[..., None],
               *words: Any) -> threading.Thread:
        return threading.Thread(target=self.guarded, args=(work, *words))

    def clients(self, url: str) -> list[threading.Thread]:
        return [self.thread(self.client, url, i) for i in range(CLIENTS)]

    def run(self) -> dict[str, Any]:
        # Else an idle thread of Varnish keeps its last VCL for a minute.
        with PrivateVarnish(parameters={"workspace_backend": "256k",
                                        "debug": "+vclrel"}) as varnish:
            admin = varnish.admin
            path = varnish.directory / "soak.vcl"
            self.chat = str(varnish.directory / "chat")
            path.write_text(vcl(varnish.directory).replace(
                "SELF", varnish.url))
            admin.load("warm-up", path)
            admin.use("warm-up")
            self.work(min(WARM_UP, self.seconds / 3),
                      *self.clients(varnish.url))
            before = self.emptied(varnish)
            admin.load("it", path)
            admin.use("it")
            began = time.monotonic()
            self.work(self.seconds, *self.clients(varnish.url),
                      self.thread(self.operator, varnish, path),
                      self.thread(self.watch, varnish))
            took = time.monotonic() - began
            self.settle(varnish, 2)             # boot, the active one
            found = stats.counters(str(varnish.node.name), "*")
            busy = [v for k, v in found.items()
                    if k.startswith("TINYKVM.") and k.endswith(".forks_busy")]
            if len(busy) < len(NAMES):
                raise RuntimeError("not all programs have counters")
            after = self.emptied(varnish)
            return {
                "requests": sum(self.counts.values()),
                "seconds": round(took, 1), "reloads": self.reloads,
                "answers": dict(self.counts), "right": dict(self.right),
                "busy": dict(self.busy),
                "panics": found["MGT.child_panic"],
                "child_died": found["MGT.child_died"],
                "leaked_forks": sum(busy),
                "rss_kib": after.rss_kib, "fds": after.descriptors,
                "rss_growth_kib": after.rss_kib - before.rss_kib,
                "fd_growth": after.descriptors - before.descriptors,
                "fds_more": dict(after.kinds - before.kinds),
                "leaked_vcls": len(admin.vcls()) - 1,
                "unclassified": self.counts["unclassified"],
                "examples": self.unclassified, "seed": self.seed,
                "samples": self.samples,
            }


def wrong(report: dict[str, Any]) -> list[str]:
    """What a run fails for."""
    words = [f"{report[key]} {key.replace('_', ' ')}" for key in (
        "panics", "child_died", "leaked_forks", "leaked_vcls", "unclassified")
        if report[key]]
    words += [f"{key} is {report[key]}, more than {limit}" for key, limit in (
        ("rss_growth_kib", RSS_GROWTH), ("fd_growth", FD_GROWTH))
        if report[key] > limit]
    busy = report["answers"].get("busy", 0)
    if busy > BUSY * report["requests"]:
        words.append(f"{busy} of {report['requests']} answers are busy")
    if report["seconds"] < LONG:
        return words
    if report["reloads"] == 0:
        words.append("nothing was reloaded")
    for kind in KINDS:
        right = report["right"].get(kind, 0)
        if right == 0:
            words.append(f"{kind}: no right answer")
        elif report["busy"].get(kind, 0) > BUSY_OF_KIND * right:
            words.append(f"{kind}: busy too often")
    return words


def main() -> int:
    seconds = float(os.environ.get("SECONDS_OF_SOAK", "60"))
    seed = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
    report = Soak(seconds, seed).run()
    report["wrong"] = wrong(report)
    out = BUILD / "soak"
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
