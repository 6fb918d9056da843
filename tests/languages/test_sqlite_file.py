# SPDX-License-Identifier: BSD-2-Clause
"""SQLite over a database file of the host."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine import Engine
from support.paths import settings

pytestmark = [pytest.mark.kvm, pytest.mark.languages]

ROWS = 100_000


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "stock.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE stock(id INTEGER PRIMARY KEY, n INTEGER)")
        db.executemany("INSERT INTO stock VALUES(?, ?)",
                       ((i, i * i) for i in range(ROWS)))
    db.close()
    return path


def over(database: Path) -> dict[str, Any]:
    return settings("sqlite", main_arguments=["/data/stock.db"],
                    allowed_paths=[{"real": str(database.parent),
                                    "virtual": "/data"}])


def test_a_file_is_queried_and_never_changed(database: Path) -> None:
    before = database.read_bytes()
    with Engine(lambda *_: None) as engine:
        program = engine.define("sqlite", over(database))
        program.start()

        def ask(sql: str) -> Any:
            return program.request("POST", "/", "", [], sql.encode(), "")

        for _ in range(3):
            for row in (0, 4711, ROWS - 1):
                answer = ask(f"SELECT n FROM stock WHERE id = {row}")
                assert json.loads(answer.body) == [{"n": row * row}]
                assert answer.exits == 1
            answer = ask("SELECT count(*) n, max(id) m FROM stock")
            assert json.loads(answer.body) == [{"n": ROWS, "m": ROWS - 1}]
            answer = ask("DELETE FROM stock")
            assert answer.status == 400
            assert b"readonly" in answer.body
    assert database.read_bytes() == before


def test_no_such_file_ends_the_boot(database: Path) -> None:
    words: list[str] = []
    database.unlink()
    with Engine(lambda _program, _kind, text: words.append(text)) as engine:
        program = engine.define("sqlite", over(database))
        with pytest.raises(Exception, match="sqlite"):
            program.start()
    assert "unable to open database file" in "".join(words)


def test_a_file_beyond_the_memory_is_read_by_calls(database: Path) -> None:
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE filling AS SELECT zeroblob(67108864) z")
    db.close()
    with Engine(lambda *_: None) as engine:
        program = engine.define("sqlite", over(database))
        program.start()
        answer = program.request("POST", "/", "", [],
                                 b"SELECT n FROM stock WHERE id = 99999", "")
    assert json.loads(answer.body) == [{"n": 99999 ** 2}]
    assert answer.exits > 1
