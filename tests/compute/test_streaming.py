# SPDX-License-Identifier: BSD-2-Clause
"""Answers made bit by bit, and bodies that come in pieces."""

import itertools

import pytest

from kvmctl.engine.library import Engine, Program
from kvmctl.errors import GuestError
from support.paths import guest

pytestmark = pytest.mark.kvm

ALPHABET = b"abcdefghijklmnopqrstuvwxyz"


def define(engine: Engine, *arguments: str, **more: object) -> Program:
    return engine.define("streamtest", {
        "filename": str(guest("streamtest")), "max_memory": 64,
        "max_request_memory": 8, "max_request_time": 0.5, "concurrency": 1,
        "main_arguments": list(arguments), **more})


def letters(n: int) -> bytes:
    return (ALPHABET * (n // 26 + 1))[:n]


@pytest.mark.parametrize("total, most", [
    (0, 0), (1, 0), (1000, 7), (4096, 4096), (100_000, 999),
    (1 << 20, 0), ((1 << 20) + 1, 0), (20_000_000, 0)])
def test_streamed_bodies_are_whole(engine: Engine, total: int,
                                   most: int) -> None:
    answer = define(engine).request(url=f"/alphabet/{total}/{most}")
    assert (answer.status, answer.content_type) == (200, "text/plain")
    assert answer.body == letters(total)
    counts = engine.stats()["programs"]["streamtest"]
    assert counts["output_bytes"] == total
    turns = -(-total // (most or 1 << 20))
    assert counts["exits"] == 1 + turns


@pytest.mark.parametrize("deed, words", [
    ("nothing", "ended after {at} of 200000"),
    ("wild", "not the program's memory"),
    ("kernel", "not the program's memory"),
    ("null", "not the program's memory"),
    ("beyond", "not the program's memory"),
    ("too-much", "at most {left} were asked for"),
    ("everything", "at most {left} were asked for"),
    ("not-mine", "at most {left} were asked for"),
    ("spin", "longer than 0.5 s"),
    ("crash", "null pointer"),
    ("leave", "exit"),
    ("answer", "in the middle of a streamed one"),
    ("again", "in the middle of a streamed one"),
    ("register", "only allowed before"),
    ("wreck-stack", "address 0x0"),
])
def test_callbacks_that_misbehave(engine: Engine, deed: str,
                                  words: str) -> None:
    program = define(engine)
    for prefix, at in (("", 0), ("/late", 100_000)):
        with pytest.raises(GuestError) as e:
            program.request(url=f"{prefix}/{deed}")
        assert words.format(at=at, left=200_000 - at) in str(e.value)
        # The only fork is well again.
        assert program.request(url="/count").body == b"1"
    counts = engine.stats()["programs"]["streamtest"]
    assert counts["exceptions"] + counts["timeouts"] == 2
    assert counts["forks_busy"] == 0


def test_memory_is_limited_over_all_of_a_stream(engine: Engine) -> None:
    program = define(engine, max_request_time=5)
    with pytest.raises(GuestError, match="max_request_memory"):
        program.request(url="/hog")
    assert program.request(url="/count").body == b"1"


@pytest.mark.parametrize("deed", [
    "no-function", "wild-function", "status-0", "huge-total", "wild-type",
    "too-deep"])
def test_streams_that_cannot_begin(engine: Engine, deed: str) -> None:
    program = define(engine)
    with pytest.raises(GuestError):
        program.request(url=f"/{deed}")
    assert program.request(url="/count").body == b"1"


def test_the_handlers_stack_stays(engine: Engine) -> None:
    """The callback's argument may lie on it."""
    program = define(engine)
    assert program.request(url="/deep").body == letters(200_000)
    body = bytes(range(256)) * 40
    answer = program.request("POST", "/stream-echo", body=body,
                             content_type="a/b")
    assert (answer.body, answer.content_type) == (body, "a/b")


def checksum(data: bytes) -> int:
    total = 0
    for byte in data:
        total = (total * 31 + byte) & 0xffffffff
    return total


@pytest.mark.parametrize("size, whole", [
    (1, True), (1 << 20, True), ((1 << 20) + 1, True), (3_000_000, True),
    (8 << 20, True), ((8 << 20) + 1, False), (20_000_000, False)])
def test_bodies_in_pieces(engine: Engine, size: int, whole: bool) -> None:
    data = letters(size)
    answer = define(engine, "pieces").request("POST", "/", body=data)
    count = -(-size // (1 << 20))
    state = "the same" if whole else "gone"
    assert answer.body.decode().startswith(
        f"{count} pieces, {size} of {size} bytes, in order, sum ")
    assert answer.body.decode().endswith(f"the whole is {state}\n")
    if size < 100_000:
        assert f"sum {checksum(data)}," in answer.body.decode()


def posted_in_parts(program: Program, parts: list[bytes]) -> str:
    """The answer to a body whose length is not known before its end."""
    ffi, lib = program._engine._ffi, program._engine._lib
    error = ffi.new("struct tkc_error *")
    inv = ffi.new("struct tkc_invocation **")
    assert lib.tkc_reserve(program._handle, inv, error) == 0
    keep = [ffi.new("char[]", text) for text in (b"POST", b"/", b"")]
    request = ffi.new("struct tkc_request *", {
        "method": keep[0], "url": keep[1], "arg": keep[2],
        "content_type": keep[2]})
    response = ffi.new("struct tkc_response *")
    span = ffi.new("struct tkc_span *")
    try:
        for part in parts:
            assert lib.tkc_body_append(inv[0], request, ffi.from_buffer(part),
                                       len(part)) == 1
        assert lib.tkc_invoke(inv[0], request, response, error) == 0
        assert lib.tkc_body_next(inv[0], 1000, span, error) == 0
        return bytes(ffi.buffer(span.ptr, span.len)).decode()
    finally:
        lib.tkc_release(inv, ffi.NULL)


_MIB = 1 << 20


@pytest.mark.parametrize("sizes", [
    [_MIB] * 8, [8 * _MIB], [1000, 8 * _MIB - 1000], [8 * _MIB - 1, 1],
    [_MIB] * 8 + [1], [8 * _MIB, 1], [8 * _MIB, 8 * _MIB],
    [8 * _MIB, 8 * _MIB, 5], [8 * _MIB - 1, 1, 1], [8 * _MIB - 1, 2],
    [_MIB] * 20, [700_000] * 30, [3 * _MIB] * 3, [8 * _MIB, 700_000, 1]])
def test_bodies_of_unknown_length(engine: Engine, sizes: list[int]) -> None:
    """In whatever parts they come: eight MiB fit, and stay together."""
    data = letters(sum(sizes))
    parts = [data[sum(sizes[:i]):][:n] for i, n in enumerate(sizes)]
    said = posted_in_parts(define(engine, "pieces"), parts)
    state = "the same" if len(data) <= 8 * _MIB else "gone"
    assert f"{len(data)} of {len(data)} bytes, in order, sum " in said
    assert said.endswith(f"the whole is {state}\n")


def test_no_body_is_no_piece(engine: Engine) -> None:
    program = define(engine, "pieces")
    assert program.request("POST", "/mark", "x").body == b"/mark x"


@pytest.mark.parametrize("url, words", [
    ("/refuse", "refused the request's body: it returned -7"),
    ("/piece-fault", "null pointer"), ("/piece-loop", "longer than 0.5 s")])
def test_pieces_that_go_wrong(engine: Engine, url: str, words: str) -> None:
    program = define(engine, "pieces")
    with pytest.raises(GuestError) as e:
        program.request("POST", url, body=b"x" * 3_000_000)
    assert words in str(e.value)
    helped = define(engine, "pieces", "on-error")
    answer = helped.request("POST", url, body=b"x" * 3_000_000)
    assert answer.from_error_handler and words in answer.body.decode()


def test_an_answer_before_the_body_is_complete(engine: Engine) -> None:
    program = define(engine, "pieces")
    answer = program.request("POST", "/early", body=b"x" * 30_000_000)
    assert (answer.status, answer.body) == (403, b"enough\n")
    answer = program.request("POST", "/early-stream", body=b"x" * 30_000_000)
    assert answer.body == letters(100)
    counts = engine.stats()["programs"]["streamtest"]
    assert counts["invocations"] == 2 and counts["exceptions"] == 0


def test_what_is_refused_is_no_exception(engine: Engine) -> None:
    program = define(engine)
    with pytest.raises(GuestError, match="max_request_memory"):
        program.request("POST", "/echo", body=b"x" * ((8 << 20) + 1))
    assert program.request("POST", "/echo", body=b"x" * (8 << 20)).body
    counts = engine.stats()["programs"]["streamtest"]
    assert counts["exceptions"] == 0


def test_error_handlers(engine: Engine) -> None:
    answer = define(engine, "on-error").request(url="/fault")
    assert answer.from_error_handler and answer.status == 500
    assert b"null pointer" in answer.body
    # From the frozen state: this request's count is not there.
    assert answer.body.endswith(b"(0)\n")
    for how, url in itertools.product(("on-error-spin", "on-error-crash"),
                                      ("/fault", "/loop")):
        program = define(engine, how)
        with pytest.raises(GuestError, match="null pointer|0.5 s"):
            program.request(url=url)
        assert program.request(url="/count").body == b"1"
