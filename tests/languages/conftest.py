# SPDX-License-Identifier: BSD-2-Clause
"""All language guests in one live varnishd."""

from collections.abc import Iterator

import pytest

from support.live import Live, running

from .cases import GUESTS


@pytest.fixture(scope="module")
def site() -> Iterator[Live]:
    with running() as live:
        live.use_guests(it.name for it in GUESTS)
        yield live
