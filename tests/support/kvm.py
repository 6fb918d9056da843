# SPDX-License-Identifier: BSD-2-Clause
"""Can tests use /dev/kvm here?"""

import fcntl
import functools
import os

_KVM_GET_API_VERSION = 0xAE00           # linux/kvm.h
_API_VERSION = 12


@functools.cache
def why_not() -> str | None:
    """What is wrong with /dev/kvm, None when it can be used."""
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        return f"/dev/kvm: {e.strerror}"
    try:
        version = fcntl.ioctl(fd, _KVM_GET_API_VERSION)
    except OSError as e:
        return f"/dev/kvm: {e.strerror}"
    finally:
        os.close(fd)
    return None if version == _API_VERSION else f"/dev/kvm: API {version}"
