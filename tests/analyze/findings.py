# SPDX-License-Identifier: BSD-2-Clause
"""What the analysers found, against the list of what was looked at.

`make analyze` and the test call this once the analysers have run: they leave
build/analyze/FILE.{gcc,tidy,clang}. A finding that `accepted` does not have is
an error, and so is a line of it that no finding needs any more.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = Path(__file__).with_name("accepted")
#: Run only by `make analyze`: it takes minutes.
SLOW = "clang-analyzer-"

_WARNING = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+: "
                      r"(?:warning|error): (?P<text>.*) \[(?P<kind>[^\]]+)\]$",
                      re.M)
_FUNCTION = re.compile(r"(\w+)\(")


class Finding(NamedTuple):
    """Without its line: a change above it is none of it."""
    file: str
    function: str
    kind: str

    @property
    def slow(self) -> bool:
        return self.kind.startswith(SLOW)


def function_at(source: Iterable[str], line: int) -> str:
    """Which function a line is in: its name begins a line."""
    name = "-"
    for number, text in enumerate(source, 1):
        found = _FUNCTION.match(text)
        if found:
            name = found.group(1)
        if number == line:
            break
    return name


def read(text: str, root: Path) -> Iterator[tuple[Finding, str]]:
    """What an analyser said: each finding with its words."""
    for w in _WARNING.finditer(text):
        path = (root / w["file"]).resolve()
        with path.open() as source:
            function = function_at(source, int(w["line"]))
        kind = w["kind"].removeprefix("-W")
        file = path.relative_to(root) if path.is_relative_to(root) else path
        yield Finding(str(file), function, kind), w.group()


def accepted(text: str) -> set[Finding]:
    """FILE FUNCTION KIND, each with its reason in lines that are indented."""
    found: set[Finding] = set()
    reason = True
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] in " \t":
            reason = True
            continue
        if not reason or len(line.split()) != 3:
            raise ValueError(f"FILE FUNCTION KIND and a reason: {line!r}")
        found.add(Finding(*line.split()))
        reason = False
    if not reason:
        raise ValueError("the last line has no reason")
    return found


def complaints(found: dict[Finding, str], known: set[Finding],
               slow: bool) -> list[str]:
    """What is new, and what is not there any more."""
    return [words for finding, words in found.items() if finding not in known
            ] + [f"{ACCEPTED.name}: no longer found: {' '.join(k)}"
                 for k in sorted(known - set(found)) if slow or not k.slow]


def look(build: Path, slow: bool) -> list[str]:
    found: dict[Finding, str] = {}
    for kind in ("gcc", "tidy", *(["clang"] if slow else [])):
        outputs = sorted(build.rglob(f"*.{kind}"))
        if not outputs:
            raise FileNotFoundError(f"no *.{kind} in {build}: make analyze")
        for output in outputs:
            source = ROOT / output.relative_to(build).with_suffix(".c")
            if source.exists():
                found |= dict(read(output.read_text(), ROOT))
    return complaints(found, accepted(ACCEPTED.read_text()), slow)


if __name__ == "__main__":
    wrong = look(ROOT / "build" / "analyze", slow=True)
    print("\n".join(wrong) or "Nothing new.")
    sys.exit(1 if wrong else 0)
