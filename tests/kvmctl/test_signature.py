# SPDX-License-Identifier: BSD-2-Clause
"""Keys, signatures, and what they are no longer good for."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kvmctl.deploy import prepare
from kvmctl.errors import ExitCode, SignatureError
from kvmctl.guest import signature
from kvmctl.site import ProgramEntry
from support.paths import guest


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of a built program with its record."""
    (tmp_path / "out").mkdir()
    source = guest("hello")
    for name in ("hello", "hello.json"):
        shutil.copy(source.with_name(name), tmp_path / "out" / name)
    return tmp_path / "out" / "hello"


@pytest.fixture
def key(kvmctl: Any, tmp_path: Path) -> Path:
    path = tmp_path / "me.pem"
    assert kvmctl("key", path) == ExitCode.OK
    return path


def test_sign_and_verify(kvmctl: Any, program: Path, key: Path,
                         tmp_path: Path) -> None:
    assert kvmctl("sign", program, "--key", key) == ExitCode.OK
    assert kvmctl.out == f"{program}.sig\n"
    assert kvmctl("verify", program, "--trust",
                  key.with_suffix(".pub")) == ExitCode.OK
    assert "signed by me" in kvmctl.out
    # A directory of keys, of whom one is it.
    (tmp_path / "trusted").mkdir()
    assert kvmctl("key", tmp_path / "trusted" / "other.pem") == ExitCode.OK
    assert kvmctl("verify", program, "--trust",
                  tmp_path / "trusted") == ExitCode.SIGNATURE
    assert "not trusted" in kvmctl.err and "other" in kvmctl.err
    shutil.copy(key.with_suffix(".pub"), tmp_path / "trusted")
    row, = kvmctl.json("verify", program, "--trust", tmp_path / "trusted")
    assert row["good"] and row["by"] == "me"
    found = kvmctl.json("inspect", program)
    assert found["signed_by"] == row["fingerprint"]
    assert found["record"]["limits"] is not None
    assert kvmctl("inspect", program) == 0 and "signed by" in kvmctl.out


def test_keys_are_what_openssl_knows(key: Path) -> None:
    assert key.stat().st_mode & 0o777 == 0o600
    done = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"],
                          capture_output=True, check=True)
    assert done.stdout == key.with_suffix(".pub").read_bytes()


def test_no_key_is_lost(kvmctl: Any, tmp_path: Path,
                        monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made is on the disk, and nothing takes its place."""
    path, synced = tmp_path / "me.pem", []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(
        os.readlink(f"/proc/self/fd/{fd}")) or fsync(fd))
    # Another `kvmctl key` is a moment faster, at the one file or the other.
    for other in (path, path.with_suffix(".pub")):
        def late(source: str, to: Path, other: Path = other) -> None:
            if to == other:
                other.write_text("of another one")
            link(source, to)

        monkeypatch.setattr(os, "link", late)
        assert kvmctl("key", path) == ExitCode.USAGE
        assert f"{other} is there already" in kvmctl.err
        assert list(tmp_path.iterdir()) == [other]
        assert other.read_text() == "of another one"
        other.unlink()
    monkeypatch.setattr(os, "link", link)
    synced.clear()
    assert kvmctl("key", path) == ExitCode.OK
    assert [Path(p).name.startswith(".partial-") for p in synced] == [
        True, False] * 2
    assert synced[-1] == str(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_whatever_changes_is_found(kvmctl: Any, program: Path,
                                   key: Path) -> None:
    trust = key.with_suffix(".pub")

    def verify() -> int:
        code: int = kvmctl("verify", program, "--trust", trust)
        return code

    assert verify() == ExitCode.SIGNATURE and "not signed" in kvmctl.err
    kvmctl("sign", program, "--key", key)
    assert verify() == ExitCode.OK
    record = program.with_name("hello.json")
    for path in (program, record, program.with_name("hello.sig")):
        good = path.read_bytes()
        for at in (0, len(good) // 2, len(good) - 2):
            path.chmod(0o644)
            path.write_bytes(good[:at] + bytes([good[at] ^ 1])
                             + good[at + 1:])
            assert verify() == ExitCode.SIGNATURE, (path, at)
            assert "Traceback" not in kvmctl.err
        path.write_bytes(good)
        path.unlink()
        assert verify() == ExitCode.SIGNATURE
        path.write_bytes(good)
    assert verify() == ExitCode.OK
    # More permissions than were signed.
    about = json.loads(record.read_text())
    about["permissions"]["allowed_paths"] = [{"real": "/etc"}]
    record.write_text(json.dumps(about))
    assert verify() == ExitCode.SIGNATURE
    assert "not what me signed" in kvmctl.err


def test_bad_keys(kvmctl: Any, program: Path, key: Path,
                  tmp_path: Path) -> None:
    def fails(words: str, *command: "str | Path") -> None:
        assert kvmctl(*command) == ExitCode.SIGNATURE
        assert words in kvmctl.err and "Traceback" not in kvmctl.err

    none = tmp_path / "none.pem"
    fails("kvmctl key", "sign", program, "--key", none)
    fails("nobody is trusted", "verify", program, "--trust", none)
    fails("nobody is trusted", "verify", program, "--trust",
          tmp_path / "out")
    none.write_text("nonsense")
    none.chmod(0o600)
    fails("no private key", "sign", program, "--key", none)
    fails("no public key", "verify", program, "--trust", none)
    fails("no public key", "verify", program, "--trust", key)
    os.chmod(key, 0o644)
    fails("chmod 600", "sign", program, "--key", key)
    assert kvmctl("key", key) == ExitCode.USAGE
    assert "already" in kvmctl.err
    assert kvmctl("key", tmp_path / "c.pub") == ExitCode.USAGE
    assert not (tmp_path / "c.pub").exists()
    fails("has no record", "sign", "/bin/true", "--key",
          _private(kvmctl, tmp_path))


def _private(kvmctl: Any, tmp_path: Path) -> Path:
    assert kvmctl("key", tmp_path / "b.pem") == 0
    return tmp_path / "b.pem"


def test_require(kvmctl: Any, program: Path, key: Path,
                 tmp_path: Path) -> None:
    """As a store has it: files elsewhere, under other names."""
    kvmctl("sign", program, "--key", key)
    keys = signature.trusted(key.with_suffix(".pub"))
    assert signature.require(program, keys).name == "me"
    moved = [tmp_path / n for n in ("elsewhere", "about", "by")]
    for name, to in zip(("hello", "hello.json", "hello.sig"), moved,
                        strict=True):
        shutil.move(program.with_name(name), to)
    assert signature.require(*moved[:1], keys, *moved[1:]).name == "me"
    with pytest.raises(SignatureError):
        signature.require(moved[0], keys)
    with pytest.raises(SignatureError, match="trusted are none"):
        signature.require(moved[0], [], *moved[1:])
    # What was read was another file under this name.
    with pytest.raises(SignatureError, match="not what its record says"):
        signature.require(*moved[:1], keys, *moved[1:], digest="0" * 64)


def test_what_was_signed_is_what_is_asked_for(kvmctl: Any, tmp_path: Path,
                                               key: Path) -> None:
    """More permissions do not go with an older record and its signature."""
    (tmp_path / "it.c").write_text("int main(void) { return 0; }\n")
    manifest, out = tmp_path / "guest.toml", tmp_path / "out"
    entry = ProgramEntry("it", tmp_path, None)
    keys = signature.trusted(key.with_suffix(".pub"))
    manifest.write_text('name = "it"\nsources = ["it.c"]\n')
    assert kvmctl("build", tmp_path, "--sign", "--key", key, "-o", out) == 0
    prepare.program(entry, out, keys)
    signed = {p: p.read_bytes() for p in (out / "it").iterdir()
              if p.suffix in (".json", ".sig")}
    manifest.write_text(manifest.read_text()
                        + '[permissions]\nallowed_paths = ["/etc"]\n')
    built, = kvmctl.json("build", tmp_path, "-o", out)
    # The executable is the same.
    for path, data in signed.items():
        path.write_bytes(data)
    with pytest.raises(SignatureError, match="not signed"):
        prepare.program(entry, out, keys)
    # Nor with one that the store was given for these sources.
    for path in (out / ".store" / "inputs").iterdir():
        path.write_bytes(next(iter(d for p, d in signed.items()
                                   if p.suffix == ".json")))
    shutil.rmtree(out / "it")
    again, = kvmctl.json("build", tmp_path, "-o", out)
    assert again["permissions"] == built["permissions"] != {}
    # Nor while it is looked at.
    assert kvmctl("sign", built["executable"], "--key", key) == 0
    about = json.loads((out / "it" / "it.json").read_text())
    with pytest.raises(SignatureError, match="changed meanwhile"):
        signature.require(out / "it" / "it", keys,
                          about=about | {"permissions": {}})


def test_build_and_sign(kvmctl: Any, tmp_path: Path, key: Path) -> None:
    (tmp_path / "it.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "guest.toml").write_text('name = "it"\nsources = ["it.c"]\n')
    out = tmp_path / "out"
    built, = kvmctl.json("build", tmp_path, "--sign", "--key", key, "-o", out)
    program = Path(built["executable"])
    trust = key.with_suffix(".pub")
    assert kvmctl("verify", program, "--trust", trust) == ExitCode.OK
    # Another build is not what was signed; the same again would be.
    (tmp_path / "it.c").write_text("int main(void) { return 1; }\n")
    assert kvmctl("build", tmp_path, "-o", out) == ExitCode.OK
    assert kvmctl("verify", program, "--trust", trust) == ExitCode.SIGNATURE
    assert kvmctl("build", tmp_path, "--sign", "--key", tmp_path / "none",
                  "-o", out) == ExitCode.SIGNATURE
