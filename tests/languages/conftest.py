# SPDX-License-Identifier: BSD-2-Clause
"""All language guests in one live varnishd."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kvmctl.guest import manifest
from support.live import Live, running
from support.paths import SOURCES, guest

from .cases import GUESTS


def vcl_json(settings: dict[str, Any]) -> str:
    """JSON in a long string of VCL, which ends at the first `"}`."""
    return json.dumps(settings).replace('"}', '" }')


@pytest.fixture(scope="module")
def site() -> Iterator[Live]:
    """/NAME/... goes to the guest NAME, with X-Arg as the argument."""
    vcl = "sub vcl_init {\n"
    for it in GUESTS:
        settings = manifest.load(SOURCES / it.name).settings | it.settings | {
            "filename": str(guest(it.name)), "concurrency": 1}
        vcl += (f'    tinykvm.configure("{it.name}", '
                f'{{"{vcl_json(settings)} "}});\n')
    vcl += """}
        sub vcl_recv { return (pass); }
        sub vcl_backend_fetch {
            set bereq.http.X-Program = regsub(bereq.url, "^/([^/]*).*", "\\1");
            set bereq.url = regsub(bereq.url, "^/[^/]*", "");
            unset bereq.http.Accept-Encoding;
            set bereq.backend = tinykvm.program(bereq.http.X-Program,
                bereq.url, bereq.http.X-Arg);
        }"""
    with running() as live:
        live.use(vcl)
        yield live
