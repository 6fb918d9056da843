# SPDX-License-Identifier: BSD-2-Clause
"""What `make demo` and `make serve` run: a private Varnish with a real site.

    python -m kvmctl.demo           deploys, asks, shows, stops everything
    python -m kvmctl.demo --serve   keeps it on 127.0.0.1:8080 until Ctrl-C
"""

import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import requests

from kvmctl import cli, paths
from kvmctl.environment import Environment
from kvmctl.errors import KvmctlError
from kvmctl.varnish.private import PrivateVarnish

SITE = paths.CHECKOUT / "vcl" / "examples" / "demo.toml"
PHOTO = (paths.CHECKOUT / "guests" / "thumbnail" / "photos"
         / "astronaut.png")
SERVE_PORT = 8080
_RIFF_HEADER = struct.Struct("<4sI4s")


class DemoFailed(Exception):
    """An answer was not what it should be."""


def expect(true: bool, text: str) -> None:
    if not true:
        raise DemoFailed(text)


def is_webp(data: bytes) -> bool:
    """RIFF container with the WEBP tag, of the length that it says."""
    if len(data) < _RIFF_HEADER.size:
        return False
    riff, length, webp = _RIFF_HEADER.unpack_from(data)
    # The length excludes the first two fields; chunks are even.
    return bool(riff == b"RIFF" and webp == b"WEBP"
                and length + 8 == len(data))


def ask(base: str, method: str, path: str,
        **options: Any) -> requests.Response:
    """One request, shown with its answer."""
    began = time.perf_counter()
    with requests.Session() as session:
        session.trust_env = False
        answer = session.request(method, base + path, timeout=30, **options)
    milliseconds = (time.perf_counter() - began) * 1e3
    kind = answer.headers.get("Content-Type", "no type")
    shown = (answer.text.strip().splitlines() or [""])[0][:100] \
        if kind.startswith(("text/", "application/json")) \
        else f"({len(answer.content)} bytes)"
    print(f"  {method:4} {path:22} -> {answer.status_code} {kind}, "
          f"{milliseconds:.1f} ms\n       {shown}")
    return answer


def ask_all(base: str) -> None:
    """The demo's questions; raises DemoFailed at a wrong answer."""
    hello = ask(base, "GET", "/")
    expect(hello.status_code == 200 and hello.text == "Hello, World!\n",
           "hello did not say hello")
    again = ask(base, "GET", "/")
    expect(len(again.headers["X-Varnish"].split()) == 2,
           "the second hello did not come from the cache")
    echo = ask(base, "POST", "/echo?a=b", data=b"some words",
               headers={"X-Demo": "yes", "Content-Type": "text/plain"})
    said = echo.json()
    expect(said["method"] == "POST" and said["url"] == "/echo?a=b"
           and said["body"] == "some words"
           and "X-Demo: yes" in said["headers"],
           "echo did not say what it was asked")
    photo = PHOTO.read_bytes()
    small = ask(base, "POST", "/thumbnail?w=256", data=photo,
                headers={"Content-Type": "image/png"})
    expect(small.status_code == 200 and is_webp(small.content)
           and len(small.content) < len(photo),
           "the thumbnail is no smaller WebP")
    print(f"       {PHOTO.name}: {len(photo)} bytes PNG -> "
          f"{len(small.content)} bytes WebP")
    text = ask(base, "POST", "/minify", data=b"a  {\n  color : red;\n}\n",
               headers={"Content-Type": "text/css"})
    expect(text.status_code == 200, "minify failed")
    synth = ask(base, "GET", "/synth")
    expect(synth.text == "Hello, World!\n", "synth did not say hello")


def command(env: Environment, *words: str) -> None:
    """Runs kvmctl, shown as one would type it."""
    print("$ kvmctl " + " ".join(words), flush=True)
    code = cli.invoke(list(words), env)
    if code:
        raise DemoFailed(f"kvmctl {words[0]} ended with {code}")


def options(varnish: PrivateVarnish) -> list[str]:
    return ["-n", str(varnish.node.name), "--store",
            str(varnish.directory / "store")]


def shown(path: Path) -> str:
    return os.path.relpath(path)


def demo(env: Environment) -> None:
    """From nothing to answers, and back to nothing."""
    with PrivateVarnish() as varnish:
        print(f"A private varnishd listens on {varnish.url}\n")
        command(env, "deploy", shown(SITE), *options(varnish))
        print(f"\nRequests to {varnish.url}:")
        ask_all(varnish.url)
        print()
        command(env, "status", shown(SITE), *options(varnish))
        print("\nStatistics of the programs (tinykvm.stats() in VCL):")
        show_stats(varnish.url)
        expect(varnish.admin.panics() is None, "varnishd panicked")
    print("\nEverything is stopped again.")


def show_stats(base: str) -> None:
    """A line for each program, from what tinykvm.stats() tells."""
    for name, f in ask(base, "GET", "/stats").json()["programs"].items():
        n = max(1, f["resets"])
        print(f"       {name:10} {f['invocations']} requests, "
              f"{f['exits_per_request']:.0f} KVM exits each, "
              f"{f['request_time'] / n * 1e3:.2f} ms in the guest, "
              f"{f['pages_written'] / n:.0f} pages reset in "
              f"{f['reset_time'] / n * 1e6:.0f} us; booted in "
              f"{f['boot_time'] * 1e3:.1f} ms")


def serve(env: Environment) -> None:
    """The same site until Ctrl-C."""
    with PrivateVarnish(port=SERVE_PORT) as varnish:
        command(env, "deploy", shown(SITE), *options(varnish))
        print(f"Serving on {varnish.url}; Ctrl-C ends it. Try:\n"
              f"  curl {varnish.url}/\n"
              f"  curl --data-binary @{shown(PHOTO)} "
              f"'{varnish.url}/thumbnail?w=256' > small.webp\n"
              f"  varnishlog -n {varnish.node.name}", flush=True)
        while True:
            signal.pause()


def main() -> int:
    env = Environment()
    # Both end the same way: everything that was started is stopped. A shell
    # may have had SIGINT ignored, as for `make serve &` in a script.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        if "--serve" in sys.argv[1:]:
            serve(env)
        else:
            demo(env)
    except (DemoFailed, KvmctlError, requests.RequestException) as e:
        env.error(str(e))
        return 1
    except KeyboardInterrupt:
        print("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
