# SPDX-License-Identifier: BSD-2-Clause
"""What toolchains need and fetch; no compiler is run."""

import gzip
import hashlib
import importlib.util
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl import schema
from kvmctl.errors import BuildError, ManifestError
from kvmctl.guest import manifest, toolchains
from kvmctl.guest.fetch import Package
from kvmctl.guest.toolchains import embed, python
from kvmctl.guest.toolchains.library import Library
from support.odd import damaged

_HASH = "0" * 64


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KVMCTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("language", schema.compiled())
def test_what_is_missing_is_named(language: str, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main").touch()
    (tmp_path / "guest.toml").write_text(
        f'language = "{language}"\nsources = ["main"]\n')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BuildError) as e:
        toolchains.build(manifest.load(tmp_path), tmp_path / "out")
    assert " is missing: " in str(e.value)
    assert "apt-get install" in str(e.value) or "pip install" in str(e.value)


@pytest.mark.parametrize("name, text, words", [
    ("Cargo.toml", 'language = "rust"', "cargo is missing: apt-get install"),
    ("it.c", f'[fetch]\nnpm = "x@1"\nsha256 = "{_HASH}"',
     "npm is missing: apt-get install"),
])
def test_what_this_guest_needs(tmp_path: Path,
                               monkeypatch: pytest.MonkeyPatch, name: str,
                               text: str, words: str) -> None:
    """Beyond its language, which is there."""
    (tmp_path / name).touch()
    (tmp_path / "guest.toml").write_text(f'sources = ["{name}"]\n{text}\n')
    for there in ("gcc", "rustc"):
        (tmp_path / there).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=words):
        toolchains.build(manifest.load(tmp_path), tmp_path / "out")


@pytest.mark.parametrize("language, source", [
    ("go", "main.go"), ("pascal", "it.pas"), ("ocaml", "it.ml"),
    ("executable", "it"), ("rust", "Cargo.toml"),
])
def test_libraries_that_would_be_ignored(tmp_path: Path, language: str,
                                         source: str) -> None:
    (tmp_path / source).touch()
    (tmp_path / "guest.toml").write_text(
        f'language = "{language}"\nsources = ["{source}"]\n'
        'libraries = ["m"]\n')
    with pytest.raises(ManifestError, match='"libraries" is nothing to'):
        manifest.load(tmp_path)


def test_every_language_has_one_toolchain() -> None:
    found = [name for t in toolchains.TOOLCHAINS for name in t.languages]
    assert sorted(found) == sorted(schema.choices("guest", "language"))


def test_headers_of_a_module_are_sources(tmp_path: Path) -> None:
    """C that becomes WebAssembly includes what other C does."""
    for name in ("it.c", "words.h", "it.wasm"):
        (tmp_path / name).touch()
    for source, there in (("it.c", True), ("it.wasm", False)):
        (tmp_path / "guest.toml").write_text(
            f'name = "it"\nlanguage = "wasm"\nsources = ["{source}"]\n')
        it = manifest.load(tmp_path)
        plan = toolchains.find("wasm").plan(it, tmp_path / "w", tmp_path / "o")
        assert (it.directory / "words.h" in plan.inputs) is there


@pytest.mark.parametrize("package", ["minimal", "stdlib"])
def test_an_update_of_pythons_library(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Its modules are in two packages: either makes another frozen library."""
    def frozen() -> str:
        guest = manifest.load(tmp_path)
        (name,) = toolchains.find("python").plan(
            guest, tmp_path / "w", tmp_path / "o").identity
        return name
    (tmp_path / "it.py").touch()
    (tmp_path / "guest.toml").write_text(
        'name = "it"\nlanguage = "python"\nsources = ["it.py"]\n')
    monkeypatch.setattr(python, "_PACKAGE_FILES", tmp_path)
    for name in ("minimal", "stdlib"):
        (tmp_path / f"libpython3.11-{name}:amd64.md5sums").write_text("1")
    before = frozen()
    assert frozen() == before
    (tmp_path / f"libpython3.11-{package}:amd64.md5sums").write_text("2")
    assert frozen() != before


def test_no_way_to_a_libc(tmp_path: Path) -> None:
    (tmp_path / "main.py").touch()
    (tmp_path / "guest.toml").write_text(
        'language = "python"\nlibc = "musl"\nsources = ["main.py"]\n')
    with pytest.raises(BuildError, match="no python compiler for musl"):
        toolchains.build(manifest.load(tmp_path), tmp_path / "out")


@pytest.mark.parametrize("text, words", [
    (f'npm = "x@1"\npypi = "x==1"\nsha256 = "{_HASH}"', ["npm", "pypi"]),
    (f'sha256 = "{_HASH}"', ["npm", "pypi"]),
    (f'npm = "x"\nsha256 = "{_HASH}"', ["version"]),
    (f'npm = "--upload@1"\nsha256 = "{_HASH}"', ["version"]),
    ('npm = "x@1"', ["sha256"]),
    ('npm = "x@1"\nsha256 = "12"', ["sha256"]),
    (f'npm = "x@1"\nsha256 = "{_HASH}"\nsources = ["/etc/x.c"]',
     ["sources", "inside"]),
    (f'npm = "x@1"\nsha256 = "{_HASH}"\ninclude = ["a/../../b"]',
     ["include", "inside"]),
    (f'nmp = "x@1"\nsha256 = "{_HASH}"', ['"npm"?']),
])
def test_bad_fetch(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "it.c").touch()
    (tmp_path / "guest.toml").write_text(
        f'sources = ["it.c"]\n[fetch]\n{text}\n')
    with pytest.raises(ManifestError) as e:
        manifest.load(tmp_path)
    for word in ["[fetch]", *words]:
        assert word in str(e.value)


def test_fetch_is_for_c(tmp_path: Path) -> None:
    (tmp_path / "it.lua").touch()
    (tmp_path / "guest.toml").write_text(
        'language = "lua"\nsources = ["it.lua"]\n[fetch]\nnpm = "x@1"\n'
        f'sha256 = "{_HASH}"\n')
    with pytest.raises(ManifestError, match="for C"):
        manifest.load(tmp_path)


def archive(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def registry(monkeypatch: pytest.MonkeyPatch, data: bytes) -> list[str]:
    """Every package is this; the names that were asked for."""
    asked: list[str] = []

    def download(self: Package, there: Path) -> None:
        asked.append(self.name)
        (there / "it.tgz").write_bytes(data)
    monkeypatch.setattr(Package, "_download", download)
    return asked


def package(data: bytes) -> Package:
    return Package("npm", "it", "1.0", hashlib.sha256(data).hexdigest())


def test_fetched_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive(("package/src/it.c", b"int it;"), ("package/x", b""))
    asked = registry(monkeypatch, data)
    for _ in range(2):
        where = package(data).fetch()
        assert (where / "src" / "it.c").read_bytes() == b"int it;"
    assert asked == ["it"] and where.parent == cache
    assert [p.name for p in cache.iterdir()] == [where.name]


def test_what_is_kept_is_on_the_disk(cache: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """What has its name is not looked at again: not half of it after a crash."""
    data = archive(("package/src/it.c", b"int it;"))
    registry(monkeypatch, data)
    done: list[str] = []
    fsync, rename = os.fsync, os.replace

    def synced(handle: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def renamed(source: Path, target: Path) -> None:
        done.append("renamed")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    package(data).fetch()
    assert done == ["package", "src", "it.c", "renamed", cache.name]
    # And of what is compiled of it.
    done.clear()
    archive_file = Library(package(data), "src", ("src/it.c",), ()).compile()
    assert done == ["partial.a", "renamed", cache.name]
    assert archive_file.exists()


def test_another_file_is_refused(cache: Path,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    registry(monkeypatch, archive(("package/x", b"bad")))
    with pytest.raises(BuildError, match="SHA-256"):
        package(b"good").fetch()
    assert not list(cache.iterdir())


def test_nothing_of_another_file_is_run(
        cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip asks an sdist's own setup.py what it is: only of the right file."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "it-1.0.tar.gz").write_bytes(archive(
        ("it-1.0/setup.py", f"open({str(tmp_path / 'ran')!r}, 'w')".encode()),
        ("it-1.0/PKG-INFO", b"Metadata-Version: 1.0\nName: it\n")))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    # As offline: this environment's setuptools.
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    with pytest.raises(BuildError, match="cannot fetch it 1.0") as e:
        Package("pypi", "it", "1.0", _HASH).fetch()
    assert _HASH in str(e.value) and not (tmp_path / "ran").exists()
    assert not list(cache.iterdir())


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out"])
@pytest.mark.parametrize("new_python", [True, False])
def test_nothing_is_unpacked_outside(
        cache: Path, monkeypatch: pytest.MonkeyPatch, name: str,
        new_python: bool) -> None:
    if not new_python:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    data = archive((name, b"bad"))
    registry(monkeypatch, data)
    try:
        # New tarfile makes /etc/out a relative name, and refuses the others.
        where = package(data).fetch()
        assert name == "/etc/out" and new_python
        assert (where / "out").exists() or where.is_file()
    except (BuildError, tarfile.TarError):
        assert not list(cache.iterdir())
    assert not (cache / "out").exists() and not Path("/etc/out").exists()


def test_embedded_names_are_quoted() -> None:
    text = embed.table([('a"b\\c', Path("/x y"))])
    assert '.asciz "a\\"b\\\\c"' in text and '.incbin "/x y"' in text
    # No name ends its line, and none is of another encoding.
    text = embed.table([("a\n.globl x\t\u00fc", Path("/x"))])
    assert '.asciz "a\\012.globl x\\011\\303\\274"' in text


def test_any_archive(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An sdist that is a zip, for instance, or one that is cut off."""
    good = archive(("package/src/it.c", b"int it;"), ("package/x", b"x" * 999))

    @given(st.one_of(damaged(good), damaged(gzip.decompress(good)),
                     st.just(b"PK\3\4")))
    def any_archive(data: bytes) -> None:
        registry(monkeypatch, data)
        try:
            assert package(data).fetch().is_relative_to(cache)
        except BuildError as e:
            assert "it" in str(e)
        for path in cache.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    any_archive()


@pytest.mark.languages
def test_syntax_errors_are_found_at_build(kvmctl: Any,
                                          tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def broken(:\n")
    (tmp_path / "guest.toml").write_text(
        'name = "it"\nlanguage = "python"\nsources = ["main.py"]\n')
    assert kvmctl("build", tmp_path, "-o", tmp_path / "out") == 4
    assert "main.py" in kvmctl.err and "SyntaxError" in kvmctl.err
