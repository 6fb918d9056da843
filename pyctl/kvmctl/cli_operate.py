# SPDX-License-Identifier: BSD-2-Clause
"""The command line's other half: commands about nodes that serve."""

import math
from pathlib import Path
from typing import Any

import click

from kvmctl import options
from kvmctl.environment import Environment


class _Seconds(click.FloatRange):
    """A range, in which `nan` is not: it compares with nothing."""

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


_site_argument = click.argument(
    "site", type=click.Path(path_type=Path), default="edge.toml")
_node_options = options.together(
    click.option("--store", envvar="KVMCTL_STORE",
                 type=click.Path(path_type=Path), default=None,
                 help="Where artefacts and releases are kept; a local node "
                      "reads them there.  [env: KVMCTL_STORE; default: "
                      "/var/lib/tinykvm, or ~/.local/state/tinykvm]"),
    click.option("--node", "nodes", multiple=True, metavar="NAME",
                 help="This node of [nodes], and no other; may be repeated."),
    click.option("-S", "secret", envvar="KVMCTL_SECRET",
                 type=click.Path(path_type=Path),
                 help="Secret file, with -T.  [env: KVMCTL_SECRET]"),
    click.option("-T", "address", envvar="KVMCTL_ADDRESS",
                 metavar="HOST:PORT",
                 help="Address of varnishd's command line.  "
                      "[env: KVMCTL_ADDRESS]"),
    click.option("-n", "name", envvar="KVMCTL_NAME",
                 help="Instance name or directory, as for varnishadm.  "
                      "[env: KVMCTL_NAME]"),
)
_roll_options = options.together(
    click.option("--failures", type=int, default=None, metavar="N",
                 help="So many nodes may fail before all is taken back.  "
                      "[default: of [rollout], else 0]"),
    click.option("--concurrency", type=int, default=None, metavar="N",
                 help="Nodes at a time, after the first.  "
                      "[default: of [rollout], else 4]"),
)
_WHERE = ("name", "address", "secret", "nodes", "store", "concurrency",
          "failures")
_least_option = click.option(
    "--min-requests", "least", type=click.IntRange(1, 10**9), default=50,
    show_default=True, help="Fewer on either side are no ground to judge.")


def _where(chosen: dict[str, Any]) -> Any:
    """The options that say which nodes, taken out of the others."""
    from kvmctl.commands.fleet import Where
    return Where(**{k: chosen.pop(k) for k in _WHERE if k in chosen})


@click.command()
@_site_argument
@click.option("--origin", "with_origin", is_flag=True,
              help="Before each line: its template or snippet, and the entry "
                   "of edge.toml.")
@options.json_option()
@click.pass_obj
def render(env: Environment, site: Path, with_origin: bool) -> None:
    """Show the VCL that edge.toml makes."""
    from kvmctl.commands import render as command
    command.run(env, site, with_origin)


@click.command()
@_site_argument
@_node_options
@options.out_option
@options.json_option()
@click.pass_obj
def plan(env: Environment, /, site: Path, out: Path, **chosen: Any) -> None:
    """Show what a deployment would change, as a diff; change nothing."""
    from kvmctl.commands import plan as command
    command.run(env, site, _where(chosen), out)


@click.command()
@_site_argument
@_node_options
@_roll_options
@options.out_option
@click.option("--force", is_flag=True,
              help="Load a new release even when nothing changed.")
@click.option("--canary", "percent", metavar="PERCENT",
              help="Only this share of the clients gets the new release.")
@click.option("--canary-header", "header", metavar="'NAME: VALUE'",
              help="Requests with this header get the new release.")
@click.option("--canary-cookie", "cookie", metavar="NAME",
              help="The value of this cookie decides who is in the share, "
                   "not the client's address.")
@click.option("--watch", type=_Seconds(0, 86400), metavar="SECONDS",
              help="Look at the canary for so long, then promote it, or "
                   "abort it as soon as it is worse.")
@_least_option
@options.json_option()
@click.pass_obj
def deploy(env: Environment, /, site: Path, out: Path, force: bool,
           percent: str | None, header: str | None, cookie: str | None,
           watch: float | None, least: int, **chosen: Any) -> None:
    """Build, load, probe and switch to a new release of the site.

    Until every probe was answered, and on any failure, the old release serves.
    """
    from kvmctl.commands import deploy as command
    from kvmctl.deploy import canary
    share = None
    if percent is not None or header is not None or cookie is not None:
        share = canary.share(percent, header, cookie)
    if watch is not None and share is None:
        raise click.UsageError("--watch is for --canary or --canary-header")
    command.run(env, site, _where(chosen), out, force, share, watch, least)


@click.command()
@_site_argument
@_node_options
@_roll_options
@options.out_option
@click.option("--force", is_flag=True,
              help="Also one that is worse, or hardly asked.")
@_least_option
@options.json_option()
@click.pass_obj
def promote(env: Environment, /, site: Path, out: Path, force: bool,
            least: int, **chosen: Any) -> None:
    """Give the canary to everybody, unless it is worse than what serves."""
    from kvmctl.commands import promote as command
    command.run(env, site, _where(chosen), out, force, least)


@click.command()
@_site_argument
@_node_options
@options.json_option()
@click.pass_obj
def abort(env: Environment, /, site: Path, **chosen: Any) -> None:
    """Take the canary away."""
    from kvmctl.commands import abort as command
    command.run(env, site, _where(chosen))


@click.command()
@_site_argument
@_node_options
@_roll_options
@click.option("--to", "release", help="This release, not the one before.")
@options.json_option()
@click.pass_obj
def rollback(env: Environment, /, site: Path, release: str | None,
             **chosen: Any) -> None:
    """Switch back to what served before, or to another one that is kept."""
    from kvmctl.commands import rollback as command
    command.run(env, site, _where(chosen), release)


@click.command()
@_site_argument
@_node_options
@click.option("--limit", type=click.IntRange(1, 100000), default=50,
              show_default=True, help="So many, the newest.")
@options.json_option()
@click.pass_obj
def history(env: Environment, /, site: Path, limit: int,
            **chosen: Any) -> None:
    """List releases: when, by whom, where, what, and what became of them."""
    from kvmctl.commands import history as command
    command.run(env, site, _where(chosen), limit)


@click.command()
@_site_argument
@_node_options
@options.json_option()
@click.pass_obj
def status(env: Environment, /, site: Path, **chosen: Any) -> None:
    """Show what serves, what should, what is kept, and counters."""
    from kvmctl.commands import status as command
    command.run(env, site, _where(chosen))


@click.command()
@_site_argument
@_node_options
@options.json_option()
@click.pass_obj
def stats(env: Environment, /, site: Path, **chosen: Any) -> None:
    """Show what programs have done since their VCL was loaded."""
    from kvmctl.commands import stats as command
    command.run(env, site, _where(chosen))


@click.command()
@_site_argument
@_node_options
@click.option("--once", is_flag=True, help="One table, then the end.")
@click.option("--interval", "seconds", type=_Seconds(0.1, 3600),
              default=1.0, show_default=True, help="Seconds of each table.")
@options.json_option()
@click.pass_obj
def top(env: Environment, /, site: Path, once: bool, seconds: float,
        **chosen: Any) -> None:
    """Watch programs: requests, errors, latencies, queues, forks, pages."""
    from kvmctl.commands import top as command
    command.run(env, site, _where(chosen), once, seconds)


@click.command()
@_site_argument
@_node_options
@click.option("--program", help="Requests of this program.")
@click.option("--errors", is_flag=True,
              help="Only those in which a program went wrong.")
@click.option("--past", is_flag=True,
              help="What the log still has, then the end.")
@options.json_option("One JSON object for each transaction.")
@click.pass_obj
def logs(env: Environment, /, site: Path, program: str | None, errors: bool,
         past: bool, **chosen: Any) -> None:
    """Follow the log of requests, by program."""
    from kvmctl.commands import logs as command
    command.run(env, site, _where(chosen), program, errors, past)


@click.command()
@_site_argument
@_node_options
@click.option("--once", is_flag=True, help="To standard output, once.")
@click.option("--port", type=click.IntRange(0, 65535), default=9464,
              show_default=True, help="Of 127.0.0.1; 0 is any.")
@click.option("--dashboard", is_flag=True,
              help="Write a dashboard for Grafana instead.")
@options.json_option()
@click.pass_obj
def metrics(env: Environment, /, site: Path, once: bool, port: int,
            dashboard: bool, **chosen: Any) -> None:
    """Serve figures for Prometheus on a port of 127.0.0.1."""
    from kvmctl.commands import metrics as command
    if dashboard:
        command.dashboard(env)
        return
    command.run(env, site, _where(chosen), once, port)


COMMANDS = (render, plan, deploy, promote, abort, rollback, history, status,
            stats, top, logs, metrics)
