# SPDX-License-Identifier: BSD-2-Clause
"""Programs that do not become ready: why, and everything else serves on."""

from typing import Any

import pytest

from kvmctl.engine.library import Engine
from kvmctl.errors import GuestError
from support.paths import guest

pytestmark = pytest.mark.kvm


@pytest.mark.parametrize("how, words", [
    ("spin", ["1 s", "main"]),
    ("crash", ["null pointer", "main"]),
    ("abort", ["abort"]),
    ("no-handler", ["handler"]),
    ("bad-handler", ["0x123456789000"]),
    ("bad-index", ["99"]),
    ("answer", ["before the program waits", "no request"]),
    ("hog", ["abort"]),
    ("none", ["7"]),
])
def test_bad_boots(engine: Engine, log: Any, how: str,
                   words: list[str]) -> None:
    bad = engine.define("bad", {
        "filename": str(guest("hostile-boot")), "main_arguments": [how],
        "max_memory": 32, "max_boot_time": 1.0})
    with pytest.raises(GuestError) as e:
        bad.start()
    for word in ["bad", *words]:
        assert word in str(e.value)
    # What it printed before is in the log, and a request says the same.
    assert f"about to misbehave: {how}" in log.text()
    with pytest.raises(GuestError) as e:
        bad.request()
    for word in words:
        assert word in str(e.value)
    assert engine.stats()["programs"]["bad"]["boot_failures"] >= 1
    good = engine.define("good", {"filename": str(guest("hello"))})
    assert good.request().body == b"Hello, World!\n"


def test_debug_comes_too_late(engine: Engine, log: Any) -> None:
    """What runs stays as it is, and the log says so."""
    hello = engine.define("hello", {"filename": str(guest("hello"))})
    hello.start()
    assert "debug" not in log.text()
    hello.start()
    assert "debug" not in log.text()
    hello.start(debug=True)
    assert "hello" in [name for name, _, text in log if "debug" in text]
    assert "runs already, and not for debugging" in log.text()
    engine.invalidate()
    log.clear()
    hello.start(debug=True)
    hello.start(debug=True)
    assert "runs already" not in log.text()
    # It stays so, if it boots anew.
    engine.invalidate()
    hello.request()
    hello.start(debug=True)
    assert "runs already" not in log.text()


def test_arguments_and_environment(engine: Engine) -> None:
    bad = engine.define("bad", {"filename": str(guest("hostile-boot")),
                                "main_arguments": ["x y", "z"],
                                "environment": ["A=B"]})
    with pytest.raises(GuestError, match="7"):
        bad.start()
