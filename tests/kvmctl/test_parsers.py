# SPDX-License-Identifier: BSD-2-Clause
"""What kvmctl reads and did not write: it is read right, or there are words for it.

Every error of ours names the file and comes out as an exit code; any other one
is a traceback to a user, and fails here.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from kvmctl import schema, site
from kvmctl.errors import ExitCode, KvmctlError, ManifestError
from kvmctl.guest import manifest
from kvmctl.trial import cases
from kvmctl.vcl import render
from support.odd import damaged, like, toml


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with what the documents name."""
    directory = tmp_path_factory.mktemp("it")
    (directory / "it.c").touch()
    (directory / "it").write_bytes(b"\x7fELF")
    (directory / "loop").symlink_to("loop")
    (directory / "tests").mkdir()
    yield directory


def outcome(path: Path, kind: type[KvmctlError],
            read: Callable[[Path], object]) -> str:
    """right or wrong; nothing else may happen."""
    try:
        read(path)
    except kind as e:
        assert path.name in str(e)
        return "wrong"
    return "right"


# -- guest.toml, edge.toml, tests/*.toml --------------------------------------

def _site(path: Path) -> None:
    render(site.load(path), None, "it")


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "guest": ("guest.toml", manifest.load), "edge": ("edge.toml", _site),
    "test": ("tests/first.toml", cases.load)}


@pytest.mark.parametrize("kind", schema.NAMES)
def test_any_document(place: Path, kind: str) -> None:
    path, read, seen = place / FILES[kind][0], FILES[kind][1], Counter[str]()

    @given(like(schema.load(kind)))
    def any_document(table: Any) -> None:
        path.write_bytes(toml(table))
        seen[outcome(path, ManifestError, read)] += 1

    any_document()
    assert len(seen) == 2, seen         # else nobody looked at anything


@pytest.mark.parametrize("kind", schema.NAMES)
def test_any_bytes_of_one(place: Path, kind: str, kvmctl: Any) -> None:
    """check, too, whose words are for all files and settings."""
    path, read = place / FILES[kind][0], FILES[kind][1]

    @given(like(schema.load(kind)).map(toml).flatmap(damaged))
    def any_bytes(data: bytes) -> None:
        path.write_bytes(data)
        told = outcome(path, ManifestError, read)
        code = kvmctl("check", path)
        assert code in (ExitCode.OK, ExitCode.MANIFEST, ExitCode.HOST)
        assert told == "right" or code == ExitCode.MANIFEST

    any_bytes()


_DEEP = "[" * 40 + "]" * 40


@pytest.mark.parametrize("kind, text, words", [
    ("guest", "x = " + "1" * 5000, "guest.toml:1: .* 64 bits"),
    ("guest", 'sources = ["it.c"]\n[limits]\nmax_memory = 0x' + "f" * 9000,
     r"guest.toml:3: \[limits\]: .* 64 bits"),
    ("guest", "x = -9223372036854775809", "guest.toml:1: .* 64 bits"),
    ("guest", "a." * 3000 + "b = 1", "guest.toml: nested too deeply"),
    ("guest", f'sources = ["it.c"]\nname = {_DEEP}', "nested too deeply"),
    ("guest", 'sources = ["a\\u0000"]', r'guest.toml:1: "sources" .* U\+0000'),
    ("guest", 'sources = ["loop"]', "guest.toml:1: there is no source"),
    ("guest", f'sources = ["{"x" * 5000}"]', "guest.toml:1: there is no"),
    ("guest", 'sources = ["it.c"]\n[permissions]\nallowed_paths = ["a\\u0000"]',
     r'guest.toml:3: \[permissions\]: "allowed_paths" .* U\+0000'),
    ("edge", '[programs.it]\nguest = "\\u0000"', r"edge.toml:2: .* U\+0000"),
    ("edge", '[[routes]]\nsynth = { body = "\\ufdd0" }',
     r'edge.toml:2: .*number 1.synth: "body" .* U\+FDD0'),
    ("edge", '[[routes]]\nsynth = { body = "x" }\npath_regex = "a{9999999999}"',
     'edge.toml:3: .* "path_regex" is no regular expression'),
    ("edge", '[[routes]]\nsynth = { body = "x" }\npath_regex = "'
     + "(" * 5000 + '"', 'edge.toml:3: .* "path_regex" is no regular'),
    ("edge", '[acls.net]\nallow = ["fe80::1%eth0"]',
     "edge.toml:2: .* no address or network"),
    ("test", '[[tests]]\nname = "x"\nexpect = { matches = "a{9999999999}" }',
     'first.toml:3: .* "matches" is no regular expression'),
    ("test", '[[tests]]\nname = "x"\nrequest = { body_file = "a\\u0000" }',
     r'first.toml:3: .* "body_file" .* U\+0000'),
])
def test_errors_that_were_tracebacks(place: Path, kind: str, text: str,
                                     words: str) -> None:
    path = place / FILES[kind][0]
    path.write_text(text)
    with pytest.raises(ManifestError, match=words):
        FILES[kind][1](path)


def test_a_body_may_hold_anything(place: Path) -> None:
    path = place / "tests" / "first.toml"
    path.write_text('[[tests]]\nname = "x"\nrequest = { body = "a\\u0000b" }\n')
    assert cases.load(path).cases[0].request.body == b"a\0b"


def test_a_ring_of_links(place: Path, kvmctl: Any) -> None:
    (place / "guest.toml").write_text("")
    for command in ("check", "inspect", "build", "plan"):
        assert kvmctl(command, place / "loop") in iter(ExitCode)
        assert "loop" in kvmctl.out + kvmctl.err
    assert kvmctl("test", place, "-k", "a{9999999999}") == ExitCode.USAGE
