# SPDX-License-Identifier: BSD-2-Clause
"""From sources to a static executable, for each language one module here.

A toolchain says what must be installed and which commands make the executable
(plan.py); registry.py knows them all; builder.py runs the commands when
something changed.
"""

from kvmctl.guest.toolchains.registry import (TOOLCHAINS, all_needs, find,
                                              lacking, needs)
from kvmctl.guest.toolchains.builder import Artefact, build

__all__ = ["TOOLCHAINS", "Artefact", "all_needs", "build", "find", "lacking",
           "needs"]
