# SPDX-License-Identifier: BSD-2-Clause
"""guest.toml and edge.toml: what is wrong is named with its place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl import site
from kvmctl.errors import ManifestError
from kvmctl.guest import manifest
from support.paths import ROOT, SOURCES


@pytest.mark.parametrize(
    "path", sorted(SOURCES.rglob("guest.toml")), ids=lambda p: p.parent.name)
def test_our_guests_are_right(path: Path) -> None:
    assert manifest.load(path.parent).sources


def test_our_sites_are_right() -> None:
    for path in (ROOT / "vcl" / "examples").glob("*.toml"):
        assert site.load(path).routes


@pytest.mark.parametrize("text, words", [
    ("name = ", ["Invalid value"]),
    ('sources = ["it.c"]\nlangauge = "c"', ["langauge", '"language"?']),
    ("", ["sources"]),
    ('sources = ["none.c"]', ["none.c"]),
    ('sources = "it.c"', ["sources", "list"]),
    ("sources = [1]", ["sources", "entry 1", "string"]),
    ('sources = ["it.c"]\nlanguage = "cobol"', ["language", "c++"]),
    ('sources = ["it.c"]\nlibc = "dietlibc"', ["libc", "musl"]),
    ('sources = ["it.c"]\nname = "a b"', ["name"]),
    ('sources = ["it.c"]\nname = "../../up"', ["name"]),
    ('sources = ["it.c"]\n[limits]\nmax_memroy = 3', ["[limits]",
                                                     '"max_memory"?']),
    ('sources = ["it.c"]\n[limits]\nmax_memory = "3"', ["max_memory"]),
    ('sources = ["it.c"]\n[limits]\nmax_memory = true', ["max_memory"]),
    ('sources = ["it.c"]\nlimits = 3', ["limits"]),
    ('sources = ["it.c"]\n[permissions]\nroot = true', ["root"]),
    ('sources = ["it.c"]\n[permissions]\nallowed_paths = "/x"',
     ["allowed_paths", "list"]),
    ('sources = ["it.c"]\n[permissions]\nallowed_paths = ["/x", 3]',
     ["allowed_paths", "entry 2"]),
])
def test_bad_guests(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "it.c").touch()
    (tmp_path / "guest.toml").write_text(text)
    with pytest.raises(ManifestError) as e:
        manifest.load(tmp_path)
    for word in ["guest.toml", *words]:
        assert word in str(e.value)


def test_allowed_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "it.c").touch()
    (tmp_path / "guest.toml").write_text(
        'sources = ["it.c"]\n[permissions]\nallowed_paths = ["/abs", "$HOME/x",'
        ' "photos", "../up", {real = "db", virtual = "/data", writable = true},'
        ' {real = "/etc/hosts", symlink = true}]\n')
    assert manifest.load(tmp_path).settings["allowed_paths"] == [
        {"real": "/abs"}, {"real": "$HOME/x"},
        {"real": str(tmp_path / "photos"), "virtual": "/photos"},
        {"real": str(tmp_path.parent / "up"), "virtual": "/up"},
        {"real": str(tmp_path / "db"), "virtual": "/data", "writable": True},
        {"real": "/etc/hosts", "symlink": True}]


_PROGRAM = '[programs.it]\nfile = "/x"\n'


@pytest.mark.parametrize("text, words", [
    ("[sites]", ['"site"?']),
    ("[site]\nname = 3", ["[site]", "name"]),
    ('[site]\nname = "a/b"', ["a/b"]),
    ("[programs.it]", ["[programs.it]", "guest", "file"]),
    ('[programs.it]\nfile = "/x"\nguest = "y"', ["either"]),
    ('[programs."a b"]\nfile = "/x"', ["a b"]),
    (_PROGRAM + "max_memroy = 3", ['"max_memory"?']),
    (_PROGRAM + '[[routes]]\npath = "/"', ["number 1", "exactly one"]),
    (_PROGRAM + '[[routes]]\nprogram = "ti"', ["number 1", '"ti"']),
    (_PROGRAM + '[[routes]]\nprogram = "it"\norigin = "o"', ["exactly one"]),
    (_PROGRAM + '[[routes]]\norigin = "o"', ['origin "o"']),
    (_PROGRAM + '[[routes]]\nprogram = "it"\npath = "x"', ["URL"]),
    (_PROGRAM + '[[routes]]\nprogram = "it"\npath = "/a b"', ["%20"]),
    (_PROGRAM + '[[routes]]\nprogram = "it"\npath = "/\\"x"', ["%22"]),
    (_PROGRAM + '[[routes]]\nprogram = "it"\npath = "/"\npath_prefix = "/"',
     ["only one"]),
    (_PROGRAM + '[[routes]]\nprogram = "it"\npath_regex = "("', ["path_regex"]),
    (_PROGRAM + '[[routes]]\nprogram = "it"\nmethods = ["G T"]', ["method"]),
    (_PROGRAM + '[[routes]]\nprogram = "it"\nttl = -1', ["ttl"]),
    (_PROGRAM + '[[routes]]\nsynth = {program = "it", status = 42}',
     ["synth", "200"]),
    (_PROGRAM + '[[routes]]\nheader = {program = "it", name = "a:b"}',
     ["header", "name"]),
    ('[origins.o]\nport = 80', ["[origins.o]", "host"]),
    ('[origins.o]\nhost = "a;b"', ["host"]),
    ('[origins.o]\nhost = "a"\nport = "; "', ["port"]),
    ('routes = 3', ["routes"]),
    ('programs = 3', ["programs"]),
])
def test_bad_sites(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(text)
    with pytest.raises(ManifestError) as e:
        site.load(path)
    for word in ["edge.toml", *words]:
        assert word in str(e.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no-such"):
        site.load(tmp_path / "no-such.toml")
    with pytest.raises(ManifestError, match="guest.toml"):
        manifest.load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(ManifestError, match="binary.toml"):
        site.load(tmp_path / "binary.toml")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)
_KEYS = st.sampled_from(["site", "programs", "routes", "origins", "name",
                         "host", "path", "program", "synth", "header",
                         "probe", "file", "ttl", "methods", "status"])
_TABLES = st.recursive(
    _JSON, lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(_KEYS, inner, max_size=5), max_leaves=20)


@given(st.dictionaries(_KEYS, _TABLES, max_size=4))
def test_any_table_has_an_answer(table: dict[str, object]) -> None:
    try:
        site.parse(Path("/edge/edge.toml"), table)
    except ManifestError as e:
        assert str(e)
