# SPDX-License-Identifier: BSD-2-Clause
"""One runner for all tests: Python, C programs, varnishtest.

Tests marked `kvm` skip by name without a usable /dev/kvm. In CI (the variable
CI is set) they fail instead: a test that is always skipped tests nothing.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import collect, kvm


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
    if problem is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{problem}; in CI this is a failure", pytrace=False)
    pytest.skip(problem)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever runs the tests may have KVMCTL_* set, or a proxy."""
    for name in [*os.environ]:
        if name.startswith("KVMCTL_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    yield
