# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl metrics."""

import signal
from importlib import resources
from pathlib import Path
from typing import Any

from kvmctl import site as sites
from kvmctl.commands.fleet import Where
from kvmctl.commands.status import look_at_all
from kvmctl.environment import Environment
from kvmctl.errors import HostError


def dashboard(env: Environment) -> None:
    """A dashboard for Grafana's import."""
    text = resources.files("kvmctl.observe").joinpath("grafana.json")
    env.stdout.write(text.read_text())


def run(env: Environment, path: Path, where: Where, once: bool,
        port: int) -> None:
    """Writes the figures once, or serves them on 127.0.0.1."""
    # Imported here: no other command waits for it.
    import prometheus_client

    from kvmctl.observe.prometheus import VARNISH, Figures
    site = sites.load(path)
    nodes, files = where.targets(site), where.files(site)

    def every() -> list[dict[str, Any]]:
        return look_at_all(site, nodes, files, *VARNISH)

    registry = prometheus_client.CollectorRegistry()
    registry.register(Figures(every))
    if env.as_json:
        env.result_json({"nodes": every()})
        return
    if once:
        env.result_text(
            prometheus_client.generate_latest(registry).decode())
        return
    try:
        server, thread = prometheus_client.start_http_server(
            port, "127.0.0.1", registry)
    except OSError as e:
        raise HostError(f"cannot listen on 127.0.0.1:{port}: {e.strerror}; "
                        "another port is taken by --port") from None
    env.result(f"http://127.0.0.1:{server.server_port}/metrics")
    env.stdout.flush()
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
