# SPDX-License-Identifier: BSD-2-Clause
"""Figures for Prometheus, read when they are asked for.

    tinykvm_NAME_total{node,vcl,program}     counters; times in seconds
    tinykvm_NAME{node,vcl,program}           gauges
    kvmctl_node_up, kvmctl_node_drift{node}  1 or 0
    kvmctl_release_info{node,release}        1: what everybody gets
"""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from kvmctl.observe.rates import GAUGES

_LABELS = ("node", "vcl", "program")
#: Counters of Varnish's own, by their names here.
VARNISH = {"MAIN.client_req": "client_requests", "MAIN.cache_hit": "hits",
           "MAIN.cache_miss": "misses", "MAIN.s_pass": "passes",
           "MAIN.backend_fail": "backend_failures",
           "MGT.child_panic": "child_panics"}


def _name(counter: str) -> tuple[str, float]:
    """A counter's name for Prometheus, and its factor: us become seconds."""
    if counter.endswith("_time"):
        return f"tinykvm_{counter}_seconds", 1e-6
    return f"tinykvm_{counter.removeprefix('program_')}", 1.0


class Figures(Collector):
    """look() gives, for each node, what `status` knows, and `varnish`."""

    def __init__(self, look: Callable[[], list[dict[str, Any]]]) -> None:
        self._look = look

    def describe(self) -> Iterable[Metric]:
        """Nothing is read for a registration."""
        return []

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        up = GaugeMetricFamily("kvmctl_node_up", "The node answers",
                               labels=["node"])
        drift = GaugeMetricFamily(
            "kvmctl_node_drift", "Another release serves than should",
            labels=["node"])
        release = GaugeMetricFamily(
            "kvmctl_release_info", "What serves", labels=["node", "release"])
        for node in self._look():
            title = str(node["node"])
            up.add_metric([title], 0 if "error" in node else 1)
            drift.add_metric([title], 1 if node.get("drift") else 0)
            if node.get("active"):
                release.add_metric([title, str(node["active"])], 1)
            for vcl, programs in node.get("programs", {}).items():
                for program, values in programs.items():
                    for counter, value in values.items():
                        self._add(families, counter, value,
                                  [title, vcl, program])
            for counter, name in VARNISH.items():
                if counter in node.get("varnish", {}):
                    family = families.setdefault(name, CounterMetricFamily(
                        f"varnish_{name}", counter, labels=["node"]))
                    assert isinstance(family, CounterMetricFamily)
                    family.add_metric([title], node["varnish"][counter])
        yield from (up, drift, release, *families.values())

    @staticmethod
    def _add(families: dict[str, Metric], counter: str, value: int,
             labels: list[str]) -> None:
        name, factor = _name(counter)
        kind = (GaugeMetricFamily if counter in GAUGES
                else CounterMetricFamily)
        family = families.setdefault(
            name, kind(name, f"TINYKVM.*.*.{counter}", labels=_LABELS))
        assert isinstance(family, GaugeMetricFamily | CounterMetricFamily)
        family.add_metric(labels, value * factor)
