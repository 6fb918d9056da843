# SPDX-License-Identifier: BSD-2-Clause
"""Settings: what is wrong is refused by name and place; no guest runs."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl.engine.library import Engine
from kvmctl.errors import ManifestError
from support.paths import guest


def refused(engine: Engine, settings: dict[str, Any], *words: str) -> None:
    with pytest.raises(ManifestError) as e:
        engine.define("it", settings)
    for word in words:
        assert word in str(e.value)


def hello(**more: Any) -> dict[str, Any]:
    return {"filename": str(guest("hello"))} | more


@pytest.mark.parametrize("settings, words", [
    ({"max_memroy": 3}, ["max_memroy", "max_memory"]),
    ({"concurrency": 0}, ["concurrency", "1", "255"]),
    ({"concurrency": 256}, ["concurrency"]),
    ({"concurrency": "four"}, ["concurrency"]),
    ({"concurrency": 2.5}, ["concurrency"]),
    ({"debug_port": 70000}, ["debug_port", "65535"]),
    ({"debug_wait": -1}, ["debug_wait"]),
    ({"max_memory": -1}, ["max_memory"]),
    ({"max_memory": 10 ** 8}, ["max_memory"]),
    ({"max_request_time": 0}, ["max_request_time"]),
    ({"max_request_time": "1s"}, ["max_request_time"]),
    ({"main_arguments": "one two"}, ["main_arguments"]),
    ({"main_arguments": ["one", 2]}, ["main_arguments"]),
    ({"environment": {"A": "B"}}, ["environment"]),
    ({"filename": ["a"]}, ["filename"]),
    ({"filename": ""}, ["filename"]),
    ({"allowed_paths": "/x"}, ["allowed_paths", "list"]),
    ({"allowed_paths": ["/x", 3]}, ["allowed_paths", "entry 2"]),
    ({"allowed_paths": ["x"]}, ["allowed_paths", "entry 1", "absolute"]),
    ({"allowed_paths": ["/" + "x" * 5000]}, ["allowed_paths", "longer"]),
    ({"allowed_paths": [{}]}, ["allowed_paths", "entry 1", "real"]),
    ({"allowed_paths": [{"real": "/x", "writeable": True}]},
     ["allowed_paths", "writeable", "writable"]),
    ({"allowed_paths": [{"real": "/x", "prefix": 1}]},
     ["allowed_paths", "prefix", "true or false"]),
    ({"allowed_paths": [{"real": 3}]}, ["allowed_paths", "real", "string"]),
    ({"allowed_paths": [{"real": "/x", "virtual": "../x"}]},
     ["allowed_paths", "../x", "absolute"]),
    ({"current_working_directory": "data"},
     ["current_working_directory", "absolute"]),
    ({"current_working_directory": ""}, ["current_working_directory"]),
])
def test_bad_settings(engine: Engine, settings: dict[str, Any],
                      words: list[str]) -> None:
    refused(engine, hello() | settings, "it", *words)


@pytest.mark.parametrize("make, words", [
    (lambda p: None, ["No such file"]),
    (lambda p: p.mkdir(), ["directory"]),
    (lambda p: p.write_bytes(b""), ["empty"]),
    (lambda p: p.write_text("#!/bin/sh\n"), ["not an ELF"]),
    (lambda p: p.write_bytes(guest("hello").read_bytes()[:5000]),
     ["truncated"]),
    (lambda p: os.mkfifo(p), ["not a file"]),
])
def test_bad_files(engine: Engine, tmp_path: Path, make: Any,
                   words: list[str]) -> None:
    path = tmp_path / "program"
    make(path)
    refused(engine, {"filename": str(path)}, "it", str(path), *words)


def test_dynamic_programs_are_refused_by_interpreter(engine: Engine) -> None:
    refused(engine, {"filename": "/bin/true"}, "dynamically linked",
            "ld-linux-x86-64.so.2", "-static")


def test_another_architecture(engine: Engine, tmp_path: Path) -> None:
    elf = bytearray(guest("hello").read_bytes())
    elf[18:20] = (183).to_bytes(2, "little")        # e_machine: AArch64
    path = tmp_path / "arm"
    path.write_bytes(elf)
    refused(engine, {"filename": str(path)}, "64-bit Arm", "x86-64")


def test_inert_settings_are_told(engine: Engine, log: Any) -> None:
    """Settings of the published interface that do nothing yet say so."""
    engine.define("it", hello(hugepages=True))
    assert "hugepages" in log.text()


def configure(engine: Engine, text: bytes) -> str | None:
    """The raw call, for JSON that Python would not write."""
    error = engine._new_error()
    if engine._lib.tkc_configure(engine._registry, b"it", text, error):
        message: bytes = engine._ffi.string(error.text)
        return message.decode("utf-8", "replace")
    return None


@pytest.mark.parametrize("text, words", [
    (b"", ["line 1"]),
    (b"{", ["line 1"]),
    (b"[]", ["object"]),
    (b'"text"', ["line 1"]),
    (b'{"filename": "/a", "filename": "/b"}', ["filename"]),
    (b'{"filename": "\\u0000"}', ["NUL"]),
    (b'{\n"concurrency": 1,\n}', ["line 3"]),
    (b'{"a": "\xff"}', ["line 1"]),
    (b"{" * 5000, ["32 levels"]),
    (b'{"concurrency": 99999999999999999999999}', ["line 1"]),
])
def test_bad_json(engine: Engine, text: bytes, words: list[str]) -> None:
    message = configure(engine, text)
    assert message is not None
    for word in words:
        assert word in message


def test_comments_are_allowed(engine: Engine) -> None:
    path = str(guest("hello")).encode()
    assert configure(engine, b'// one\n{ /* two "*/ "filename": "' + path
                     + b'", // three\n "concurrency": /**/ 3 }') is None


def test_comments_inside_strings_are_text(engine: Engine) -> None:
    message = configure(engine, b'{"filename": "/no//such /* file */"}')
    assert message is not None and "/no//such /* file */" in message


@given(st.binary(max_size=200))
def test_any_bytes_have_an_answer(data: bytes) -> None:
    with Engine() as engine:
        message = configure(engine, data.replace(b"\0", b" "))
        assert message is None or message.isprintable() or message


def test_a_refused_change_leaves_the_program(engine: Engine) -> None:
    engine.define("it", hello())
    assert configure(engine, b'{"concurrency": "many"}') is not None
    assert engine.stats()["programs"].keys() == {"it"}
