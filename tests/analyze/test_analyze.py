# SPDX-License-Identifier: BSD-2-Clause
"""Static analysis: nothing is found but what was looked at.

`make test` has let gcc's analyser and clang-tidy's bugprone-* and cert-* run;
clang's own analyser, which takes longer, is asked by `make analyze` alone.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import findings
from findings import Finding

C = """/* first(as a comment) */
static int
first(int a)
{

\treturn (second(a));
}

int
second(
    int a)
{
\treturn (a);
}
"""


def test_nothing_new_in_core_compute_and_vmod() -> None:
    assert findings.look(findings.ROOT / "build" / "analyze", slow=False) == []


@pytest.mark.parametrize("line, function", [
    (1, "-"), (2, "-"), (3, "first"), (6, "first"), (10, "second"),
    (13, "second")])
def test_a_line_is_in_a_function(line: int, function: str) -> None:
    assert findings.function_at(C.splitlines(), line) == function


def test_what_gcc_and_clang_say_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(C)
    said = (f"a.c: In function 'first':\n"
            f"a.c:6:2: warning: leak of 'x' [CWE-401] [-Wanalyzer-malloc-leak]\n"
            f"2 warnings generated.\n"
            f"{tmp_path}/a.c:13:9: warning: odd [bugprone-odd]\n"
            f"{tmp_path}/a.c:13:9: note: because\n")
    assert [f for f, _ in findings.read(said, tmp_path)] == [
        Finding("a.c", "first", "analyzer-malloc-leak"),
        Finding("a.c", "second", "bugprone-odd")]


def test_each_that_is_accepted_has_a_reason() -> None:
    entry = "a.c f kind\n\twhy\n"
    assert findings.accepted("# c\n\n" + entry) == {Finding("a.c", "f", "kind")}
    for wrong in ("a.c f kind\n", "a.c f kind\n" + entry, "a.c f\n\twhy\n"):
        with pytest.raises(ValueError, match="reason"):
            findings.accepted(wrong)


def test_new_ones_and_needless_ones_are_told() -> None:
    old, new = Finding("a.c", "f", "x"), Finding("a.c", "g", "x")
    slow = Finding("a.c", "f", "clang-analyzer-y")
    assert findings.complaints({old: "a"}, {old}, False) == []
    assert findings.complaints({old: "a", new: "b"}, {old}, False) == ["b"]
    assert findings.complaints({}, {old}, False) == [
        "accepted: no longer found: a.c f x"]
    assert findings.complaints({}, {slow}, False) == []
    assert len(findings.complaints({}, {slow}, True)) == 1


def test_without_analysis_nothing_passes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make analyze"):
        findings.look(tmp_path, slow=False)
