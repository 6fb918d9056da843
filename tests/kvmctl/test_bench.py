# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl bench: the arithmetic, and that it measures what it is told."""

import builtins
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl.errors import ExitCode
from kvmctl.quantiles import quantile
from kvmctl.trial import figures
from support.paths import guest


def test_quantiles() -> None:
    values = [float(n) for n in range(1, 101)]
    assert quantile(values, 0.5) == 50
    assert quantile(values, 0.99) == 99
    assert quantile([3.0], 0.999) == 3


@given(st.lists(st.floats(1e-8, 1e4), min_size=1, max_size=60))
def test_every_sample_is_in_the_histogram(values: list[float]) -> None:
    buckets = figures.histogram(values)
    assert sum(n for _, _, n in buckets) == len(values)
    assert len(buckets) <= 50
    assert buckets[0][0] <= min(values) * 1.0001
    assert max(values) <= buckets[-1][1] * 1.0001
    assert all(a[1] == b[0] for a, b in zip(buckets, buckets[1:],
                                            strict=False))


@pytest.mark.kvm
def test_bench(kvmctl: Any, tmp_path: Path) -> None:
    found = kvmctl.json("bench", guest("echo"), "/x", "-d", "body", "-n",
                        "60", "--warm", "5", "--plot", tmp_path / "it.svg")
    assert found["requests"] == 60 and found["statuses"] == {"200": 60}
    assert found["exits"] == 1 and found["boot_seconds"] > 0
    assert 0.5 < found["ratio"] < 100
    assert sum(b["count"] for b in found["histogram"]) == 60
    assert "</svg>" in (tmp_path / "it.svg").read_text()
    assert kvmctl("bench", guest("hello"), "-n", "30") == ExitCode.OK
    assert "times an empty call" in kvmctl.out and "#" in kvmctl.out


@pytest.mark.kvm
def test_without_a_compiler_or_matplotlib(
        kvmctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kvmctl("bench", guest("hello"), "-n", "5") == ExitCode.OK
    assert "gcc is missing" in kvmctl.err and "times" not in kvmctl.out
    real = builtins.__import__

    def no_matplotlib(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    assert kvmctl("bench", guest("hello"), "-n", "5", "--plot",
                  tmp_path / "it.svg") == ExitCode.HOST
    assert "pip install matplotlib" in kvmctl.err


@pytest.mark.kvm
def test_what_cannot_be(kvmctl: Any, tmp_path: Path) -> None:
    assert kvmctl("bench", guest("hostile"), "/null-write", "-n",
                  "5") == ExitCode.GUEST
    assert kvmctl("bench", guest("hello"), "-n", "0") == ExitCode.USAGE
    for name in ("it.nonsense", "none/it.svg"):
        assert kvmctl("bench", guest("hello"), "-n", "5", "--plot",
                      tmp_path / name) == ExitCode.FAILED
        assert name in kvmctl.err and "Traceback" not in kvmctl.err
