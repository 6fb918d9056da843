# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl doctor."""

import grp
import os
import platform
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kvmctl import paths
from kvmctl.commands import mend
from kvmctl.commands.mend import WORKER, Finding
from kvmctl.engine import Engine
from kvmctl.environment import Environment
from kvmctl.errors import HostError, KvmctlError
from kvmctl.guest import toolchains
from kvmctl.varnish.private import system_vmods

_KVM = Path("/dev/kvm")
_OLDEST_VARNISH = (7, 1)
_MARK = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def _device() -> Finding:
    if not _KVM.exists():
        return Finding("device", "fail", "/dev/kvm is not there",
                       "switch virtualisation on in the firmware (or nested "
                       "virtualisation in the hypervisor) and load the module: "
                       "modprobe kvm_intel or kvm_amd")
    if not os.access(_KVM, os.R_OK | os.W_OK):
        return Finding("device", "fail", "/dev/kvm is not open to this user",
                       "adduser $USER kvm, then log in again")
    return Finding("device", "ok", "/dev/kvm can be opened")


def _engine() -> Iterator[Finding]:
    try:
        with Engine() as engine:
            facts = engine.host_report()
    except KvmctlError as e:
        yield Finding("kvm", "fail", str(e), "see the finding above, or run "
                      "`make` when the engine library is missing")
        return
    way = ("ring 3 (a software KVM)" if facts["syscall_lands_in_ring3"]
           else "ring 0")
    yield Finding("kvm", "ok", f"API {facts['kvm_api']}, self-test passed, "
                  f"system calls land in {way}")
    if not facts["guest_tsc_is_host_tsc"]:
        yield Finding("clock", "warn", "the guest's TSC is not the host's: "
                      "reading the time costs a guest one exit",
                      "use the TSC as the host's clock source")


def _worker() -> Finding:
    """May Varnish's worker open the device?"""
    try:
        info = _KVM.stat()
    except OSError:
        return Finding("worker", "warn", "cannot tell without /dev/kvm")
    try:
        members = grp.getgrgid(info.st_gid).gr_mem
        group = grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        members, group = [], str(info.st_gid)
    mode = stat.S_IMODE(info.st_mode)
    if mode & 0o006 == 0o006 or (mode & 0o060 == 0o060
                                 and WORKER in members):
        return Finding("worker", "ok", f"user {WORKER} may open /dev/kvm")
    fix = None
    if group == "root" or mode & 0o060 != 0o060:
        advice = (f"chgrp kvm /dev/kvm; chmod 660 /dev/kvm; adduser {WORKER} "
                  "kvm; restart Varnish")
    else:
        advice = f"adduser {WORKER} {group}, then restart Varnish"
        fix = mend.join(group)
    return Finding("worker", "warn", f"user {WORKER}, as whom Varnish's "
                   "default jail runs, may not open /dev/kvm", advice, fix)


def _varnish() -> Finding:
    program = shutil.which("varnishd", path=os.environ.get("PATH", "")
                           + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        return Finding("varnish", "fail", "varnishd is missing",
                       "apt-get install varnish")
    done = subprocess.run([program, "-V"], capture_output=True, text=True,
                          check=False)
    found = re.search(r"varnish-(\d+)\.(\d+)\.(\d+)",
                      done.stdout + done.stderr)
    if found is None:
        return Finding("varnish", "warn", f"{program} does not say a version")
    version = tuple(int(n) for n in found.groups())
    if version[:2] < _OLDEST_VARNISH:
        return Finding("varnish", "fail", f"Varnish {found.group()[8:]} is "
                       "older than 7.1", "upgrade Varnish")
    return Finding("varnish", "ok", f"Varnish {found.group()[8:]}")


def _vmod() -> Finding:
    name = "libvmod_tinykvm.so"
    for directory in (paths.vmods(), Path(system_vmods())):
        if directory is not None and (directory / name).exists():
            return Finding("vmod", "ok", str(directory / name))
    return Finding("vmod", "fail", f"there is no {name}",
                   "make vmod, then make install")


def _compilers() -> Iterator[Finding]:
    for language, libc, needs in toolchains.all_needs():
        what = f"{language} ({libc})" if libc != "glibc" else language
        missing = [n for n in needs if not n.there()]
        if not missing:
            yield Finding(what, "ok", ", ".join(n.what.rsplit("/", 1)[-1]
                                                for n in needs))
        else:
            yield Finding(what, "warn", "missing: " + ", ".join(
                n.what for n in missing), "; ".join(
                    dict.fromkeys(n.mend for n in missing)))


def _mended(findings: list[Finding], env: Environment) -> list[Finding]:
    """Mends what can be mended safely, and says so."""
    out = []
    for finding in findings:
        if finding.state != "ok" and finding.fix is not None:
            finding, said = mend.mended(finding)
            env.note(f"{said}: {finding.check}: {finding.found}")
        out.append(finding)
    return out


def _findings() -> Iterator[Finding]:
    yield Finding("kernel", "ok", platform.release())
    yield _device()
    yield from _engine()
    yield _worker()
    yield _varnish()
    yield _vmod()
    yield from _compilers()


def run(env: Environment, fix: bool = False,
        store: Path | None = None) -> None:
    """Shows each finding with its mend; fails when something must be mended."""
    findings = [*_findings(), *mend.findings(store)]
    if fix:
        findings = _mended(findings, env)
    if env.as_json:
        env.result_json([
            {"check": f.check, "state": f.state, "found": f.found,
             "mend": f.mend, "fixable": f.fix is not None}
            for f in findings])
    else:
        for finding in findings:
            env.result(f"{_MARK[finding.state]}  {finding.check:12} "
                       f"{finding.found}")
            if finding.mend and finding.state != "ok":
                env.result(f"      {'':12} -> {finding.mend}"
                           + ("  (or --fix)" if finding.fix else ""))
    bad = [f.check for f in findings if f.state == "fail"]
    if bad:
        raise HostError("to be mended: " + ", ".join(bad))
