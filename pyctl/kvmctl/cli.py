# SPDX-License-Identifier: BSD-2-Clause
"""The command line. What commands do is in commands/, one module each."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import click

from kvmctl import __version__, cli_operate, files, options
from kvmctl import schema as schemas
from kvmctl.environment import Environment
from kvmctl.errors import ExitCode, KvmctlError

_COMPLETE_VARIABLE = "_KVMCTL_COMPLETE"

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
  9  a signature is missing, or not good
  130  interrupted
  141  whoever read the output has gone
"""


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
@options.json_option()
@click.pass_obj
def doctor(env: Environment, fix: bool, store: Path | None) -> None:
    """Look at this machine: what is missing, and how to mend it."""
    from kvmctl.commands import doctor as command
    command.run(env, fix, store)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("-l", "--lang", "language", required=True,
              type=click.Choice(schemas.compiled()), help="What it is written in.")
@options.json_option()
@click.pass_obj
def init(env: Environment, directory: Path, language: str) -> None:
    """Begin a program in any language.

    DIRECTORY gets a source, tests, guest.toml and edge.toml; its last part is
    the program's name. Nothing is overwritten.
    """
    from kvmctl.commands import init as command
    command.run(env, directory, language)


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@options.json_option()
@click.pass_obj
def check(env: Environment, paths: tuple[Path, ...]) -> None:
    """Check projects without building them.

    Shows every problem with its line. Each PATH is a directory with guest.toml
    or edge.toml, one of these, or a file of tests; the working directory unless
    named.
    """
    from kvmctl.commands import check as command
    command.run(env, paths)


@cli.command()
@click.argument("name", type=click.Choice(schemas.NAMES))
@click.pass_obj
def schema(env: Environment, name: str) -> None:
    """Show the JSON Schema of a kind of file.

    Of guest.toml, edge.toml or tests/*.toml. In one piece, for editors that check TOML.
    """
    from kvmctl.commands import schema as command
    command.run(env, name)


@cli.command()
@click.argument("guests", nargs=-1, required=True,
                type=click.Path(path_type=Path))
@click.option("-j", "--jobs", type=click.IntRange(1, 1000),
              help="How many at once.  [default: the CPUs]")
@click.option("--sign", is_flag=True, help="Sign what was built.")
@options.key_option
@options.out_option
@options.json_option()
@click.pass_obj
def build(env: Environment, guests: tuple[Path, ...], jobs: int | None,
          sign: bool, key: Path | None, out: Path) -> None:
    """Compile programs: each GUEST is a directory with guest.toml.

    The same sources give the same bytes, wherever they are; what was built
    before is not built again.
    """
    from kvmctl.commands import build as command
    command.run(env, guests, out, jobs, sign, key)


@cli.command()
@click.argument("program", type=click.Path(path_type=Path))
@options.json_option()
@click.pass_obj
def inspect(env: Environment, program: Path) -> None:
    """Look into an executable without running it."""
    from kvmctl.commands import inspect as command
    command.run(env, program)


@cli.command()
@click.argument("one", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@options.json_option()
@click.pass_obj
def diff(env: Environment, one: Path, other: Path) -> None:
    """Show what differs between two builds.

    In limits, permissions, calls of the guest API, and functions.
    """
    from kvmctl.commands import diff as command
    command.run(env, one, other)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@options.json_option()
@click.pass_obj
def key(env: Environment, path: Path | None) -> None:
    """Make a pair of keys: PATH, and the public one with .pub.

    Without PATH it is ~/.config/kvmctl/key.pem, with which `sign` signs.
    """
    from kvmctl.commands import key as command
    command.run(env, path)


@cli.command()
@click.argument("programs", nargs=-1, required=True,
                type=click.Path(path_type=Path))
@options.key_option
@options.json_option()
@click.pass_obj
def sign(env: Environment, programs: tuple[Path, ...],
         key: Path | None) -> None:
    """Sign built PROGRAMS.

    What they are, their limits and their permissions.
    """
    from kvmctl.commands import sign as command
    command.run(env, programs, key)


@cli.command()
@click.argument("programs", nargs=-1, required=True,
                type=click.Path(path_type=Path))
@options.trust_option
@options.json_option()
@click.pass_obj
def verify(env: Environment, programs: tuple[Path, ...],
           trust: Path | None) -> None:
    """Fail unless each of PROGRAMS is as somebody trusted signed it."""
    from kvmctl.commands import verify as command
    command.run(env, programs, trust)


@cli.command()
@options.request_options
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
@options.out_option
@options.json_option()
@click.pass_obj
def run(env: Environment, /, program: Path, **given: Any) -> None:
    """Ask a program once, in a virtual machine, without Varnish.

    PROGRAM is an executable, or a directory with guest.toml that is built
    first. The body goes to standard output, the rest to standard error.
    """
    from kvmctl.commands import run as command
    command.run(env, program, command.Options(**given))


@cli.command()
@options.request_options
@click.option("-n", "--requests", "number", default=2000, show_default=True,
              type=click.IntRange(1, 10_000_000), help="How many count.")
@click.option("--warm", default=50, show_default=True,
              type=click.IntRange(0, 1_000_000),
              help="How many before them do not.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE",
              help="Draw the distribution: .svg, .png, .pdf.")
@options.out_option
@options.json_option()
@click.pass_obj
def bench(env: Environment, /, program: Path, number: int, warm: int,
          plot: Path | None, **given: Any) -> None:
    """Measure calls of a program, without Varnish, one at a time.

    PROGRAM is an executable, or a directory with guest.toml that is built
    first. An empty call, in turns with it, is the floor.
    """
    from kvmctl.commands import bench as command
    from kvmctl.commands import run as run_command
    command.run(env, program, run_command.Options(**given),
                command.Options(number, warm, plot))


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("-k", "only", metavar="REGEX",
              help="Only tests in whose name this is found.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the results as JUnit's XML, too.")
@options.out_option
@options.json_option()
@click.pass_obj
def test(env: Environment, /, paths: tuple[Path, ...], **given: Any) -> None:
    """Run the tests of projects: tests/*.toml, without Varnish.

    Each PATH is a directory with guest.toml (built first) or edge.toml, or one
    file of tests; the working directory unless named. Every test has a reset
    virtual machine.
    """
    from kvmctl.commands import test as command
    command.run(env, paths, command.Options(**given))


@cli.command()
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option("--port", type=click.IntRange(0, 65535),
              help="On 127.0.0.1; 0 is any.  [default: the site's \"listen\", "
              "or 8080]")
@options.out_option
@options.json_option()
@click.pass_obj
def serve(env: Environment, /, path: Path, **given: Any) -> None:
    """Serve a site from a Varnish of its own, anew at every change.

    PATH is an edge.toml, or a directory with edge.toml or guest.toml. Shows
    requests, what programs log and why they fail, and how long a change took to
    be live. Ctrl-C stops everything. With --json each event is a line.
    """
    from kvmctl.commands import serve as command
    command.run(env, path, command.Options(**given))


@cli.command()
@click.option("--markdown", is_flag=True, help="As a table for a document.")
@options.json_option()
@click.pass_obj
def syscalls(env: Environment, markdown: bool) -> None:
    """List the Linux system calls that programs may make."""
    from kvmctl.commands import syscalls as command
    command.run(env, markdown)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Show the script with which a shell completes kvmctl's words.

    \b
    bash:  eval "$(kvmctl completion bash)"      in ~/.bashrc
    zsh:   eval "$(kvmctl completion zsh)"       in ~/.zshrc
    fish:  kvmctl completion fish | source       in config.fish
    """
    from kvmctl.commands import completion as command
    command.run(context.obj, cli, shell, _COMPLETE_VARIABLE)


for _command in cli_operate.COMMANDS:
    cli.add_command(_command)


def _failed(env: Environment, message: str, code: ExitCode) -> int:
    """Tells people; and a machine, unless it has the result already."""
    env.error(message)
    if env.as_json and not env.answered:
        env.result_json({"error": message, "exit_code": int(code)})
    return code


def invoke(arguments: list[str], env: Environment) -> int:
    """Runs one command; what it ends with. Bugs propagate."""
    try:
        cli.main(args=arguments, prog_name="kvmctl", obj=env,
                 complete_var=_COMPLETE_VARIABLE, standalone_mode=False)
        return ExitCode.OK
    except KvmctlError as e:
        return _failed(env, str(e), e.exit_code)
    except click.exceptions.NoArgsIsHelpError as e:
        env.stderr.write(e.format_message() + "\n")
        return ExitCode.USAGE
    except click.ClickException as e:
        # What is wrong may stand before --json, which is then not seen.
        env.as_json = env.as_json or "--json" in arguments
        code = _failed(env, e.format_message(), ExitCode.USAGE)
        env.stderr.write("try: kvmctl --help\n")
        return code
    except click.exceptions.Exit as e:
        return e.exit_code
    except BrokenPipeError:
        raise
    except OSError as e:
        return _failed(env, files.sentence(e), ExitCode.FAILED)
    except (click.Abort, KeyboardInterrupt):
        env.error("interrupted")
        return 128 + 2


def main() -> None:
    """The entry point of `kvmctl`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may be no UTF-8: as stderr shows it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = invoke(sys.argv[1:], Environment())
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has gone; Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + 13
    sys.exit(code)
