# SPDX-License-Identifier: BSD-2-Clause
"""The quick form of `make fuzz`: every fuzzer, some seconds each."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz
import seeds


@pytest.mark.kvm
@pytest.mark.parametrize("name", fuzz.SHARES)
def test_some_seconds_of(name: str) -> None:
    seeds.write(fuzz.BUILD / "seeds")
    report = fuzz.run(name, 6)
    assert report["ended"] == 0, report["words"]
    assert report["executions"] > 100
    assert report["edges"] > 100


def test_all_of_them_have_a_share() -> None:
    here = Path(__file__).parent
    assert set(fuzz.SHARES) == set(seeds.SEEDS) == {
        p.stem.removeprefix("fuzz_") for p in here.glob("fuzz_*.c")}
