# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl bench."""

from dataclasses import dataclass
from pathlib import Path

from kvmctl import files
from kvmctl.commands import run as run_command
from kvmctl.engine import Engine
from kvmctl.environment import Environment
from kvmctl.errors import HostError, KvmctlError
from kvmctl.trial import figures
from kvmctl.trial.program import prepare

_WIDTH = 50                             # of the longest bar, in characters


@dataclass(frozen=True)
class Options:
    """What the command line said beyond the request."""

    requests: int
    warm: int
    plot: Path | None


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.1f}"


def _show(env: Environment, it: figures.Measured) -> None:
    rows = [("call", figures.summary(it.program.seconds)),
            ("reset", figures.summary(it.program.reset_seconds)),
            ("call and reset", figures.summary(it.program.whole))]
    if it.floor is not None:
        rows.append(("empty call", figures.summary(it.floor.whole)))
    env.result(f"{'us':16}" + "".join(f"{name:>10}" for name in rows[0][1]))
    for name, values in rows:
        env.result(f"{name:16}" + "".join(f"{_us(v):>10}"
                                          for v in values.values()))
    env.result("")
    buckets = figures.histogram(it.program.whole)
    most = max(n for _, _, n in buckets)
    for low, high, n in buckets:
        bar = "#" * round(n / most * _WIDTH) or ("." if n else "")
        env.result(f"{_us(low):>10} to {_us(high):>10} us {n:8}  {bar}"
                   .rstrip())
    env.result("")
    answers = ", ".join(f"{n} x {k}" for k, n in
                        sorted(it.program.statuses.items()))
    exits = f"{it.program.exits} exit{'' if it.program.exits == 1 else 's'}"
    env.result(f"{answers}; {exits} and "
               f"{it.program.pages_written} pages written each; booted in "
               f"{it.boot_seconds * 1e3:.1f} ms")
    if it.ratio is not None:
        env.result(f"{it.ratio:.2f} times an empty call")
    else:
        env.note(f"no empty call to compare with: {it.no_floor}")


def run(env: Environment, path: Path, asked: run_command.Options,
        options: Options) -> None:
    """Measures, and shows the distribution."""
    requests = run_command.requests_of(env, asked)
    name, settings = prepare(env, path, asked.out)
    env.status(f"asking {name} {options.requests} times ...")
    with Engine() as engine:
        found = figures.measure(engine, name, settings, requests,
                                options.requests, options.warm)
    if options.plot is not None:
        try:
            with files.problems(KvmctlError, "the plot cannot be written"):
                figures.plot(found, name, options.plot)
        except ImportError:
            raise HostError("matplotlib is missing: pip install matplotlib"
                            ) from None
        except ValueError as e:         # of a format that it does not know
            raise KvmctlError(f"{options.plot}: {e}") from None
    if env.as_json:
        env.result_json(found.to_json())
    else:
        _show(env, found)
