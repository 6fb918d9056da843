# SPDX-License-Identifier: BSD-2-Clause
"""Go without cgo. The SDK is the package "kvm".

The guest's directory is its main package. It is built in a workspace of two
modules made in the work directory, so that neither needs a go.mod with a path
in it, and nothing is fetched.
"""

import json
from pathlib import Path

from kvmctl import paths
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains.plan import (Need, Plan, Step, line, program,
                                          tree)


class Go:
    languages = ("go",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        if libc != "glibc":             # there is none in it: the default
            return None
        return (program("go", "golang-go"),)

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        sdk = paths.sdk() / "go"
        directory = manifest.sources[0].parent
        step = Step(line(
            "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s",
            *manifest.cflags, "-o", output, "."), directory,
            {"CGO_ENABLED": "0", "GOWORK": str(work / "go.work"),
             "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOPROXY": "off",
             "GOCACHE": str(paths.cache() / "go"), "GO111MODULE": "on",
             "GOAMD64": "v1"})
        return Plan((step,), (*tree(directory, "*.go", "*.s", "go.mod", "go.sum"),
                              *tree(sdk, "*.go", "*.s", "go.mod"),
                              *manifest.sources),
                    files={"go.work": "go 1.19\n" + "".join(
                        f"use {json.dumps(str(d), ensure_ascii=False)}\n"
                        for d in (directory, sdk))})
