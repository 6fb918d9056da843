# SPDX-License-Identifier: BSD-2-Clause
"""Files that are written whole or not at all, and errors of the disk in words."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kvmctl.errors import KvmctlError

#: Bytes of what people write, and of programs and bodies: none is longer.
TEXT, DATA = 16 << 20, 1 << 30
_PIECE = 1 << 20
_MENDS = {
    errno.ENOSPC: "free some space there, or name another directory",
    errno.EDQUOT: "free some space there, or name another directory",
    errno.EACCES: "this user may not: change its owner or mode, or name "
                  "another place",
    errno.EPERM: "this user may not: change its owner or mode, or name "
                 "another place",
    errno.EROFS: "name a place that can be written",
    errno.EMFILE: "allow more descriptors: ulimit -n",
}


def sentence(error: OSError | KvmctlError) -> str:
    """What went wrong with which file, and what to do."""
    if isinstance(error, KvmctlError):
        return str(error)
    file = error.filename2 or error.filename
    if isinstance(file, bytes):
        file = os.fsdecode(file)
    text = error.strerror or str(error)
    if file is not None:
        text = f"{file}: {text}"
    mend = _MENDS.get(error.errno or 0)
    return f"{text}: {mend}" if mend else text


@contextlib.contextmanager
def problems(kind: type[KvmctlError], what: str) -> Iterator[None]:
    """An OSError within becomes a `kind` that begins with `what`."""
    try:
        yield
    except OSError as e:
        raise kind(f"{what}: {sentence(e)}") from None


def json_of(data: bytes | str) -> Any:
    """What the JSON says. Raises ValueError for whatever is none."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def real(path: Path) -> Path:
    """The path without links and dots.

    Path.resolve() is the same, but that links in a ring are an error to it.
    """
    return Path(os.path.realpath(path))


def read(path: Path, most: int = TEXT) -> bytes:
    """What is in the file. Raises OSError, also where more than `most` is.

    A link in somebody's directory may lead to what has no end: /dev/zero.
    """
    data = bytearray()
    with path.open("rb") as file:
        # Not read(most): it would take so much memory beforehand.
        while piece := file.read(_PIECE):
            data += piece
            if len(data) > most:
                raise OSError(errno.EFBIG, f"more than {most >> 20} MiB",
                              str(path))
    return bytes(data)


def write_whole(path: Path, data: bytes, mode: int = 0o644,
                synced: bool = False, new: bool = False) -> None:
    """Writes a file that others see whole or not at all. Raises OSError.

    synced: also after a crash of the machine. new: FileExistsError where
    something is, also when that came just now.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        if new:
            os.link(partial, path)
            os.unlink(partial)
        else:
            os.replace(partial, path)
    except OSError as e:
        Path(partial).unlink(missing_ok=True)
        if e.filename is None:          # write() does not say where
            e.filename = str(path)
        raise
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    if synced:
        _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def name_whole(made: Path, path: Path) -> None:
    """Gives a file or directory that others made its name. Raises OSError.

    It is whole there also after a crash of the machine: nobody looks again at
    what a cache has.
    """
    for it in (made, *made.rglob("*")):
        if it.is_file() or it.is_dir():
            _sync(it)
    os.replace(made, path)
    _sync(path.parent)
