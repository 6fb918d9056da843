# SPDX-License-Identifier: BSD-2-Clause
"""What a machine may lack, so that a test is skipped by name.

In CI (the variable CI is set) it fails instead: a test that is always skipped
tests nothing. What the Makefile installs is never a reason.
"""

import os
from typing import NoReturn

import pytest


def lacking(problem: str) -> NoReturn:
    """Skips, or fails, the test that cannot run here."""
    if os.environ.get("CI"):
        pytest.fail(f"{problem}; in CI this is a failure", pytrace=False)
    pytest.skip(problem)
