# SPDX-License-Identifier: BSD-2-Clause
"""A live varnishd with the hostile program."""

from collections.abc import Callable, Iterator

import pytest

from support.live import Live, running


@pytest.fixture
def live() -> Iterator[Live]:
    with running() as it:
        yield it


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
