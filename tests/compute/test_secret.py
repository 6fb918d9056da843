# SPDX-License-Identifier: BSD-2-Clause
"""A secret of one request, planted wherever it can be, is nowhere in the next."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine.library import Engine, Program
from kvmctl.errors import GuestError
from support.compiled import compiled

pytestmark = pytest.mark.kvm


@pytest.fixture(params=[True, False], ids=["kept memory", "given back"])
def keeps(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def canary(keeps: bool, engine: Engine, tmp_path: Path) -> tuple[Program, str]:
    secret = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz")
                     for _ in range(16))
    more: dict[str, Any] = {"ephemeral_keep_working_memory": keeps}
    program = engine.define("canary", {
        "filename": compiled(tmp_path, "canary",
                             [Path(__file__).with_name("secret.c")], "-mavx2",
                             "-fno-strict-aliasing"),
        "main_arguments": [secret], "max_memory": 64, "concurrency": 1,
        "max_request_memory": 8} | more)
    return program, secret


def plant(program: Program, secret: str) -> None:
    """Each request that plants it also carries it: header, URL, body."""
    answer = program.request("POST", f"/plant?{secret}",
                             headers=[f"X-Secret: {secret}"],
                             body=secret.encode() * 4096)
    assert answer.body == b"planted"


def search(program: Program, times: int) -> None:
    for _ in range(times):
        answer = program.request(url="/search")
        assert answer.status == 200, answer.body
        assert int(answer.body) > 1 << 20


def test_the_search_finds_what_is_there(canary: tuple[Program, str]) -> None:
    program, _ = canary
    assert b"found at" in program.request(url="/check").body


def test_nothing_is_found(canary: tuple[Program, str]) -> None:
    program, secret = canary
    for _ in range(20):
        plant(program, secret)
        search(program, 5)


def test_nothing_is_found_after_a_failure(canary: tuple[Program, str]) -> None:
    """One that ended in the middle: nothing is put right by the program."""
    program, secret = canary
    for _ in range(10):
        plant(program, secret)
        with pytest.raises(GuestError):
            program.request(url="/crash", headers=[f"X-Secret: {secret}"])
        search(program, 3)


@pytest.mark.long
@pytest.mark.parametrize("keeps, part", [
    (True, 0), *((False, part) for part in range(5))], indirect=["keeps"])
def test_ten_thousand_searches(canary: tuple[Program, str], keeps: bool,
                               part: int) -> None:
    """In five parts where each search faults all its memory in again."""
    program, secret = canary
    for _ in range(100):
        plant(program, secret)
        search(program, 100 if keeps else 20)
