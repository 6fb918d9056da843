# SPDX-License-Identifier: BSD-2-Clause
"""An executable that is there already, taken as it is.

The only source is its file, like /usr/bin/python3.11; what it opens is in
[permissions] allowed_paths.
"""

from pathlib import Path

from kvmctl.errors import BuildError
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains.plan import Need, Plan, Step, line


class Executable:
    languages = ("executable",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        return ()

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        if len(manifest.sources) != 1:
            raise BuildError(f"{manifest.path}: \"sources\" names the "
                             "executable, and nothing else")
        return Plan((Step(line("cp", manifest.sources[0], output), work),),
                    manifest.sources)
