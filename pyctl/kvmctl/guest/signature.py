# SPDX-License-Identifier: BSD-2-Clause
"""Who built a program: ed25519 signatures of its record.

The record (record.py) has the hash of the executable, its limits and its
permissions, so that a signature is for all three. For whoever deploys:

    keys = signature.trusted(path)      a public key, or a directory of *.pub
    signature.require(executable, keys)         raises SignatureError
    signature.require(executable, keys, record, signature)      or of elsewhere

Private keys are PKCS #8 in PEM, mode 600; public ones SubjectPublicKeyInfo in
PEM: `openssl pkey` reads both. The signature beside an executable is JSON:

    format, key         the key's fingerprint
    signature           base64, of the bytes "kvmctl record 1\\n" and the record
"""

import base64
import hashlib
import json
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmctl import files, paths
from kvmctl.errors import SignatureError, UsageError
from kvmctl.guest import record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey, Ed25519PublicKey)

_FORMAT = 1
#: Signed with the record, so that a signature is for nothing else.
_CONTEXT = b"kvmctl record 1\n"


@dataclass(frozen=True)
class PublicKey:
    """Somebody who is known. name is that of the file."""

    name: str
    key: "Ed25519PublicKey"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key's 32 bytes, as 64 digits."""
        return hashlib.sha256(self.key.public_bytes_raw()).hexdigest()


def _config() -> Path:
    return paths.of_user("XDG_CONFIG_HOME", ".config") / "kvmctl"


def default_key() -> Path:
    """The private key that signs, unless another is named."""
    return _config() / "key.pem"


def default_trust() -> Path:
    """The directory of public keys that are trusted, unless named."""
    return _config() / "trusted"


def new_key(path: Path) -> PublicKey:
    """Makes PATH and PATH with .pub; an old key is never overwritten.

    Raises UsageError when one is there, or the place cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey)
    if not path.name or path.suffix == ".pub":
        raise UsageError(f"{path} is no name for a private key: .pub is the "
                         "public one's")
    public_file = path.with_suffix(".pub")
    key = Ed25519PrivateKey.generate()
    public = PublicKey(public_file.stem, key.public_key())
    private_data = key.private_bytes(
        s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    public_data = public.key.public_bytes(
        s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    with files.problems(UsageError, "the key cannot be written"):
        try:
            files.write_whole(path, private_data, 0o600, synced=True, new=True)
            try:
                files.write_whole(public_file, public_data, synced=True,
                                  new=True)
            except BaseException:
                path.unlink()           # half a pair is none
                raise
        except FileExistsError as e:
            raise UsageError(f"{e.filename2 or e.filename} is there already: "
                             "nothing was written") from None
    return public


def load_private(path: Path | None = None) -> "Ed25519PrivateKey":
    """Raises SignatureError when it is none, or others may read it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey)
    path = path or default_key()
    if not path.exists():
        raise SignatureError(f"there is no key {path}: kvmctl key makes one")
    with files.problems(SignatureError, "cannot read the key"):
        mode, data = stat.S_IMODE(path.stat().st_mode), files.read(path)
    if mode & 0o077:
        raise SignatureError(f"{path} can be read by others: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise SignatureError(f"{path} is no private key: {e}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path} is no ed25519 key: kvmctl key makes one")
    return key


def load_public(path: Path) -> PublicKey:
    """Raises SignatureError when it is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PublicKey)
    with files.problems(SignatureError, "cannot read the key"):
        data = files.read(path)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as e:
        raise SignatureError(f"{path} is no public key: {e}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{path} is no ed25519 key")
    return PublicKey(path.stem, key)


def trusted(path: Path | None = None) -> list[PublicKey]:
    """A public key, or those of a directory: *.pub.

    Raises SignatureError when there is none, or one is damaged.
    """
    path = path or default_trust()
    paths = sorted(path.glob("*.pub")) if path.is_dir() else [path]
    if not paths or not path.exists():
        raise SignatureError(f"nobody is trusted: put public keys, *.pub, "
                             f"into {path}")
    return [load_public(p) for p in paths]


def sign(executable: Path, key: "Ed25519PrivateKey") -> Path:
    """Signs its record; the file of the signature.

    Raises SignatureError when there is no record, or not of this file.
    """
    place = record.file(executable)
    try:
        data = files.read(place)
        about = record.parse(data)
    except (OSError, ValueError):
        raise SignatureError(f"{executable} has no record {place.name} beside "
                             "it: kvmctl build makes both") from None
    with files.problems(SignatureError, f"{executable} cannot be signed"):
        _check_content(executable, about)
        signature = key.sign(_CONTEXT + data)
        text = json.dumps({
            "format": _FORMAT,
            "key": PublicKey("", key.public_key()).fingerprint,
            "signature": base64.b64encode(signature).decode()}, indent=2)
        target = record.signature_file(executable)
        files.write_whole(target, (text + "\n").encode(), synced=True)
    return target


def _check_content(executable: Path, about: dict[str, Any],
                   digest: str | None = None) -> None:
    found = digest or hashlib.sha256(
        files.read(executable, files.DATA)).hexdigest()
    if found != about["sha256"]:
        raise SignatureError(f"{executable} is not what its record says: its "
                             f"SHA-256 is {found[:12]}..., not "
                             f"{about['sha256'][:12]}...")


def _read(executable: Path, path: Path) -> tuple[str, bytes]:
    """Fingerprint and signature."""
    try:
        found = files.json_of(files.read(path))
        if found["format"] != _FORMAT:
            raise ValueError(f"its format is {found['format']}")
        return str(found["key"]), base64.b64decode(found["signature"],
                                                   validate=True)
    except FileNotFoundError:
        raise SignatureError(f"{executable} is not signed: kvmctl sign "
                             f"{executable}") from None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise SignatureError(f"{path} is no signature: {e}") from None


def require(executable: Path, keys: Sequence[PublicKey],
            record_path: Path | None = None,
            signature_path: Path | None = None,
            digest: str | None = None,
            about: dict[str, Any] | None = None) -> PublicKey:
    """Who, of these, signed exactly this executable with this record.

    Record and signature lie beside it unless named. digest and about: the
    SHA-256 and the record of what the caller goes on with, when the files may
    be changed meanwhile. Raises SignatureError when it is not signed, by nobody
    of these, or is not what was signed.
    """
    from cryptography.exceptions import InvalidSignature
    record_path = record_path or record.file(executable)
    signature_path = signature_path or record.signature_file(executable)
    fingerprint, signature = _read(executable, signature_path)
    key = next((k for k in keys if k.fingerprint == fingerprint), None)
    if key is None:
        raise SignatureError(
            f"{executable} is signed by {fingerprint[:16]}..., who is not "
            "trusted; trusted are "
            + (", ".join(f"{k.name} ({k.fingerprint[:16]}...)" for k in keys)
               or "none"))
    with files.problems(SignatureError, f"{executable} cannot be verified"):
        data = files.read(record_path)
        try:
            key.key.verify(signature, _CONTEXT + data)
        except InvalidSignature:
            raise SignatureError(f"{record_path} is not what {key.name} "
                                 "signed") from None
        try:
            signed = record.parse(data)
        except ValueError as e:
            raise SignatureError(f"{record_path}: {e}") from None
        if about is not None and about != signed:
            raise SignatureError(f"{record_path} was changed meanwhile: build "
                                 "and sign again")
        _check_content(executable, signed, digest)
    return key


def signer(executable: Path) -> str | None:
    """The fingerprint that a signature beside it names, unverified."""
    try:
        return _read(executable, record.signature_file(executable))[0]
    except SignatureError:
        return None
