# SPDX-License-Identifier: BSD-2-Clause
"""Manual pages, out of what the commands say: python -m kvmctl.man DIRECTORY

One page for kvmctl and one for each command, in man(7)'s macros.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from kvmctl import __version__, files
from kvmctl.cli import cli

_FILES = """\
guest.toml, edge.toml and tests/*.toml are described in REFERENCE.md, and by
`kvmctl schema`.
"""


def _text(text: str) -> str:
    """Words as roff takes them."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def _heading(name: str) -> Iterator[str]:
    yield f'.TH "{name.upper().replace(" ", "-")}" "1" "" ' \
        f'"kvmctl {__version__}" "TinyKVM for Varnish"'


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in paragraph.splitlines()]
        if lines[0] == "\b":            # click: leave these lines as they are
            yield ".PP\n.nf"
            yield from map(_text, lines[1:])
            yield ".fi"
        else:
            yield ".PP"
            yield _text(" ".join(lines))


def _options(command: click.Command,
             context: click.Context) -> Iterator[str]:
    rows = [r for r in (p.get_help_record(context)
                        for p in command.get_params(context)) if r]
    if rows:
        yield ".SH OPTIONS"
    for name, text in rows:
        yield f".TP\n\\fB{_text(name)}\\fR"
        yield _text(text)


def _page(command: click.Command, context: click.Context) -> Iterator[str]:
    name = context.command_path
    yield from _heading(name)
    short = command.get_short_help_str(200).rstrip(".")
    yield f".SH NAME\n{_text(name.replace(' ', '-'))} \\- {_text(short)}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SH SYNOPSIS\n\\fB{_text(name)}\\fR {_text(usage)}"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(command.help or "")
    yield from _options(command, context)
    if isinstance(command, click.Group):
        yield ".SH COMMANDS"
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found is not None
            yield f".TP\n\\fBkvmctl\\-{_text(sub)}\\fR(1)"
            yield _text(found.get_short_help_str(200))
    yield ".SH EXIT STATUS"
    yield from _paragraphs((cli.epilog or "").replace("Exit codes:\n", ""))
    yield ".SH FILES"
    yield from _paragraphs(_FILES)


def pages() -> dict[str, str]:
    """File names to texts."""
    top = click.Context(cli, info_name="kvmctl")
    found = {"kvmctl.1": "\n".join(_page(cli, top)) + "\n"}
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=top)
        found[f"kvmctl-{name}.1"] = "\n".join(_page(command, context)) + "\n"
    return found


def main() -> None:
    """Writes all of them into a directory."""
    directory = Path(sys.argv[1])
    for name, text in pages().items():
        files.write_whole(directory / name, text.encode())


if __name__ == "__main__":
    main()
