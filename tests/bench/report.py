# SPDX-License-Identifier: BSD-2-Clause
"""Figures to targets, tables and a plot."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PAGES = ("0", "1", "8", "64", "512")
WAYS = {"synth": "synthetic()", "fetch": "fetch, no backend",
        "program": "program()", "to_string": "to_string()"}
_COLOURS = {"synth": "#9e9e9e", "fetch": "#616161", "program": "#c2571a",
            "to_string": "#1f77a4"}


@dataclass(frozen=True)
class Target:
    """What was aimed at: value at most (or at least) limit."""

    what: str
    value: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        return (self.value >= self.limit if self.at_least
                else self.value <= self.limit)


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Figure by figure, also within objects."""
    return {key: medians([run[key] for run in runs])
            if isinstance(value, dict)
            else statistics.median(run[key] for run in runs)
            for key, value in runs[0].items()}


def targets(f: dict[str, Any]) -> list[Target]:
    """All targets, from the figures."""
    floor, call, http = f["floor_us"], f["call_reset_us"], f["http"]
    program, synth = http["program"], http["synth"]
    beyond = program["1"]["p50_us"] - synth["1"]["p50_us"]
    return [
        *(Target(f"call and reset, {n} pages written", call[n] / floor, limit,
                 "floors")
          for n, limit in (("0", 1.05), ("1", 1.05), ("8", 1.10))),
        Target("reset of 8 pages", f["reset_us"]["8"], 4, "us"),
        Target("reset, 1 GiB in use against 16 MiB",
               f["reset_us_master_1g"] / f["reset_us_master_16m"], 1.2,
               "times"),
        Target("KVM exits of a request", f["exits_per_request"], 1),
        Target("memory of a fork", f["fork_memory_kib"], 1024, "KiB"),
        Target("program() beyond synthetic(), p50, 1 connection",
               beyond / floor, 1.4, "floors"),
        Target("program(), requests per second, 8 connections against 1",
               program["8"]["rps"] / program["1"]["rps"], 1.3, "times", True),
        Target("program(), p99 against p50, 8 connections",
               program["8"]["p99_us"] / program["8"]["p50_us"], 10, "times"),
        Target("a self-request answered from the cache, beyond program(), "
               "against one exit and two hits", (
                   f["self_us"]["asking"] - f["self_us"]["plain"])
               / (floor + 2 * f["self_us"]["cached"]), 1, "times"),
        Target("vcl.load of 32 programs with 4 forks each", f["load_s"], 2,
               "s"),
    ]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table that reads as well as it is: columns are aligned."""
    rows = [head, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(
        cell.ljust(w) if i == 0 else cell.rjust(w)
        for i, (cell, w) in enumerate(zip(row, widths))) + " |"
        for row in rows]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":")
                          for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def _core_table(f: dict[str, Any]) -> str:
    rows = [("floor: enter the guest and leave it", f"{f['floor_us']:.1f} us")]
    rows += [(f"call and reset, {n} pages written (reset alone)",
              f"{f['call_reset_us'][n]:.1f} us ({f['reset_us'][n]:.1f})")
             for n in PAGES]
    rows += [
        ("reset of 8 pages, 16 MiB in use",
         f"{f['reset_us_master_16m']:.2f} us"),
        ("reset of 8 pages, 1 GiB in use", f"{f['reset_us_master_1g']:.2f} us"),
        ("KVM exits of a request", str(f["exits_per_request"])),
        ("a new fork", f"{f['fork_us']:.0f} us"),
        ("its first call", f"{f['first_call_us']:.0f} us"),
        ("memory of a fork", f"{f['fork_memory_kib']:.0f} KiB"),
        ("a loop, guest against process", f"{f['native_ratio']:.3f}"),
    ]
    return _table(("core", "median"), rows)


def _http_table(f: dict[str, Any]) -> str:
    rows = [(f"{WAYS[way]}, {n}", f"{c['rps']:.0f}", f"{c['p50_us']:.0f} us",
             f"{c['p99_us']:.0f} us")
            for way, by_connections in f["http"].items()
            for n, c in by_connections.items()]
    return _table(("HTTP, connections", "requests/s", "p50", "p99"), rows)


def _targets_table(f: dict[str, Any]) -> str:
    rows = [(t.what, f"{t.value:.2f} {t.unit}".strip(),
             f"{'>=' if t.at_least else '<='} {t.limit:g}",
             "met" if t.met else "missed") for t in targets(f)]
    return _table(("target", "measured", "limit", ""), rows)


def markdown(f: dict[str, Any]) -> str:
    m, r = f["machine"], f["rounds"]
    return (f"{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}, {m['kvm']}, "
            f"{m['varnish']}; {m['date']}; {r['core']} rounds, HTTP "
            f"{r['http']}\n\n{_core_table(f)}\n{_http_table(f)}\n"
            f"{_targets_table(f)}")


def _bars(axes: Any, f: dict[str, Any], key: str) -> None:
    """Groups by connections, one bar for each way."""
    width = 0.8 / len(f["http"])
    for i, (way, cells) in enumerate(f["http"].items()):
        at = [x + (i - (len(f["http"]) - 1) / 2) * width
              for x in range(len(cells))]
        axes.bar(at, [c[key] for c in cells.values()], width * 0.92,
                 label=WAYS[way], color=_COLOURS[way])
    axes.set_xticks(range(len(cells)), list(cells))
    axes.set_xlabel("connections")


def plot(f: dict[str, Any], file: Path) -> None:
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, (calls, p50, rps) = plt.subplots(
        1, 3, figsize=(12, 3.6), layout="constrained")
    call = [f["call_reset_us"][n] for n in PAGES]
    calls.bar(PAGES, call, 0.7, color=_COLOURS["program"],
              label="call and reset")
    calls.bar(PAGES, [f["reset_us"][n] for n in PAGES], 0.7,
              color=_COLOURS["to_string"], label="of it the reset")
    calls.axhline(f["floor_us"], color="black", linewidth=1, linestyle="--",
                  label="floor")
    calls.set_xlabel("pages that the request wrote")
    calls.set_title("One request without Varnish (us)")
    _bars(p50, f, "p50_us")
    p50.set_title("HTTP, median latency (us)")
    _bars(rps, f, "rps")
    rps.set_title("HTTP, requests per second")
    for axes in (calls, p50):
        axes.legend(frameon=False, fontsize="small")
    for axes in (calls, p50, rps):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize("medium")
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def write(f: dict[str, Any], out: Path) -> None:
    """report.json, report.md, report.svg."""
    whole = f | {"targets": [asdict(t) | {"met": t.met} for t in targets(f)]}
    (out / "report.json").write_text(json.dumps(whole, indent=2) + "\n")
    (out / "report.md").write_text(markdown(f))
    plot(f, out / "report.svg")
