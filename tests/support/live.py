# SPDX-License-Identifier: BSD-2-Clause
"""A live varnishd for tests."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from kvmctl.varnish import stats
from kvmctl.varnish.private import PrivateVarnish
from kvmctl.vcl import escape
from support.paths import settings


def configure(name: str, settings: dict[str, Any]) -> str:
    """A line of vcl_init: this program."""
    return (f"tinykvm.configure({escape.string(name)}, "
            f"{escape.string(json.dumps(settings))});\n")


@dataclass
class Live:
    """A varnishd, one connection to it, its counters."""

    varnish: PrivateVarnish
    session: requests.Session
    deaths: int = 0                     # of its child, which the test meant

    def use(self, vcl: str, name: str = "it") -> None:
        path: Path = self.varnish.directory / f"{name}.vcl"
        path.write_text("vcl 4.1;\nimport tinykvm;\nbackend default none;\n"
                        + vcl)
        self.varnish.admin.load(name, path)
        self.varnish.admin.use(name)

    def use_guests(self, names: Iterable[str]) -> None:
        """As use_programs: the guests of these names, with one fork each."""
        self.use_programs({name: settings(name) for name in names})

    def use_programs(self, programs: dict[str, dict[str, Any]],
                     name: str = "it") -> None:
        """/NAME/... goes to the program NAME, with X-Arg as the argument."""
        lines = "".join(configure(*each) for each in programs.items())
        self.use("sub vcl_init {\n" + lines + """}
            sub vcl_recv { return (pass); }
            sub vcl_backend_fetch {
                set bereq.http.X-Program = regsub(bereq.url, "^/([^/]*).*",
                    "\\1");
                set bereq.url = regsub(bereq.url, "^/[^/]*", "");
                unset bereq.http.Accept-Encoding;
                set bereq.backend = tinykvm.program(bereq.http.X-Program,
                    bereq.url, bereq.http.X-Arg);
            }""", name)

    def ask(self, path: str, method: str = "GET",
            **options: object) -> requests.Response:
        return self.session.request(
            method, self.varnish.url + path, timeout=60,
            **options)  # type: ignore[arg-type]

    def counter(self, name: str) -> int:
        return stats.counters(str(self.varnish.node.name), name)[name]

    def program(self, name: str) -> dict[str, int]:
        """Counters of a program, while there is one VCL."""
        found = stats.programs(str(self.varnish.node.name))
        (programs,) = found.values()
        return programs[name]


@contextmanager
def running(**parameters: str) -> Iterator[Live]:
    """One varnishd, whose child must still be the first at the end."""
    with PrivateVarnish(parameters=parameters) as varnish, \
            requests.Session() as session:
        session.trust_env = False
        it = Live(varnish, session)
        yield it
        assert it.counter("MGT.child_panic") == 0, varnish.admin.panics()
        assert it.counter("MGT.child_died") == it.deaths
        assert it.counter("MGT.child_start") == 1 + it.deaths
