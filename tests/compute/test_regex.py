# SPDX-License-Identifier: BSD-2-Clause
"""Regular expressions of guests: what one item of a pattern may cost."""

import threading
from typing import Any

import pytest

from kvmctl.engine.library import Engine, Program
from support.paths import settings

pytestmark = pytest.mark.kvm

# Each tries one item at every position, as far as the subject goes. ^ in its
# place: at the first one only.
ALL = "(*NO_START_OPT)"
CLASS = "(*UCP)(*UTF){}[[:^digit:]\\p{{Greek}}]*+\\p{{Nd}}"
LONG_CLASS = "(*UCP){}[^" + "\\d" * 2000 + "]*+1"
# The largest subjects, in bytes, by what a class may cost.
MOST = {"{}a*+b": 8 << 20, "(*UTF)(*UCP){}\\w*+1": 8 << 20,
        CLASS: 400_000, LONG_CLASS: 8_000, "(*UTF){}\\X*+1": 16384}


def apitest(engine: Engine, **more: Any) -> Program:
    return engine.define("apitest", settings("apitest", **more))


def match(program: Program, pattern: str, size: int) -> str:
    """Against so many bytes, letters "a" but for the last; or the error."""
    return program.request(url="/regex/catastrophe", headers=[
        f"X-Pattern: {pattern}", f"X-Size: {size - 1}"]).body.decode()


by_pattern = pytest.mark.parametrize("pattern", MOST, ids=lambda p: p[:30])


@by_pattern
def test_a_subject_is_as_large_as_its_pattern_allows(
        engine: Engine, pattern: str) -> None:
    program = apitest(engine, max_request_memory=64)
    most = MOST[pattern]
    assert f"a subject of {3 * most} bytes: at most " in match(
        program, pattern.format(ALL), 3 * most)
    assert int(match(program, pattern.format("^"), most)) < 0


@by_pattern
def test_the_time_is_seen_between_items(engine: Engine,
                                        pattern: str) -> None:
    """Of items that take long, not only once in some hundred."""
    program = apitest(engine, max_request_time=0.3)
    program.start()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(match(
        program, pattern.format(ALL), MOST[pattern])), daemon=True)
    thread.start()
    thread.join(10)
    assert len(answers) == 1 and "its time was over" in answers[0]
