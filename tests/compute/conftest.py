# SPDX-License-Identifier: BSD-2-Clause
"""An engine: libtkcompute without Varnish."""

from collections.abc import Iterator

import pytest

from kvmctl.engine.library import Engine


class Log(list[tuple[str, int, str]]):
    """What the engine logged: program, kind, text."""

    def text(self) -> str:
        return "".join(line for _, _, line in self)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def engine(log: Log) -> Iterator[Engine]:
    with Engine(lambda *entry: log.append(entry)) as it:
        yield it
