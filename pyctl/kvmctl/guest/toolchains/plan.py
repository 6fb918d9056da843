# SPDX-License-Identifier: BSD-2-Clause
"""What a toolchain says about a guest: how it is built, what that needs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kvmctl.guest.manifest import Manifest
from kvmctl.guest.need import Need, file, program

__all__ = ["Need", "Plan", "Step", "Toolchain", "file", "line", "program",
           "tree"]


@dataclass(frozen=True)
class Step:
    """One command. `environment` is added to kvmctl's own."""

    line: tuple[str, ...]
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """How one guest is built, in order: prepare, files, steps.

    The last step writes the executable. All that is here but `prepare` and
    `needs` makes the hash that tells whether something changed.
    """

    steps: tuple[Step, ...]
    #: Files whose content matters, the sources among them.
    inputs: tuple[Path, ...]
    #: Written into the work directory first.
    files: dict[str, str] = field(default_factory=dict)
    #: Things fetched or compiled once for all guests; named by `identity`.
    prepare: tuple[Callable[[], object], ...] = ()
    identity: tuple[str, ...] = ()
    #: Beyond what its language needs.
    needs: tuple[Need, ...] = ()


class Toolchain(Protocol):
    """Compiles guests of some languages."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Values of guest.toml's "language" that it is for."""

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        """What must be installed; None when it cannot do that libc."""

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        """The way from the manifest's sources to the file `output`.

        `work` is the guest's own directory for files in between.
        """


def line(*words: "str | Path") -> tuple[str, ...]:
    return tuple(str(w) for w in words)


def tree(directory: Path, *patterns: str) -> tuple[Path, ...]:
    """The files under a directory whose names fit, sorted."""
    return tuple(sorted(
        p for pattern in patterns for p in directory.rglob(pattern)
        if p.is_file()))
