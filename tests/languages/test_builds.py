# SPDX-License-Identifier: BSD-2-Clause
"""Builds in other languages: only when something changed, and alike."""

import shutil
from pathlib import Path

import pytest

from kvmctl.engine import Engine
from kvmctl.guest import manifest, toolchains
from support.paths import SOURCES

pytestmark = pytest.mark.languages

#: One guest for each toolchain.
ALIKE = ["rust-hello", "go-hello", "nim-hello", "pascal-hello", "ocaml-hello",
         "lua-edge", "quickjs-render", "python-wsgi", "wasm-hello",
         pytest.param("zig-hello", marks=pytest.mark.long)]


@pytest.mark.parametrize("name", ALIKE)
def test_incremental_and_reproducible(name: str, tmp_path: Path) -> None:
    """The same sources elsewhere give the same bytes; no change, no build."""
    records = []
    for place in ("a", "b c" if name == "nim-hello" else "some/other place/of"):
        copy = tmp_path / place / name
        shutil.copytree(SOURCES / name, copy)
        built = toolchains.build(manifest.load(copy), tmp_path / place / "out")
        assert built.fresh
        records.append(built.record)
    assert not toolchains.build(manifest.load(copy),
                                tmp_path / place / "out").fresh
    assert records[0]["sha256"] == records[1]["sha256"]
    source = manifest.load(copy).sources[0]
    source.write_text(source.read_text().replace("ello", "i"))
    if name in ("lua-edge", "quickjs-render", "python-wsgi"):
        source.write_text(source.read_text() + "\n")
    changed = toolchains.build(manifest.load(copy), tmp_path / place / "out")
    assert changed.fresh and changed.record["sha256"] != records[1]["sha256"]


@pytest.mark.kvm
def test_cargo(tmp_path: Path) -> None:
    """Cargo builds a package of two files, with the SDK by its path."""
    where = tmp_path / "of cargo"
    (where / "src").mkdir(parents=True)
    (where / "guest.toml").write_text(
        'name = "it"\nlanguage = "rust"\nsources = ["Cargo.toml"]\n'
        """cflags = ["--cfg", 'words="one two"']\n""")
    (where / "Cargo.toml").write_text(
        '[package]\nname = "it"\nversion = "0.1.0"\nedition = "2021"\n'
        f'[dependencies]\nkvm = {{ path = "{SOURCES}/sdk/rust" }}\n')
    (where / "src" / "main.rs").write_text(
        "mod words;\n\nfn main() {\n"
        "    kvm::serve(|r: &kvm::Request| match r.url() {\n"
        '        "/fail" => panic!("asked to fail"),\n'
        "        url => kvm::Response::text(words::hello(url)),\n    });\n}\n")
    words = where / "src" / "words.rs"
    words.write_text('#[cfg(words = "one two")]\n'
                     "pub fn hello(url: &str) -> String {\n"
                     '    format!("Hello {}\\n", url)\n}\n')
    built = toolchains.build(manifest.load(where), tmp_path / "out")
    assert str(tmp_path).encode() not in built.executable.read_bytes()
    log: list[str] = []
    with Engine(lambda _program, _kind, text: log.append(text)) as engine:
        it = engine.define("it", {"filename": str(built.executable)})
        for _ in range(2):
            assert it.request(url="/a").body == b"Hello /a\n"
            assert it.request(url="/fail").status == 500
    assert "asked to fail" in "".join(log)
    # Cargo.lock is there since the first build.
    toolchains.build(manifest.load(where), tmp_path / "out")
    assert not toolchains.build(manifest.load(where), tmp_path / "out").fresh
    words.write_text(words.read_text().replace("Hello", "Bye"))
    assert toolchains.build(manifest.load(where), tmp_path / "out").fresh
