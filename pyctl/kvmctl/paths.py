# SPDX-License-Identifier: BSD-2-Clause
"""Where the other parts are: in a checkout, or installed.

Each can be named by an environment variable: KVMCTL_ENGINE (the library),
KVMCTL_SDK, KVMCTL_TEMPLATES, KVMCTL_VMODS, KVMCTL_CACHE (directories).
"""

import os
from pathlib import Path

from kvmctl.errors import HostError

CHECKOUT = Path(__file__).resolve().parents[2]
INSTALLED = Path("/usr/lib/tinykvm")


def _find(variable: str, what: str, *candidates: Path) -> Path:
    named = os.environ.get(variable)
    if named:
        if not Path(named).exists():
            raise HostError(f"{variable} names {named}, which is not there")
        return Path(named)
    for path in candidates:
        if path.exists():
            return path
    raise HostError(f"cannot find {what}: run `make`, or set {variable}")


def sdk() -> Path:
    """The directory of kvm_api.h."""
    return _find("KVMCTL_SDK", "the guest SDK",
                 CHECKOUT / "guests" / "sdk", INSTALLED / "sdk")


def engine() -> Path:
    """libtkcompute.so; compute.h and host.h lie beside it."""
    return _find("KVMCTL_ENGINE", "the engine library",
                 CHECKOUT / "build" / "lib" / "libtkcompute.so",
                 INSTALLED / "libtkcompute.so")


def templates() -> Path:
    """The directory of the VCL templates."""
    return _find("KVMCTL_TEMPLATES", "the VCL templates",
                 CHECKOUT / "vcl", INSTALLED / "vcl")


def vmods() -> Path | None:
    """The directory of libvmod_tinykvm.so when it is not Varnish's own."""
    named = os.environ.get("KVMCTL_VMODS")
    if named:
        return Path(named)
    built = CHECKOUT / "build" / "vmods"
    return built if (built / "libvmod_tinykvm.so").exists() else None


def of_user(variable: str, *usual: str) -> Path:
    """The directory that this variable names, else one in the user's home.

    Raises HostError where nobody knows a home directory.
    """
    named = os.environ.get(variable)
    try:
        return Path(named).expanduser() if named \
            else Path.home().joinpath(*usual)
    except RuntimeError:
        raise HostError("this user has no home directory: set HOME, or "
                        f"{variable} to a directory") from None


def cache() -> Path:
    """Where what is fetched and compiled for all guests is kept.

    May not exist yet.
    """
    named = os.environ.get("KVMCTL_CACHE")
    if named:
        return Path(os.path.realpath(named))
    if (CHECKOUT / "Makefile").exists():
        return CHECKOUT / "build" / "cache"
    return of_user("XDG_CACHE_HOME", ".cache") / "kvmctl"
