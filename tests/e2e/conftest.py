# SPDX-License-Identifier: BSD-2-Clause
"""A live varnishd with the hostile program."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.live import Live, configure, running
from support.paths import guest


@pytest.fixture
def live() -> Iterator[Live]:
    with running() as it:
        yield it


@pytest.fixture
def hostile(live: Live) -> Callable[..., Live]:
    """Takes the settings of the program; gives a varnishd that runs it."""
    def start(**settings: Any) -> Live:
        live.use("sub vcl_init {" + configure("hostile", {
            "filename": str(guest("hostile")), "max_memory": 64,
            "max_request_memory": 16} | settings) + """
                tinykvm.start("hostile", async = false);
            }
            sub vcl_recv { return (pass); }
            sub vcl_backend_fetch {
                set bereq.backend = tinykvm.program("hostile", bereq.url,
                    bereq.http.X-Arg);
            }""")
        return live
    return start
