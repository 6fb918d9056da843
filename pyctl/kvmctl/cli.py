# SPDX-License-Identifier: BSD-2-Clause
"""The command line. What commands do is in commands/, one module each."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from kvmctl import __version__, cli_operate
from kvmctl.environment import Environment
from kvmctl.errors import ExitCode, KvmctlError
from kvmctl.guest.manifest import COMPILED

F = TypeVar("F", bound=Callable[..., Any])

_EXIT_CODES = """\b
Exit codes:
  0  done
  1  something failed
  2  the command line makes no sense
  3  guest.toml, edge.toml or settings are wrong
  4  a program does not compile
  5  a program does not boot, or failed
  6  Varnish refused, or cannot be reached
  7  a deployment was given up; the old release serves on
  8  this machine lacks something (see kvmctl doctor)
"""

_json = click.option("--json", "as_json", is_flag=True,
                     help="The result as JSON.")


def _out_option(function: F) -> F:
    return click.option(
        "-o", "--out", type=click.Path(path_type=Path), default="build/guests",
        envvar="KVMCTL_OUT", show_default=True,
        help="Where built programs go.  [env: KVMCTL_OUT]")(function)


@click.group(epilog=_EXIT_CODES,
             context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kvmctl")
@click.pass_context
def cli(context: click.Context) -> None:
    """Build, check, run and deploy TinyKVM programs for Varnish.

    Results go to standard output, everything else to standard error.
    """
    if context.obj is None:
        context.obj = Environment()


@cli.command()
@click.option("--fix", is_flag=True,
              help="Mend what can be mended safely: missing directories, "
                   "damaged histories, the worker's group.")
@click.option("--store", envvar="KVMCTL_STORE",
              type=click.Path(path_type=Path), default=None,
              help="The store to look at.  [env: KVMCTL_STORE]")
@_json
@click.pass_obj
def doctor(env: Environment, fix: bool, store: Path | None,
           as_json: bool) -> None:
    """Look at this machine: what is missing, and how to mend it."""
    from kvmctl.commands import doctor as command
    env.as_json = as_json
    command.run(env, fix, store)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("-l", "--lang", "language", required=True,
              type=click.Choice(COMPILED), help="What it is written in.")
@click.pass_obj
def init(env: Environment, directory: Path, language: str) -> None:
    """Begin a program: DIRECTORY with a source, guest.toml and edge.toml.

    Its last part is the program's name. Nothing is overwritten.
    """
    from kvmctl.commands import init as command
    command.run(env, directory, language)


@cli.command()
@click.argument("guests", nargs=-1, required=True,
                type=click.Path(path_type=Path))
@_out_option
@_json
@click.pass_obj
def build(env: Environment, guests: tuple[Path, ...], out: Path,
          as_json: bool) -> None:
    """Compile programs: each GUEST is a directory with guest.toml."""
    from kvmctl.commands import build as command
    env.as_json = as_json
    command.run(env, guests, out)


@cli.command()
@click.argument("program", type=click.Path(path_type=Path))
@_json
@click.pass_obj
def inspect(env: Environment, program: Path, as_json: bool) -> None:
    """Look into an executable without running it."""
    from kvmctl.commands import inspect as command
    env.as_json = as_json
    command.run(env, program)


@cli.command()
@click.argument("program", type=click.Path(path_type=Path))
@click.argument("url", default="/")
@click.option("-X", "--method", help="The method; POST when there is a body.")
@click.option("-H", "--header", "headers", multiple=True,
              metavar="'NAME: VALUE'", help="A request header.")
@click.option("-d", "--data", help="The body; @FILE reads it, @- from stdin.")
@click.option("--arg", default="", help="The argument beside the URL.")
@click.option("--repeat", type=click.IntRange(1, 1_000_000), default=1,
              help="Ask so many times; the last answer is shown.")
@click.option("--output", type=click.Path(path_type=Path),
              help="Write the body to this file.")
@click.option("--trace", is_flag=True,
              help="Show every call that the program makes, and refusals.")
@click.option("--gdb", type=click.IntRange(0, 65535), is_flag=False,
              flag_value=0, metavar="[PORT]",
              help="Stop where the request begins, at breakpoints that the "
              "program calls, and before it fails, and wait for GDB on this "
              "port of 127.0.0.1. PORT may be left out where --gdb is the "
              "last word.")
@_out_option
@_json
@click.pass_obj
def run(env: Environment, /, program: Path, as_json: bool,
        **options: Any) -> None:
    """Ask a program once, in a virtual machine, without Varnish.

    PROGRAM is an executable, or a directory with guest.toml that is built
    first. The body goes to standard output, the rest to standard error.
    """
    from kvmctl.commands import run as command
    env.as_json = as_json
    command.run(env, program, command.Options(**options))


@cli.command()
@click.option("--markdown", is_flag=True, help="As a table for a document.")
@_json
@click.pass_obj
def syscalls(env: Environment, markdown: bool, as_json: bool) -> None:
    """List the Linux system calls that programs may make."""
    from kvmctl.commands import syscalls as command
    env.as_json = as_json
    command.run(env, markdown)


for _command in cli_operate.COMMANDS:
    cli.add_command(_command)


def invoke(arguments: list[str], env: Environment) -> int:
    """Runs one command; what it ends with. Bugs propagate."""
    try:
        cli.main(args=arguments, prog_name="kvmctl", obj=env,
                 standalone_mode=False)
        return ExitCode.OK
    except KvmctlError as e:
        env.error(str(e))
        if env.as_json and not env.answered:
            env.result_json({"error": str(e), "exit_code": int(e.exit_code)})
        return e.exit_code
    except click.exceptions.NoArgsIsHelpError as e:
        env.stderr.write(e.format_message() + "\n")
        return ExitCode.USAGE
    except click.ClickException as e:
        env.error(e.format_message())
        env.stderr.write("try: kvmctl --help\n")
        return ExitCode.USAGE
    except click.exceptions.Exit as e:
        return e.exit_code
    except (click.Abort, KeyboardInterrupt):
        env.error("interrupted")
        return 128 + 2


def main() -> None:
    """The entry point of `kvmctl`."""
    try:
        code = invoke(sys.argv[1:], Environment())
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has gone; Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + 13
    sys.exit(code)
