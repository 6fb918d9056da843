# SPDX-License-Identifier: BSD-2-Clause
"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from kvmctl.environment import Environment

F = TypeVar("F", bound=Callable[..., Any])


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one; the last is the first that help shows."""
    def add(function: F) -> F:
        for option in options:
            function = option(function)
        return function
    return add


def json_option(text: str = "The result as JSON.") -> Callable[[F], F]:
    """--json: the command's environment has it, and not its function."""
    def said(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.ensure_object(Environment).as_json = value

    return click.option("--json", "as_json", is_flag=True, help=text,
                        expose_value=False, callback=said)


def out_option(function: F) -> F:
    """-o: where what is built goes."""
    return click.option(
        "-o", "--out", type=click.Path(path_type=Path), default="build/guests",
        envvar="KVMCTL_OUT", show_default=True,
        help="Where built programs go.  [env: KVMCTL_OUT]")(function)


def key_option(function: F) -> F:
    """--key: whose signature it will be."""
    return click.option(
        "--key", type=click.Path(path_type=Path), envvar="KVMCTL_KEY",
        help="The private key.  [env: KVMCTL_KEY; default: "
             "~/.config/kvmctl/key.pem]")(function)


def trust_option(function: F) -> F:
    """--trust: whose signatures are good."""
    return click.option(
        "--trust", type=click.Path(path_type=Path), envvar="KVMCTL_TRUST",
        help="A public key, or a directory of *.pub.  [env: KVMCTL_TRUST; "
             "default: ~/.config/kvmctl/trusted]")(function)


def request_options(function: F) -> F:
    """PROGRAM [URL] and what else makes a request."""
    return together(
        click.option("--arg", default="", help="The argument beside the URL."),
        click.option("--request", metavar="FILE",
                     help="Ask what is in this file instead: .http, as "
                          "editors have it, or .har, as browsers save it; - "
                          "is stdin."),
        click.option("-d", "--data",
                     help="The body; @FILE reads it, @- from stdin."),
        click.option("-H", "--header", "headers", multiple=True,
                     metavar="'NAME: VALUE'", help="A request header."),
        click.option("-X", "--method",
                     help="The method; POST when there is a body."),
        click.argument("url", default="/"),
        click.argument("program", type=click.Path(path_type=Path)),
    )(function)
