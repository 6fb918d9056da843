# SPDX-License-Identifier: BSD-2-Clause
"""A varnishd that is started by a script of the test."""

import shutil
from pathlib import Path

import pytest


def wrap_varnishd(directory: Path, monkeypatch: pytest.MonkeyPatch,
                  start: str) -> None:
    """Whoever starts varnishd from now on starts it so.

    start: a line of sh in which $VARNISHD stands for the program; its process
    is to become varnishd's, by exec.
    """
    real = shutil.which("varnishd") or shutil.which("varnishd",
                                                    path="/usr/sbin")
    wrapper = directory / "varnishd"
    wrapper.write_text(f"#!/bin/sh\nVARNISHD='{real}'\n{start}\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
