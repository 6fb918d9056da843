# SPDX-License-Identifier: BSD-2-Clause
"""One runner for all tests: Python, C programs, varnishtest.

Tests marked `kvm` skip by name without a usable /dev/kvm, and fail in CI.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from support import collect, kvm
from support.needed import lacking


# How long examples take to make says how busy the machine is.
hypothesis.settings.register_profile("ours", suppress_health_check=[
    hypothesis.HealthCheck.too_slow], deadline=None)
hypothesis.settings.load_profile("ours")


def pytest_collect_file(file_path: Path,
                        parent: pytest.Collector) -> pytest.File | None:
    if file_path.suffix == ".c" and file_path.name.startswith("test_"):
        return collect.CFile.from_parent(parent, path=file_path)
    if file_path.suffix == ".vtc":
        return collect.VtcFile.from_parent(parent, path=file_path)
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kvm") is None:
        return
    problem = kvm.why_not()
    if problem is not None:
        lacking(problem)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever runs the tests may have KVMCTL_* set, or a proxy."""
    for name in [*os.environ]:
        if name.startswith("KVMCTL_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    yield
