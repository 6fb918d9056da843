# SPDX-License-Identifier: BSD-2-Clause
"""Is a canary worse than what serves? From the counters of the two VCLs.

Errors are compared by Fisher's exact test, which is right for few of them, too;
latency by the mean time of a request in queue and program. A small difference
of few requests is chance: it takes MIN_REQUESTS on both sides to say anything
but "too few".
"""

import math
from dataclasses import dataclass

from kvmctl.varnish.stats import REQUESTS, Counters, failed

MIN_REQUESTS = 50
#: So small a chance is none, at one look. A watch looks each second and ends at
#: the first "worse". Of canaries that fail as often as what serves it takes 0 to
#: 2.3 in a thousand for worse within 300 s: simulated, 10,000 each of 0.1, 1 and
#: 10 % failing, at 10, 100 and 1000 requests a second, of which they had 10 %, and
#: at 100, of which they had half.
_CHANCE = 1e-4
#: A canary may be so much slower, as a ratio and in seconds.
_SLOWER, _SLOWER_SECONDS = 1.5, 0.001

SOUND, WORSE, FEW = "not worse", "worse", "too few requests"


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

    def anew(self, before: "Figures") -> bool:
        """Do they count from another beginning than those before?

        No counter goes back but with a new worker, which begins at zero.
        """
        return (self.requests < before.requests or self.errors < before.errors
                or self.seconds < before.seconds)

    def since(self, before: "Figures") -> "Figures":
        """What came since then; all of it when the worker began anew."""
        if self.anew(before):
            return self
        requests = self.requests - before.requests
        return Figures(requests, min(requests, self.errors - before.errors),
                       self.seconds - before.seconds)


NOTHING = Figures(0, 0, 0.0)


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
        errors += failed(values)
        microseconds += (values.get("cpu_time", 0)
                         + values.get("reservation_time", 0))
    return Figures(requests, min(errors, requests), microseconds / 1e6)


def chance(stable: Figures, canary: Figures) -> float:
    """How probable so many errors of the canary are if both are alike.

    Fisher's exact test, one-sided: of all requests `failing` fail, and the
    canary had `canary.requests` of them. The tail of the hypergeometric
    distribution, term by term out of the one before; never more terms than
    errors, and far fewer as a rule.
    """
    n, errors = canary.requests, canary.errors
    whole = n + stable.requests
    failing = errors + stable.errors
    if errors * whole <= failing * n:
        return 1.0                      # no more than its share

    def ways(of: int, some: int) -> float:
        return (math.lgamma(of + 1) - math.lgamma(some + 1)
                - math.lgamma(of - some + 1))

    term = math.exp(ways(failing, errors) + ways(whole - failing, n - errors)
                    - ways(whole, n))
    total = 0.0
    for k in range(errors, min(failing, n) + 1):
        total += term
        term *= ((failing - k) * (n - k)
                 / ((k + 1) * (whole - failing - n + k + 1)))
        if term <= total * 1e-9:        # and the next ones are smaller still
            break
    return min(1.0, total)


def judge(stable: Figures, canary: Figures,
          least: int = MIN_REQUESTS) -> Verdict:
    """Compares the two."""
    if canary.requests < least or stable.requests < least:
        return Verdict(FEW, f"{canary.requests} requests by the canary and "
                       f"{stable.requests} by the release that serves; "
                       f"{least} each are needed", stable, canary)
    if chance(stable, canary) < _CHANCE:
        return Verdict(WORSE, f"{canary.error_rate:.1%} of its requests fail, "
                       f"{stable.error_rate:.1%} of those before", stable,
                       canary)
    if canary.latency > stable.latency * _SLOWER \
            and canary.latency > stable.latency + _SLOWER_SECONDS:
        return Verdict(WORSE, f"a request takes {canary.latency * 1e3:.2f} "
                       f"ms, {stable.latency * 1e3:.2f} ms before", stable,
                       canary)
    return Verdict(SOUND, f"{canary.error_rate:.1%} errors and "
                   f"{canary.latency * 1e3:.2f} ms a request, "
                   f"{stable.error_rate:.1%} and "
                   f"{stable.latency * 1e3:.2f} ms before", stable, canary)
