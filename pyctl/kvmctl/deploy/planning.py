# SPDX-License-Identifier: BSD-2-Clause
"""What a deployment would change on a node."""

import difflib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from kvmctl.deploy import store
from kvmctl.deploy.deployer import Deployer
from kvmctl.deploy.prepare import Prepared, library
from kvmctl.deploy.store import Release
from kvmctl.errors import DeployError
from kvmctl.vcl.render import mark_of

_NAME = "RELEASE"


@dataclass
class Plan:
    """Of one node. lines: a diff, + is what comes and - what goes."""

    node: str
    serving: str | None = None
    changes: bool = False
    programs: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def summary(self) -> str:
        if self.error:
            return self.error
        if not self.changes:
            return f"{self.serving} serves already; nothing to do"
        words = [f"{name} {what}" for name, what in self.programs.items()
                 if what != "unchanged"]
        return "; ".join([f"a new release in place of {self.serving}",
                          *words, *self.remarks])


def _files(deployer: Deployer, release: Release) -> tuple[
        dict[str, Any], list[str]]:
    """Settings and VCL of a release that the store still has."""
    try:
        programs = library(
            deployer.files.library_file(release.name).read_bytes())
        vcl = deployer.files.vcl_file(release.name).read_text()
    except (OSError, ValueError) as e:
        raise DeployError(f"the store has lost {release.name} ({e}): deploy "
                          "anew") from None
    return programs, _lines(vcl, release.name, deployer.files.token())


def _lines(vcl: str, name: str, token: str) -> list[str]:
    """The VCL of any release, without what opens releases to probes."""
    for secret, shown in ((mark_of(token, name), "(mark)"),
                          (token, "(token)"), (name, _NAME)):
        vcl = vcl.replace(secret, shown)
    return vcl.splitlines()


def _secret(changed: bool) -> str:
    return "(another secret)" if changed else "(secret)"


def _variables(value: Any, before: Any) -> list[str]:
    """An environment's names; values are often keys and passwords."""
    def pairs(given: Any) -> list[tuple[str, str, str]]:
        return [str(row).partition("=") for row in
                (given if isinstance(given, list) else [given])]

    known = {name: word for name, _, word in pairs(before)}
    return [name + sign + (_secret(known.get(name, word) != word) if sign
                           else "") for name, sign, word in pairs(value)]


def _rows(table: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Settings as lines; the file is known by its hash.

    A plan is shown to many: of the key of live updates and of variables, only
    that they change.
    """
    out = []
    for name, values in sorted(table.items()):
        for key, value in sorted(values.items()):
            if key == "sha256" and values["filename"].endswith(str(value)):
                continue
            shown = (value.rpartition("/")[2][:12] if key == "filename"
                     else json.dumps(value))
            known = before.get(name, {}).get(key, value)
            if key == "key":
                shown = _secret(value != known)
            elif key == "environment":
                shown = json.dumps(_variables(value, known))
            out.append(f"programs.{name}.{key} = {shown}")
    return out


def plan(deployer: Deployer, prepared: Prepared) -> Plan:
    """Asks the node, changes nothing. Raises a KvmctlError."""
    deployer.admin.ping()
    serving = deployer.serving()
    result = Plan(deployer.node, serving)
    known = {r.name: r for r in deployer.releases()}
    release = known.get(serving or "")
    for canary in deployer.releases(store.CANARY):
        result.remarks.append(f"{canary.name} is a canary: promote or abort "
                              "it first")
    if release is not None and release.content == prepared.content:
        result.programs = dict.fromkeys(prepared.programs, "unchanged")
        return result
    result.changes = True
    named = replace(prepared, name=_NAME)
    root = deployer.files.directory
    new_vcl = _lines(named.vcl(root, _NAME).decode(), _NAME, prepared.token)
    new_library = library(named.library(root))
    old_library: dict[str, Any] = {}
    old_vcl: list[str] = []
    if release is not None:
        old_library, old_vcl = _files(deployer, release)
    else:
        result.remarks.append("what serves is not of kvmctl")
    old_hashes = release.programs if release is not None else {}
    for name in sorted({*old_hashes, *prepared.hashes}):
        result.programs[name] = (
            "is new" if name not in old_hashes else
            "goes" if name not in prepared.hashes else
            "is another executable"
            if old_hashes[name] != prepared.hashes[name] else
            "has other settings"
            if old_library.get(name) != new_library.get(name) else
            "unchanged")
    for title, old, new in (
            ("programs", _rows(old_library, old_library),
             _rows(new_library, old_library)),
            ("VCL", old_vcl, new_vcl)):
        result.lines += [line.rstrip("\n") for line in difflib.unified_diff(
            old, new, f"{title} that serves", f"{title} to come",
            lineterm="", n=2)]
    return result
