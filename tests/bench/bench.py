# SPDX-License-Identifier: BSD-2-Clause
"""Figures of the core, of a guest's speed, and of a whole Varnish.

    make bench                      some three minutes
    python tests/bench/bench.py --quick     does it work? its figures say nothing

Writes report.json, report.md and report.svg to build/bench. What is compared is
measured in turns, and every figure is a median: a noisy machine disturbs all
alike. A missed target is reported, and no failure.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from kvmctl.engine import Engine                        # noqa: E402
from kvmctl.errors import KvmctlError                   # noqa: E402

import load                                             # noqa: E402
import report                                           # noqa: E402
import whole                                            # noqa: E402

BUILD = ROOT / "build"
PROGRAMS = ("bench/core_bench", "bench/native", "tests/guest",
            "guests/bench/bench", "guests/hello/hello",
            "guests/apitest/apitest")


def core(runs: int, rounds: int) -> dict[str, Any]:
    """What tests/bench/core_bench.c measures; the names are its own."""
    env = os.environ | {"TK_TEST_GUEST": str(BUILD / "tests" / "guest")}
    return report.medians([json.loads(subprocess.run(
        [BUILD / "bench" / "core_bench", str(rounds)], check=True, env=env,
        stdout=subprocess.PIPE).stdout) for _ in range(runs)])


def compute(pairs: int, thousands: int) -> dict[str, float]:
    """One loop as a guest and as a process; each takes its own time."""
    url = f"/compute?n={thousands}"
    guest, native = [], []
    with Engine() as engine:
        program = engine.define("bench", {
            "filename": str(BUILD / "guests" / "bench" / "bench"),
            "max_memory": 32, "concurrency": 1})
        program.start()
        for _ in range(pairs):
            guest.append(program.request(url=url).body.split())
            native.append(subprocess.run(
                [BUILD / "bench" / "native", url], check=True,
                stdout=subprocess.PIPE).stdout.split())
    if {result for _, result in guest} != {result for _, result in native}:
        raise load.BenchFailed("guest and process compute different results")
    g, n = ([int(ns) / 1e6 for ns, _ in each] for each in (guest, native))
    return {
        "native_ratio": statistics.median(a / b for a, b in zip(g, n)),
        "compute_guest_ms": statistics.median(g),
        "compute_native_ms": statistics.median(n),
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = re.search(r"^model name\s*:\s*(.*)$",
                    Path("/proc/cpuinfo").read_text(), re.M)
    kinds = [p.name for p in Path("/sys/module").glob("kvm_*")]
    varnishd = subprocess.run(["varnishd", "-V"], capture_output=True,
                              text=True, check=False)
    version = re.search(r"varnish-[0-9.]+", varnishd.stdout + varnishd.stderr)
    return {
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "kvm": ", ".join(sorted(kinds)) or "built in",
        "varnish": version.group() if version else "unknown",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure, and report.")
    parser.add_argument("--quick", action="store_true",
                        help="a trial of the benchmark itself")
    parser.add_argument("--rounds", type=int, default=7,
                        help="of all HTTP measurements; default 7")
    parser.add_argument("--out", type=Path, default=BUILD / "bench")
    return parser.parse_args()


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    missing = [p for p in PROGRAMS if not (BUILD / p).exists()]
    if missing:
        raise load.BenchFailed(f"missing in build: {', '.join(missing)}: "
                               "run `make bench`")
    figures: dict[str, Any] = {"machine": machine()}
    say("the core ...")
    figures |= core(1, 10) if quick else core(3, 2500)
    say("a loop in a guest ...")
    figures |= compute(3, 200) if quick else compute(31, 20000)
    say("HTTP ...")
    hello = BUILD / "guests" / "hello" / "hello"
    figures["http"] = (load.all_at_once(hello) if quick
                       else load.in_turns(hello, rounds, say))
    say("many programs; one that asks Varnish ...")
    figures["load_s"] = whole.loading(BUILD / "guests", 1 if quick else 5)
    figures["self_us"] = whole.self_requests(
        BUILD / "guests", 1 if quick else rounds, 1 if quick else 2)
    figures["rounds"] = {"core": 10 if quick else 3 * 2500,
                         "http": 1 if quick else rounds}
    return figures


def main() -> int:
    options = arguments()
    try:
        figures = measure(options.quick, options.rounds)
    except (load.BenchFailed, KvmctlError, OSError,
            subprocess.CalledProcessError) as e:
        print(f"bench: {e}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    report.write(figures, options.out)
    print(report.markdown(figures), end="")
    print(f"report.json, report.md, report.svg are in {options.out}",
          file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
