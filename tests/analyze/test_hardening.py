# SPDX-License-Identifier: BSD-2-Clause
"""The engine and the VMOD are built as HARDENING of vmod/build.mk says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile

from support.paths import BUILD, ROOT

LIBRARIES = ("lib/libtkcompute.so", "vmods/libvmod_tinykvm.so")
#: DT_FLAGS and DT_FLAGS_1, elf.h.
DF_TEXTREL, DF_BIND_NOW, DF_1_NOW = 0x4, 0x8, 0x1


@pytest.fixture(params=LIBRARIES)
def elf(request: pytest.FixtureRequest) -> Iterator[ELFFile]:
    with (BUILD / request.param).open("rb") as f:
        yield ELFFile(f)


def imports(path: Path) -> set[str]:
    """Names that an object needs from elsewhere."""
    with path.open("rb") as f:
        table = ELFFile(f).get_section_by_name(".symtab")
        return {s.name for s in table.iter_symbols()
                if s["st_shndx"] == "SHN_UNDEF"}


def test_what_is_relocated_is_read_only_afterwards(elf: ELFFile) -> None:
    """Full RELRO: all symbols are bound at once, and their table is sealed."""
    dynamic = elf.get_section_by_name(".dynamic")
    tags = {t.entry.d_tag: t.entry.d_val for t in dynamic.iter_tags()}
    assert any(s["p_type"] == "PT_GNU_RELRO" for s in elf.iter_segments())
    assert tags.get("DT_FLAGS", 0) & DF_BIND_NOW
    assert tags.get("DT_FLAGS_1", 0) & DF_1_NOW
    assert "DT_TEXTREL" not in tags
    assert not tags.get("DT_FLAGS", 0) & DF_TEXTREL


def test_nothing_is_writable_and_executable(elf: ELFFile) -> None:
    both = P_FLAGS.PF_W | P_FLAGS.PF_X
    for segment in elf.iter_segments():
        assert segment["p_flags"] & both != both, segment["p_type"]
    (stack,) = [s for s in elf.iter_segments()
                if s["p_type"] == "PT_GNU_STACK"]
    assert not stack["p_flags"] & P_FLAGS.PF_X


def test_all_of_our_code_is_compiled_so(elf: ELFFile) -> None:
    """The compiler's own word in the debugging information, file by file."""
    ours = set()
    for unit in elf.get_dwarf_info().iter_CUs():
        top = unit.get_top_DIE().attributes
        name = Path(top["DW_AT_name"].value.decode())
        if name.suffix != ".c" or name.parts[0] != "vmod":
            continue
        ours.add(str(name))
        producer = top["DW_AT_producer"].value.decode()
        assert "-fstack-protector-strong" in producer, name
        assert "-fstack-clash-protection" in producer, name
    folders = ["core", "core/linux", "compute", "compute/sockets"]
    if b"vmod_call" in elf.get_section_by_name(".dynstr").data():
        folders.append("varnish")
    assert ours >= {str(p.relative_to(ROOT)) for folder in folders
                    for p in (ROOT / "vmod" / folder).glob("*.c")}


@pytest.mark.parametrize("name", ["core/error", "core/linux/path",
                                  "compute/settings", "varnish/update"])
def test_copies_are_checked(name: str) -> None:
    """_FORTIFY_SOURCE: one file of each layer that formats text."""
    found = imports(BUILD / "obj" / "vmod" / f"{name}.o")
    assert any(n.endswith("_chk") for n in found), sorted(found)


def test_stacks_are_checked() -> None:
    """Every layer has functions with arrays, hence with canaries."""
    for layer in ("core", "core/linux", "compute", "compute/sockets",
                  "varnish"):
        objects = (BUILD / "obj" / "vmod" / layer).glob("*.o")
        assert any("__stack_chk_fail" in imports(o) for o in objects), layer
