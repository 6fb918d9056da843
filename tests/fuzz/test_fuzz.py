# SPDX-License-Identifier: BSD-2-Clause
"""The quick form of `make fuzz`: every fuzzer, some seconds each."""

import subprocess
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


def test_a_broken_promise_is_told(tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the promise, with the input that broke it."""
    (tmp_path / "it.c").write_text("""
        #include "fuzz.h"
        int
        LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
        {
            PROMISE(len < 3 || memcmp(data, "bad", 3) != 0);
            return (0);
        }""")
    subprocess.run(["clang", "-fsanitize=fuzzer", "-I", Path(__file__).parent,
                    "-o", tmp_path / "fuzz_it", tmp_path / "it.c"], check=True)
    monkeypatch.setattr(fuzz, "BUILD", tmp_path)
    seed = tmp_path / "seeds" / "it" / "seed"
    seed.parent.mkdir(parents=True)
    seed.write_bytes(b"bad")
    report = fuzz.run("it", 1)
    assert report["ended"] != 0 and "broken: len < 3" in report["words"]
    (found,) = (tmp_path / "found").iterdir()
    assert found.name.startswith("it-crash-")
    assert found.read_bytes().startswith(b"bad")


def test_all_of_them_have_a_share() -> None:
    here = Path(__file__).parent
    assert set(fuzz.SHARES) == set(seeds.SEEDS) == {
        p.stem.removeprefix("fuzz_") for p in here.glob("fuzz_*.c")}
