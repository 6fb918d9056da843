# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark's arithmetic, and a trial of the whole. No figure is judged."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hardening
import load
import report
from support.paths import ROOT

CORE_KEYS = {
    "floor_us", "call_reset_us", "reset_us", "exits_per_request",
    "reset_us_master_16m", "reset_us_master_1g", "fork_us", "first_call_us",
    "fork_memory_kib", "native_ratio"}


def figures() -> dict[str, Any]:
    """Each target is met, by a hair."""
    cell = {"rps": 1000.0, "p50_us": 100.0, "p99_us": 1000.0}
    program = {"1": cell | {"p50_us": 240.0}, "2": cell,
               "8": cell | {"rps": 1300.0}}
    return {
        "machine": {"cpu": "a CPU", "cores": 2, "kernel": "6", "kvm": "kvm_x",
                    "varnish": "varnish-7.1.1", "date": "today"},
        "rounds": {"core": 1, "http": 1},
        "floor_us": 100.0, "exits_per_request": 1, "fork_us": 300.0,
        "first_call_us": 200.0, "fork_memory_kib": 1024, "native_ratio": 1.0,
        "call_reset_us": {"0": 105.0, "1": 105.0, "8": 110.0, "64": 120.0,
                          "512": 300.0},
        "reset_us": {"0": 1.0, "1": 1.5, "8": 4.0, "64": 10.0, "512": 100.0},
        "reset_us_master_16m": 1.0, "reset_us_master_1g": 1.2, "load_s": 2.0,
        "self_us": {"cached": 50.0, "plain": 100.0, "asking": 300.0},
        "http": {way: program if way == "program" else dict.fromkeys(
            ("1", "2", "8"), cell) for way in load.WAYS},
    }


def missed(f: dict[str, Any]) -> list[str]:
    return [t.what for t in report.targets(f) if not t.met]


def test_targets_met_at_their_limits() -> None:
    assert missed(figures()) == []
    assert len(report.targets(figures())) == 12


@pytest.mark.parametrize("path, value", [
    (("call_reset_us", "0"), 105.1), (("call_reset_us", "1"), 105.1),
    (("call_reset_us", "8"), 110.1), (("reset_us", "8"), 4.1),
    (("reset_us_master_1g",), 1.21), (("exits_per_request",), 2),
    (("fork_memory_kib",), 1025), (("http", "program", "1", "p50_us"), 241),
    (("http", "program", "8", "rps"), 1299),
    (("http", "program", "8", "p99_us"), 1001), (("load_s",), 2.1),
    (("self_us", "asking"), 301),
])
def test_each_target_is_missed_by_its_own_figure(
        path: tuple[str, ...], value: float) -> None:
    f = figures()
    at = f
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    assert len(missed(f)) == 1
    assert report.markdown(f).count("| missed |") == 1


def test_medians_go_into_objects() -> None:
    runs = [{"a": 1, "b": {"c": 9}}, {"a": 5, "b": {"c": 1}},
            {"a": 2, "b": {"c": 5}}]
    assert report.medians(runs) == {"a": 2, "b": {"c": 5}}


def test_percentiles_are_by_nearest_rank() -> None:
    histogram = {10: 50, 20: 49, 700: 1}
    assert [load.percentile(histogram, p) for p in (50, 51, 99, 99.5)] == [
        10, 20, 20, 700]
    with pytest.raises(load.BenchFailed):
        load.percentile({}, 50)


def as_wrk_does(histogram: load.Histogram, mean: int) -> load.Histogram:
    """wrk's own addition, from the smallest answer on."""
    out = dict(histogram)
    for us in range(2 * mean, max(out) + 1):
        lower = us - mean
        while us in out and lower > mean:
            out[lower] = out.get(lower, 0) + out[us]
            lower -= mean
    return out


def test_what_wrk_made_up_is_taken_out() -> None:
    real = {90: 4000, 110: 4000, 250: 3, 410: 20, 2000: 5, 2090: 1}
    requests = sum(real.values())
    found = {"requests": requests, "duration_us": requests // 2 * 100 + 7}
    seen = as_wrk_does(real, 100)
    assert sum(seen.values()) > requests
    assert load.real_answers(
        found | {"latency": list(seen.items())}, 2) == real
    assert load.real_answers(
        found | {"latency": list(real.items())}, 2) == real


@pytest.mark.kvm
def test_a_trial_of_the_whole(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "bench" / "bench.py", "--quick",
         "--out", tmp_path], capture_output=True, text=True, timeout=120,
        check=False)
    assert done.returncode == 0, done.stderr
    f = json.loads((tmp_path / "report.json").read_text())
    assert f.keys() >= CORE_KEYS | {"http", "machine", "rounds", "targets",
                                  "load_s", "self_us"}
    for key in ("call_reset_us", "reset_us"):
        assert tuple(f[key]) == report.PAGES
    assert f["http"].keys() >= {"synth", "program", "to_string"}
    for way in f["http"].values():
        assert way.keys() == {"1", "2", "8"}
        for cell in way.values():
            assert cell.keys() == {"rps", "p50_us", "p99_us"}
            assert cell["p99_us"] >= cell["p50_us"] > 0
    assert f["exits_per_request"] == 1
    assert done.stdout == (tmp_path / "report.md").read_text()
    assert (tmp_path / "report.svg").read_text().startswith("<?xml")


def test_a_trial_of_what_hardening_costs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "bench" / "hardening.py", "--quick",
         "--out", tmp_path], capture_output=True, text=True, timeout=300,
        check=False)
    assert done.returncode == 0, done.stderr
    f = json.loads((tmp_path / "hardening.json").read_text())
    for key in ("hardened_to_not", "noise"):
        assert tuple(f[key]) == ("floor", *report.PAGES)
        for cell in f[key].values():
            assert cell["median_from"] <= cell["median"] <= cell["median_to"]
    assert len(done.stdout.splitlines()) == 7


def test_a_ratio_is_told_with_its_spread() -> None:
    turns = [{"on": {"0": 102.0 + i}, "off": {"0": 100.0 + i}}
             for i in range(20)]
    cost = hardening.compared(turns, "on", "off")["0"]
    assert 1.016 < cost["median_from"] <= cost["median_to"] <= 1.02
    assert cost["quarter"] < cost["median"] < cost["three_quarters"]
