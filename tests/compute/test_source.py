# SPDX-License-Identifier: BSD-2-Clause
"""Programs from URIs and archives: what is taken, what is refused, what is
kept. No guest runs but to show that the right file was taken."""

import hashlib
import io
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine.library import Engine
from kvmctl.errors import GuestError, HostError, ManifestError
from support import origin
from support.paths import guest

HELLO = "hello"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path,
          monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "cache"
    monkeypatch.setenv("TINYKVM_CACHE_DIR", str(path))
    yield path


def elf() -> bytes:
    return guest(HELLO).read_bytes()


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def local(engine: Engine, path: Path, member: str = "",
          **more: Any) -> Any:
    return engine.define("it", {"uri": f"file://{path}{member}"} | more)


def packed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {"tar": tar(files), "tar.gz": tar(files, "w:gz"),
            "tar.xz": tar(files, "w:xz"), "zip": zipped(files)}


@pytest.mark.kvm
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
def test_archives(engine: Engine, tmp_path: Path, kind: str) -> None:
    files = {"readme": b"words", "./bin/hello": elf()}
    path = tmp_path / f"a.{kind}"
    path.write_bytes(packed(files)[kind])
    program = local(engine, path, "#bin/hello")
    assert program.request().body == b"Hello, World!\n"
    # The first file is not one that runs.
    with pytest.raises(ManifestError, match="not an ELF"):
        local(engine, path)
    with pytest.raises(ManifestError, match="no file \"bin/other\""):
        local(engine, path, "#bin/other")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up",
                                  "a/.."])
def test_names_that_lead_out(engine: Engine, tmp_path: Path, kind: str,
                             name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(packed({name: b"x", "hello": elf()})[kind])
    with pytest.raises(ManifestError, match="names are relative"):
        local(engine, path, "#hello")


def test_links_and_devices_are_no_files(engine: Engine,
                                        tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
                     tarfile.FIFOTYPE, tarfile.DIRTYPE):
            entry = tarfile.TarInfo("hello")
            entry.type = kind
            entry.linkname = "/bin/true"
            archive.addfile(entry)
    path = tmp_path / "a.tar"
    path.write_bytes(out.getvalue())
    with pytest.raises(ManifestError, match="no file"):
        local(engine, path, "#hello")


def test_bombs(engine: Engine, tmp_path: Path) -> None:
    zeros = bytes(100 << 20)
    path = tmp_path / "a"
    for data in (zipped({"hello": zeros}), tar({"hello": zeros}, "w:xz"),
                 tar({"hello": zeros}, "w:gz")):
        path.write_bytes(data)
        with pytest.raises(ManifestError, match="unpacks to more than"):
            local(engine, path)
        # Nor in front of what is wanted.
        with pytest.raises(ManifestError, match="unpacks to more than"):
            local(engine, path, "#other")
    path.write_bytes(tar({f"f{i}": b"" for i in range(10001)}
                         | {"hello": elf()}))
    with pytest.raises(ManifestError, match="no file"):
        local(engine, path, "#hello")


def harmed(whole: bytes, at: int) -> bytes:
    """Three bytes are others."""
    return whole[:at] + bytes(b ^ 255 for b in whole[at:at + 3]) + \
        whole[at + 3:]


@pytest.mark.parametrize("harm", [
    lambda whole: whole[:-20000], lambda whole: harmed(whole, 0),
    lambda whole: harmed(whole, 30), lambda whole: whole[:1000],
])
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
def test_damaged_archives(engine: Engine, tmp_path: Path, kind: str,
                          harm: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a"
    path.write_bytes(harm(packed({"hello": elf()})[kind]))
    with pytest.raises(ManifestError, match="archive|no file"):
        local(engine, path, "#hello")


@pytest.mark.parametrize("cut", [100, 600, 5000])
@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "zip"])
def test_archives_that_end_early(engine: Engine, tmp_path: Path, kind: str,
                                 cut: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(packed({"hello": elf()})[kind][:-cut])
    with pytest.raises(ManifestError, match="archive is damaged"):
        local(engine, path, "#hello")


@pytest.mark.parametrize("kind", ["tar.xz", "zip"])
def test_damage_of_the_data_is_seen(engine: Engine, tmp_path: Path,
                                    kind: str) -> None:
    """libarchive does not look at gzip's sum: the setting sha256 is for it."""
    whole = packed({"hello": elf()})[kind]
    path = tmp_path / "a"
    for part in range(1, 10):
        path.write_bytes(harmed(whole, len(whole) * part // 10))
        with pytest.raises(ManifestError, match="archive is damaged"):
            local(engine, path, "#hello")


@pytest.mark.kvm
def test_a_tar_without_its_filling(engine: Engine, tmp_path: Path) -> None:
    """All of the file is there; tar has no sum of it that could be wrong."""
    path = tmp_path / "a"
    path.write_bytes(tar({"hello": elf()})[:-5000])
    assert local(engine, path, "#hello").request().body == b"Hello, World!\n"


def test_any_compressed_rubbish(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data in (b"\x1f\x8b" + os.urandom(1000), lzma.compress(b"rubbish"),
                 b"PK\3\4" + os.urandom(1000),
                 b"\xfd7zXZ\0" + os.urandom(1000)):
        path.write_bytes(data)
        with pytest.raises(ManifestError, match="archive"):
            local(engine, path)


def test_not_an_archive(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(elf())
    with pytest.raises(ManifestError, match="names a file in an archive"):
        local(engine, path, "#hello")


def test_sums(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(elf())
    good = hashlib.sha256(elf()).hexdigest()
    local(engine, path, sha256=good.upper())
    engine.define("it", {"filename": str(path), "sha256": good})
    for bad in ("0" * 64, good[:-1], good + "0", "x" * 64, ""):
        with pytest.raises(ManifestError, match="sha256"):
            local(engine, path, sha256=bad)


def test_sums_of_relative_paths(engine: Engine, tmp_path: Path,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hello").write_bytes(elf())
    monkeypatch.chdir(tmp_path)
    good = hashlib.sha256(elf()).hexdigest()
    for name in ("hello", "./hello", "../" + tmp_path.name + "/hello"):
        engine.define("it", {"filename": name, "sha256": good})
        with pytest.raises(ManifestError, match="has the SHA-256 " + good):
            engine.define("it", {"filename": name, "sha256": "0" * 64})


class Server:
    """Counts what it is asked, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.data = elf()
        self.tag: str | None = '"one"'
        self.status = 200

    def __call__(self, it: Any) -> None:
        self.asked.append(dict(it.headers))
        if self.status != 200:
            origin.body(b"", self.status)(it)
        elif self.tag and it.headers.get("If-None-Match") == self.tag:
            it.send_response(304)
            it.end_headers()
        else:
            fields = {"ETag": self.tag} if self.tag else {}
            origin.body(self.data, **fields)(it)


def boot(url: str, log: Any = None, **more: Any) -> None:
    entries: list[str] = []
    with Engine(lambda _p, _k, text: entries.append(text)) as engine:
        engine.define("it", {"uri": url} | more).start()
    if log is not None:
        log.extend(entries)


@pytest.mark.kvm
def test_copies(cache: Path) -> None:
    server = Server()
    log: list[str] = []
    with origin.serving(server) as url:
        boot(url, log)
        assert "no copy" not in "".join(log)
        assert {p.suffix for p in cache.iterdir()} == {"", ".json"}
        assert (cache / hashlib.sha256(elf()).hexdigest()).exists()
        boot(url)
        assert server.asked[1]["If-None-Match"] == '"one"'
        # Another one: the old content goes.
        server.data, server.tag = elf() + b"\0", '"two"'
        boot(url)
        assert len([*cache.iterdir()]) == 2
        # Not a program: refused, and the copy stays what it was.
        server.data, server.tag = b"<html>", '"three"'
        with pytest.raises(ManifestError, match="not an ELF|status"):
            boot(url)
        server.status = 500
        log.clear()
        boot(url, log)
        assert "the copy from before is used" in "".join(log)
        # Withdrawn is withdrawn.
        server.status = 404
        with pytest.raises((ManifestError, GuestError), match="status 404"):
            boot(url)
    boot(url)
    # By nobody's leave when it is pinned.
    boot(url, sha256=hashlib.sha256(elf() + b"\0").hexdigest())
    with pytest.raises((ManifestError, GuestError), match="SHA-256"):
        boot(url, sha256="0" * 64)


@pytest.mark.kvm
@pytest.mark.parametrize("harm", [
    lambda p: p.write_bytes(b""),
    lambda p: p.write_bytes(p.read_bytes()[:-1]),
    lambda p: p.write_bytes(b"{}"),
    lambda p: (p.unlink(), p.mkdir()),
    lambda p: p.unlink(),
    lambda p: (p.unlink(), os.mkfifo(p)),
])
def test_damaged_copies_are_none(cache: Path, harm: Any) -> None:
    server = Server()
    with origin.serving(server) as url:
        boot(url)
        names = list(cache.iterdir())
        for name in names:
            harm(name)
            boot(url)
            for p in cache.iterdir():
                if p.is_dir():
                    p.rmdir()
            boot(url)


@pytest.mark.kvm
def test_a_forged_note_names_no_other_file(cache: Path) -> None:
    server = Server()
    with origin.serving(server) as url:
        boot(url)
        note = next(cache.glob("*.json"))
        told = json.loads(note.read_text())
        for sum_ in ("../../etc/passwd", "0" * 64, 7, None):
            note.write_text(json.dumps(told | {"sha256": sum_}))
            boot(url)


@pytest.mark.kvm
def test_nowhere_to_keep_copies(monkeypatch: pytest.MonkeyPatch,
                                tmp_path: Path) -> None:
    server = Server()
    everybodys = tmp_path / "open"
    everybodys.mkdir()
    everybodys.chmod(0o777)
    with origin.serving(server) as url:
        for path, words in (("/proc/nothing", "not a directory"),
                            ("", "not a directory"),
                            (str(everybodys), "everybody can write")):
            monkeypatch.setenv("TINYKVM_CACHE_DIR", path)
            log: list[str] = []
            boot(url, log)
            assert words in "".join(log)
    assert all("If-None-Match" not in asked for asked in server.asked)


@pytest.mark.kvm
def test_an_endless_program(engine: Engine) -> None:
    """Ended by its size, not by the disk or the memory of the host."""
    def fast(it: Any) -> None:
        it.send_response(200)
        it.send_header("Content-Length", str(2 << 30))
        it.end_headers()
        piece = bytes(1 << 24)
        for _ in range(128):
            it.wfile.write(piece)

    with origin.serving(fast) as url:
        with pytest.raises((ManifestError, GuestError, HostError),
                           match="larger than 1024 MiB"):
            boot(url)
