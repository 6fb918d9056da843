# SPDX-License-Identifier: BSD-2-Clause
"""`make fuzz`: all fuzzers, for SECONDS_OF_FUZZ (300) together.

What each finds of interest is kept in build/fuzz/corpus and is where the next
run begins; an input that breaks something is written to build/fuzz/found, and
belongs into tests/fuzz/found once it is mended: each run tries those first.
Writes build/fuzz/report.json.
"""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import seeds

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
#: Shares of the time: those with a real machine are slow.
SHARES = {"calls": 6.0, "elf": 3.0, "settings": 1.0, "gdb": 1.0,
          "websocket": 1.0, "memory": 2.0, "update": 2.0}
MAX_LENGTH = {"calls": 8192, "elf": 16384, "update": 32768}


def _number(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def run(name: str, seconds: float) -> dict[str, Any]:
    """One fuzzer for so long; what it did, and how it ended."""
    corpus, found = BUILD / "corpus" / name, BUILD / "found"
    for directory in (corpus, found):
        directory.mkdir(parents=True, exist_ok=True)
    known = ROOT / "tests" / "fuzz" / "found" / name
    env = os.environ | {"TK_FUZZ_GUEST": str(BUILD / "caller")}
    began = time.monotonic()
    done = subprocess.run(
        [BUILD / f"fuzz_{name}", f"-max_total_time={max(1, round(seconds))}",
         f"-max_len={MAX_LENGTH.get(name, 4096)}", "-len_control=0",
         "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1",
         f"-artifact_prefix={found}/{name}-", corpus,
         BUILD / "seeds" / name, *([known] if known.is_dir() else [])],
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    text = done.stdout
    return {
        "executions": _number(r"number_of_executed_units: (\d+)", text),
        "edges": _number(r"cov: (\d+)", text),
        "features": _number(r"ft: (\d+)", text),
        "inputs": len(list(corpus.iterdir())),
        "seconds": round(time.monotonic() - began, 1),
        "ended": done.returncode,
        "words": text[-6000:] if done.returncode else "",
    }


def main() -> int:
    total = float(os.environ.get("SECONDS_OF_FUZZ", "300"))
    seeds.write(BUILD / "seeds")
    names = sorted(SHARES, key=lambda n: -SHARES[n])
    lanes = 2
    share = total * lanes / sum(SHARES.values())
    with ThreadPoolExecutor(lanes) as pool:
        report = dict(zip(names, pool.map(
            lambda n: run(n, share * SHARES[n]), names)))
    (BUILD / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    for name, r in report.items():
        print(f"{name:10} {r['executions']:>10} executions, {r['edges']} edges,"
              f" {r['inputs']} inputs, {r['seconds']} s"
              + ("" if r["ended"] == 0 else f"; ended with {r['ended']}"))
        if r["ended"]:
            print(r["words"])
    return 1 if any(r["ended"] for r in report.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
