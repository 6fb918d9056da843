# SPDX-License-Identifier: BSD-2-Clause
"""Python: Debian's CPython 3.11, static, its standard library inside.

The library's modules are compiled once by Debian's own python3.11 and linked
as frozen modules; the guest's files are embedded as they are, after a check
of their syntax.
"""

import hashlib
import subprocess
import tempfile
from pathlib import Path

from kvmctl import paths
from kvmctl.errors import BuildError
from kvmctl.files import name_whole
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains import launcher
from kvmctl.guest.toolchains.plan import (Need, Plan, Step, file, line,
                                          program)

_CONFIG = Path("/usr/lib/python3.11/config-3.11-x86_64-linux-gnu")
_PYTHON = "/usr/bin/python3.11"
_FREEZER = Path(__file__).with_name("freeze.py")
#: The library's modules are in both, and an update may be of one.
_PACKAGES = ("libpython3.11-minimal", "libpython3.11-stdlib")
_PACKAGE_FILES = Path("/var/lib/dpkg/info")
_CHECK = ("import sys\n"
          "for name in sys.argv[1:]:\n"
          "    compile(open(name, 'rb').read(), name, 'exec')\n")


def _frozen() -> Path:
    """The object with the frozen standard library, by this name."""
    about = [_FREEZER.read_bytes()]
    for package in _PACKAGES:
        try:
            about.append((_PACKAGE_FILES / f"{package}:amd64.md5sums")
                         .read_bytes())
        except OSError:
            pass                        # not Debian's: named by the freezer
    key = hashlib.sha256(b"".join(about)).hexdigest()[:12]
    return paths.cache() / f"python3.11-stdlib-{key}.o"


def _freeze() -> None:
    """Makes it, unless it is there. Raises BuildError."""
    target = _frozen()
    if target.exists():
        return
    paths.cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.cache()) as temporary:
        for words in ([_PYTHON, "-I", "-S", str(_FREEZER), temporary],
                      ["gcc", "-c", "stdlib.S", "-o", "stdlib.o"]):
            done = subprocess.run(words, cwd=temporary, capture_output=True,
                                  text=True, check=False)
            if done.returncode != 0:
                raise BuildError("the standard library does not freeze:\n"
                                 + done.stderr.strip()[-1500:])
        name_whole(Path(temporary) / "stdlib.o", target)


class Python:
    languages = ("python",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        if libc != "glibc":
            return None
        lib = "/usr/lib/x86_64-linux-gnu/"
        return (program("gcc", "gcc"),
                file(str(_CONFIG / "libpython3.11.a"), "libpython3.11-dev"),
                file(_PYTHON, "python3.11-minimal"),
                file(lib + "libexpat.a", "libexpat1-dev"),
                file(lib + "libz.a", "zlib1g-dev"))

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        sdk = paths.sdk() / "python"
        scripts = [s for s in manifest.sources if s.suffix == ".py"]
        files = [("kvm.py", sdk / "kvm.py"),
                 *((launcher.embedded_name(manifest, s), s)
                   for s in manifest.sources if s.suffix != ".c")]
        check = Step(line(_PYTHON, "-I", "-S", "-c", _CHECK, *scripts), work)
        return launcher.plan(
            manifest, work, output, "python/launcher.c", files=files,
            flags=["-isystem", "/usr/include/python3.11"],
            link=[_frozen(), _CONFIG / "libpython3.11.a", "-lexpat", "-lz",
                  "-lm", "-ldl"],
            before=[check], inputs=[sdk / "kvm.py"], prepare=[_freeze],
            identity=[_frozen().name])
