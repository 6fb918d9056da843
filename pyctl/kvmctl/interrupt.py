# SPDX-License-Identifier: BSD-2-Clause
"""Ctrl-C while nodes are changed: what was begun is ended in order."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_heeding = threading.Event()
_AGAIN = "interrupted already: it takes as long as Varnish answers"


def is_heeded() -> bool:
    """Then a terminal's Ctrl-C is not for programs that are waited for, either.

    They need a session of their own.
    """
    return _heeding.is_set()


@contextlib.contextmanager
def heeded(say: Callable[[str], None],
           words: str) -> Iterator[threading.Event]:
    """Ctrl-C in here sets the event and says these words, once.

    Nobody is thrown out of a step by it: whoever works in here looks at the
    event, and raises KeyboardInterrupt in the end. Only the main thread gets
    signals; where Ctrl-C is ignored, as for a job in the background of a
    script, it goes on being so.
    """
    stop = threading.Event()

    def heed(_number: int, _frame: object) -> None:
        text = _AGAIN if stop.is_set() else words
        stop.set()
        # It may come in the middle of another line.
        with contextlib.suppress(RuntimeError, OSError):
            say(text)

    if threading.current_thread() is not threading.main_thread() \
            or signal.getsignal(signal.SIGINT) \
            is not signal.default_int_handler:
        yield stop
        return
    before = signal.signal(signal.SIGINT, heed)
    _heeding.set()
    try:
        yield stop
    finally:
        _heeding.clear()
        signal.signal(signal.SIGINT, before)
