# SPDX-License-Identifier: BSD-2-Clause
"""Builds in other languages: only when something changed, and alike."""

import shutil
from pathlib import Path

import pytest

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
    for place in ("a", "b" if name == "nim-hello" else "some/other/place"):
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
