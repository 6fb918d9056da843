# SPDX-License-Identifier: BSD-2-Clause
"""Streams and chains: how fast, compared with what else Varnish could do.

    python tests/bench/streaming.py     after `make`; some twenty seconds

A body of 100 MB through a varnishd of our own, not cached: streamed from a
guest that has it in memory ("stored"), from one that makes it anew for each
piece ("made"), and from an HTTP server on this machine that has nothing else
to do. And chain(): one program and four of the same, without Varnish and
through it. What is compared is measured in turns; figures are medians.
"""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from kvmctl.varnish.private import PrivateVarnish       # noqa: E402
from support.live import configure                      # noqa: E402
from support.paths import guest                         # noqa: E402

SIZE = 100_000_000
RUNS = 9
CALLS = 300

VCL = """
vcl 4.1;
import tinykvm;
backend default { .host = "127.0.0.1"; .port = "%(port)d"; }

sub vcl_init {
	%(program)s
	tinykvm.start("s", async = false);
}

sub vcl_recv {
	if (req.url ~ "^/string") {
		return (synth(200));
	}
	return (pass);
}

sub vcl_backend_fetch {
	if (bereq.url == "/one") {
		set bereq.backend = tinykvm.program("s", "/mark");
	} elseif (bereq.url == "/four") {
		tinykvm.chain("s", "/mark");
		tinykvm.chain("s", "/mark");
		tinykvm.chain("s", "/mark");
		set bereq.backend = tinykvm.program("s", "/mark");
	} elseif (bereq.url != "/server") {
		set bereq.backend = tinykvm.program("s");
	}
}

sub vcl_synth {
	if (req.url == "/string/four") {
		tinykvm.chain("s", "/mark");
		tinykvm.chain("s", "/mark");
		tinykvm.chain("s", "/mark");
	}
	set resp.http.Text = tinykvm.to_string("s", "/mark");
	return (deliver);
}
"""

SERVER = """
import socket, sys
size = int(sys.argv[1])
data = b"x" * (1 << 20)
head = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % size
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    peer, _ = listener.accept()
    with peer:
        while peer.recv(65536):
            peer.sendall(head)
            left = size
            while left > 0:
                left -= peer.send(data[:left] if left < len(data) else data)
"""


@contextmanager
def server() -> Iterator[int]:
    """An HTTP server as a process of its own; its port."""
    with subprocess.Popen([sys.executable, "-c", SERVER, str(SIZE)],
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


class Client:
    """One connection that asks and measures."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._peer = socket.create_connection(
            (str(parts.hostname), int(parts.port or 80)))
        self._buffer = bytearray(1 << 20)

    def seconds(self, path: str) -> float:
        """Until all of the answer is here; it has a Content-Length."""
        start = time.perf_counter()
        self._peer.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._peer.recv(4096)
        head, _, rest = head.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(head.decode())
        length = next(int(line[15:]) for line in head.split(b"\r\n")
                      if line.lower().startswith(b"content-length:"))
        left = length - len(rest)
        while left > 0:
            got = self._peer.recv_into(self._buffer)
            if got == 0:
                raise SystemExit(f"{path}: {left} bytes are missing")
            left -= got
        return time.perf_counter() - start


def in_turns(client: Client, paths: dict[str, str], runs: int,
             measure: Callable[[Client, str], float]) -> dict[str, float]:
    """The median for each."""
    taken: dict[str, list[float]] = {name: [] for name in paths}
    for name, path in paths.items():
        client.seconds(path)
    for _ in range(runs):
        for name, path in paths.items():
            taken[name].append(measure(client, path))
    return {name: statistics.median(each) for name, each in taken.items()}


def many(client: Client, path: str) -> float:
    """Seconds for one of a row."""
    return statistics.median(client.seconds(path) for _ in range(CALLS))


def main() -> None:
    """Measures and prints."""
    with server() as port, PrivateVarnish() as varnish:
        vcl = varnish.directory / "bench.vcl"
        vcl.write_text(VCL % {"port": port, "program": configure("s", {
            "filename": str(guest("streamtest")), "concurrency": 2})})
        varnish.admin.load("bench", vcl)
        varnish.admin.use("bench")
        client = Client(varnish.url)
        streams = in_turns(client, {
            "server": "/server", "stored": f"/alphabet/{SIZE}",
            "made": f"/fresh/{SIZE}"}, RUNS, Client.seconds)
        calls = in_turns(client, {
            "one program()": "/one", "chain of four": "/four",
            "one to_string()": "/string/one",
            "chain of four to a string": "/string/four"}, RUNS, many)
    for name, seconds in streams.items():
        print(f"{name:26} {SIZE / seconds / 1e6:8.0f} MB/s "
              f"{streams['server'] / seconds:6.2f} of the server's")
    for name, seconds in calls.items():
        base = calls["one to_string()" if "string" in name else
                     "one program()"]
        print(f"{name:26} {seconds * 1e6:8.0f} us   {seconds / base:6.2f} "
              "of one")


if __name__ == "__main__":
    main()
