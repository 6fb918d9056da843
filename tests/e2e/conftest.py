# SPDX-License-Identifier: BSD-2-Clause
"""A live varnishd with the hostile program."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from kvmctl.varnish import stats
from kvmctl.varnish.private import PrivateVarnish


@dataclass
class Live:
    """A varnishd, one connection to it, its counters."""

    varnish: PrivateVarnish
    session: requests.Session

    def use(self, vcl: str, name: str = "it") -> None:
        path: Path = self.varnish.directory / f"{name}.vcl"
        path.write_text("vcl 4.1;\nimport tinykvm;\nbackend default none;\n"
                        + vcl)
        self.varnish.admin.load(name, path)
        self.varnish.admin.use(name)

    def ask(self, path: str, method: str = "GET",
            **options: object) -> requests.Response:
        return self.session.request(
            method, self.varnish.url + path, timeout=60,
            **options)  # type: ignore[arg-type]

    def counter(self, name: str) -> int:
        return stats.counters(str(self.varnish.node.name), name)[name]


@pytest.fixture
def live() -> Iterator[Live]:
    with PrivateVarnish() as varnish, requests.Session() as session:
        session.trust_env = False
        it = Live(varnish, session)
        yield it
        assert it.counter("MGT.child_panic") == 0, varnish.admin.panics()
        assert it.counter("MGT.child_died") == 0
        assert it.counter("MGT.child_start") == 1


@pytest.fixture
def hostile(live: Live) -> Callable[..., Live]:
    """Takes the settings of the program; gives a varnishd that runs it."""
    from support.paths import guest

    def start(settings: str) -> Live:
        live.use(f"""
            sub vcl_init {{
                tinykvm.configure("hostile", {{"{{
                    "filename": "{guest('hostile')}", "max_memory": 64,
                    {settings} }} "}});
                tinykvm.start("hostile", async = false);
            }}
            sub vcl_recv {{ return (pass); }}
            sub vcl_backend_fetch {{
                set bereq.backend = tinykvm.program("hostile", bereq.url,
                    bereq.http.X-Arg);
            }}""")
        return live
    return start
