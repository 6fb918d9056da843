# SPDX-License-Identifier: BSD-2-Clause
"""The guest that counts."""

from pathlib import Path

import pytest

from kvmctl.engine.library import Engine, Response
from support.paths import settings

pytestmark = pytest.mark.kvm


def test_who_only_looks_takes_no_place(engine: Engine, tmp_path: Path) -> None:
    program = engine.define("counter", settings(
        "counter", state_directory=str(tmp_path)))
    for n in range(1001):
        assert program.request(url=f"/{n}").body == b"0\n"
    assert program.request("POST", "/new").body == b"1\n"


def test_long_names_are_not_one(engine: Engine) -> None:
    program = engine.define("counter", settings("counter"))

    def count(url: str) -> Response:
        return program.request("POST", url)
    longest = "/" + "n" * 62
    assert [count(longest).body for _ in range(2)] == [b"1\n", b"2\n"]
    assert count(longest + "n").status == 414
    assert count(longest).body == b"3\n"
