# SPDX-License-Identifier: BSD-2-Clause
"""Is a canary worse than what serves? From the counters of the two VCLs.

Errors are compared as proportions (two-proportion z-test), latency by the mean
time of a request in queue and program. A small difference of few requests is
chance: it takes MIN_REQUESTS on both sides to say anything but "too few".
"""

import math
from dataclasses import dataclass

from kvmctl.varnish.stats import FAILED, REQUESTS, Counters

MIN_REQUESTS = 50
#: One-sided, a chance of 1 in 1000.
_Z = 3.09
#: A canary may be so much slower, as a ratio and in seconds.
_SLOWER, _SLOWER_SECONDS = 1.5, 0.001

BETTER, WORSE, FEW = "not worse", "worse", "too few requests"


@dataclass(frozen=True)
class Figures:
    """Of one VCL: requests, failed ones, seconds of them all."""

    requests: int
    errors: int
    seconds: float

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    @property
    def latency(self) -> float:
        """Seconds of a request, on average."""
        return self.seconds / self.requests if self.requests else 0.0

    def since(self, before: "Figures") -> "Figures":
        return Figures(max(0, self.requests - before.requests),
                       max(0, self.errors - before.errors),
                       max(0.0, self.seconds - before.seconds))


@dataclass(frozen=True)
class Verdict:
    """What the figures say, and why."""

    word: str
    reason: str
    stable: Figures
    canary: Figures


def figures(counters: Counters, vcl: str) -> Figures:
    """The sum over all programs of a VCL."""
    requests = errors = microseconds = 0
    for values in counters.get(vcl, {}).values():
        requests += sum(values.get(key, 0) for key in REQUESTS)
        errors += sum(values.get(key, 0) for key in FAILED)
        microseconds += (values.get("cpu_time", 0)
                         + values.get("reservation_time", 0))
    return Figures(requests, min(errors, requests), microseconds / 1e6)


def judge(stable: Figures, canary: Figures,
          least: int = MIN_REQUESTS) -> Verdict:
    """Compares the two."""
    if canary.requests < least or stable.requests < least:
        return Verdict(FEW, f"{canary.requests} requests by the canary and "
                       f"{stable.requests} by the release that serves; "
                       f"{least} each are needed", stable, canary)
    pooled = ((stable.errors + canary.errors)
              / (stable.requests + canary.requests))
    spread = math.sqrt(pooled * (1 - pooled)
                       * (1 / stable.requests + 1 / canary.requests))
    more = canary.error_rate - stable.error_rate
    if more > 0 and more > _Z * spread:
        return Verdict(WORSE, f"{canary.error_rate:.1%} of its requests fail, "
                       f"{stable.error_rate:.1%} of those before", stable,
                       canary)
    if canary.latency > stable.latency * _SLOWER \
            and canary.latency > stable.latency + _SLOWER_SECONDS:
        return Verdict(WORSE, f"a request takes {canary.latency * 1e3:.2f} "
                       f"ms, {stable.latency * 1e3:.2f} ms before", stable,
                       canary)
    return Verdict(BETTER, f"{canary.error_rate:.1%} errors and "
                   f"{canary.latency * 1e3:.2f} ms a request, "
                   f"{stable.error_rate:.1%} and "
                   f"{stable.latency * 1e3:.2f} ms before", stable, canary)
