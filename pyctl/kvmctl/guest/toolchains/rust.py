# SPDX-License-Identifier: BSD-2-Clause
"""Rust, with std: plain rustc, or cargo when Cargo.toml is the source.

The SDK is the crate `kvm`, compiled along; with cargo it is a dependency by
path (guests/sdk/rust). Anything from Debian's 1.63 on will do.
"""

from pathlib import Path

from kvmctl import paths
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains.plan import (Need, Plan, Step, line, program,
                                          tree)

#: The target whose standard library every distribution has.
_TARGET = "x86_64-unknown-linux-gnu"
_STATIC = ("-C", "target-feature=+crt-static", "-C", "relocation-model=static")


class Rust:
    languages = ("rust",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        if libc != "glibc":
            return None
        return program("rustc", "rustc"), program("gcc", "gcc")

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        sdk = paths.sdk() / "rust"
        sources = (*tree(manifest.directory, "*.rs", "Cargo.*"),
                   *tree(sdk, "*.rs", "Cargo.toml"), *manifest.sources)
        if manifest.sources[0].name == "Cargo.toml":
            return Plan(self._cargo(manifest, work, output), sources,
                        needs=(program("cargo", "cargo"),))
        common = line(
            "--edition", "2021", "-O", "-C", "strip=debuginfo", *_STATIC,
            "--remap-path-prefix", f"{manifest.directory}=.",
            "--remap-path-prefix", f"{sdk}=sdk")
        return Plan((
            Step(line("rustc", *common, "--crate-type", "rlib",
                      "--crate-name", "kvm", sdk / "kvm.rs", "-o",
                      work / "libkvm.rlib"), work),
            Step(line("rustc", *common, "--crate-name",
                      manifest.name.replace("-", "_").replace(".", "_"),
                      "--extern", f"kvm={work / 'libkvm.rlib'}",
                      *manifest.cflags, manifest.sources[0],
                      *(f"-l{lib}" for lib in manifest.libraries),
                      "-o", output), work)), sources)

    def _cargo(self, manifest: Manifest, work: Path,
               output: Path) -> tuple[Step, ...]:
        target = work / "target"
        flags = "\x1f".join((
            *_STATIC, "--remap-path-prefix", f"{manifest.directory}=.",
            "--remap-path-prefix", f"{paths.sdk() / 'rust'}=sdk",
            *manifest.cflags))
        return (
            Step(line("cargo", "build", "--quiet", "--offline", "--release",
                      "--target", _TARGET, "--target-dir", target,
                      "--manifest-path", manifest.sources[0]),
                 manifest.directory, {"CARGO_ENCODED_RUSTFLAGS": flags}),
            Step(line("cp", target / _TARGET / "release" / manifest.name,
                      output), work))
