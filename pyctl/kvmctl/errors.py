# SPDX-License-Identifier: BSD-2-Clause
"""Errors that users can cause, and the exit code of each.

    KvmctlError
      UsageError        the command line makes no sense            2
      ManifestError     guest.toml or edge.toml is wrong           3
      BuildError        a compiler or library failed               4
      GuestError        a program did not boot, or failed          5
      VarnishError      Varnish refused, or cannot be reached      6
      DeployError       a deployment was given up                  7
      HostError         this machine lacks something               8
      SignatureError    a signature is missing, or not good        9

Everything else is a bug of kvmctl and shows a traceback.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What kvmctl ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    MANIFEST = 3
    BUILD = 4
    GUEST = 5
    VARNISH = 6
    DEPLOY = 7
    HOST = 8
    SIGNATURE = 9


class KvmctlError(Exception):
    """A sentence for people: what, where, how to mend it."""

    exit_code = ExitCode.FAILED


class UsageError(KvmctlError):
    exit_code = ExitCode.USAGE


class ManifestError(KvmctlError):
    exit_code = ExitCode.MANIFEST


class BuildError(KvmctlError):
    exit_code = ExitCode.BUILD


class GuestError(KvmctlError):
    exit_code = ExitCode.GUEST


class VarnishError(KvmctlError):
    exit_code = ExitCode.VARNISH


class DeployError(KvmctlError):
    exit_code = ExitCode.DEPLOY


class HostError(KvmctlError):
    exit_code = ExitCode.HOST


class SignatureError(KvmctlError):
    exit_code = ExitCode.SIGNATURE
