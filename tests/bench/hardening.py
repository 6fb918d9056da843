# SPDX-License-Identifier: BSD-2-Clause
"""What hardening costs a call and its reset: HARDENING of vmod/build.mk.

    python tests/bench/hardening.py         after `make`; some two minutes
    python tests/bench/hardening.py --quick     a trial: its figures say nothing

The core's benchmark is built with it and without, and run in turns, in a new
order each time; a turn's figure is the ratio of the two. The same is done with
two copies of the one without: what that differs from 1 is the machine's noise.
Writes build/bench/hardening.json, and never fails for a figure.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
OFF = ("HARDENING=", "LD_HARDENING=-Wl,-z,norelro -Wl,-z,lazy")


def build(where: str, *variables: str) -> Path:
    """The benchmark, with what it measures, in this build directory."""
    subprocess.run(
        ["make", "--no-print-directory", f"-j{os.cpu_count()}", "TK_SET_UP=yes",
         f"B={where}", *variables, f"{where}/bench/core_bench"],
        cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / where / "bench" / "core_bench"


def run(program: Path, rounds: int) -> dict[str, float]:
    """Microseconds of a call and its reset, by pages written, and the floor."""
    env = os.environ | {"TK_TEST_GUEST": str(BUILD / "tests" / "guest")}
    figures = json.loads(subprocess.run(
        [program, str(rounds), "calls"], check=True, env=env,
        stdout=subprocess.PIPE).stdout)
    return {"floor": figures["floor_us"], **figures["call_reset_us"]}


def in_turns(programs: dict[str, Path], turns: int,
             rounds: int) -> list[dict[str, dict[str, float]]]:
    """Each turn runs all of them, in an order of its own."""
    chance = random.Random(1)
    names = list(programs)
    found = []
    for _ in range(turns):
        chance.shuffle(names)
        found.append({name: run(programs[name], rounds) for name in names})
    return found


def spread(ratios: list[float]) -> dict[str, float]:
    """The median, the middle half of all, and how sure the median is."""
    low, _, high = statistics.quantiles(ratios, n=4)
    chance = random.Random(2)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios)))
                     for _ in range(1000))
    return {"median": statistics.median(ratios), "quarter": low,
            "three_quarters": high, "median_from": medians[25],
            "median_to": medians[974]}


def compared(turns: list[dict[str, dict[str, float]]], one: str,
             other: str) -> dict[str, dict[str, float]]:
    """By what was measured: one against other, turn by turn."""
    return {what: spread([t[one][what] / t[other][what] for t in turns])
            for what in turns[0][one]}


def words(figures: dict[str, Any]) -> str:
    """A line for each size of a working set."""
    lines = ["written    with, us   without   costs        95 % sure"
             "          noise"]
    for what, cost in figures["hardened_to_not"].items():
        noise = figures["noise"][what]
        lines.append(
            f"{what:>8} {figures['us']['on'][what]:>10.2f} "
            f"{figures['us']['off'][what]:>9.2f} "
            f"{100 * (cost['median'] - 1):>+7.2f} %  "
            f"{100 * (cost['median_from'] - 1):>+6.2f} to "
            f"{100 * (cost['median_to'] - 1):>+5.2f} %  "
            f"{100 * (noise['median'] - 1):>+7.2f} %")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="What hardening costs.")
    parser.add_argument("--quick", action="store_true",
                        help="a trial of the measurement itself")
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--out", type=Path, default=BUILD / "bench")
    options = parser.parse_args()
    turns, rounds = (2, 10) if options.quick else (options.turns, 300)
    try:
        programs = {"on": build("build"),
                    "off": build("build/unhardened", *OFF)}
        programs["again"] = programs["off"].with_name("core_bench_again")
        shutil.copy2(programs["off"], programs["again"])
        found = in_turns(programs, turns, rounds)
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"hardening: {e}", file=sys.stderr)
        return 1
    figures = {
        "turns": turns, "rounds": rounds,
        "us": {name: {what: statistics.median(t[name][what] for t in found)
                      for what in found[0][name]} for name in programs},
        "hardened_to_not": compared(found, "on", "off"),
        "noise": compared(found, "again", "off"),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "hardening.json").write_text(
        json.dumps(figures, indent=2) + "\n")
    print(words(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
