# SPDX-License-Identifier: BSD-2-Clause
"""Counters of programs at two times, and what was between them."""

from dataclasses import dataclass, field

from kvmctl.quantiles import quantile
from kvmctl.varnish.stats import REQUESTS, Counters, failed

GAUGES = ("forks", "forks_busy", "queue_length", "storage_queue",
          "storage_timers", "sockets_open", "master_bytes",
          "working_set_bytes")


@dataclass(frozen=True)
class Rate:
    """One program of one VCL. Per second, but for gauges and quantiles."""

    vcl: str
    program: str
    requests: float
    errors: float
    cpu_ms: float | None                # of a request
    pages: float | None                 # written, of a request
    forks: int
    busy: int
    queue: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass
class Latencies:
    """Seconds of requests, by VCL and program."""

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, vcl: str, program: str, seconds: float) -> None:
        self.seconds.setdefault((vcl, program), []).append(seconds)

    def quantile(self, vcl: str, program: str, q: float) -> float | None:
        """In milliseconds; None when nothing was seen."""
        values = self.seconds.get((vcl, program))
        return quantile(values, q) * 1e3 if values else None


def rates(before: Counters, after: Counters, seconds: float,
          seen: Latencies) -> list[Rate]:
    """Of every program there is, the busiest first."""
    out = []
    for vcl, programs in after.items():
        for program, values in programs.items():
            old = before.get(vcl, {}).get(program, {})
            more = {k: max(0, v - old.get(k, 0)) for k, v in values.items()}
            n = more.get("invocations", 0)
            out.append(Rate(
                vcl, program,
                sum(more.get(k, 0) for k in REQUESTS) / seconds,
                failed(more) / seconds,
                more.get("cpu_time", 0) / n / 1e3 if n else None,
                more.get("pages_written", 0) / n if n else None,
                values.get("forks", 0), values.get("forks_busy", 0),
                values.get("queue_length", 0),
                seen.quantile(vcl, program, 0.5),
                seen.quantile(vcl, program, 0.99)))
    return sorted(out, key=lambda r: (-r.requests, r.vcl, r.program))
