# SPDX-License-Identifier: BSD-2-Clause
"""What a program that listens on a socket may answer: heads at the limit, and
bytes behind the answer."""

from pathlib import Path

import pytest

from kvmctl.engine.library import Engine, Program
from kvmctl.errors import GuestError
from support.compiled import compiled

pytestmark = pytest.mark.kvm

#: Writes the body of the request as it is; the URL /N: N bytes at a time.
_PARROT = r"""
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char in[1 << 20];

static size_t
receive(int fd, size_t have, size_t want)
{
	ssize_t n;

	while (have < want && (n = read(fd, in + have,
	    sizeof in - 1 - have)) > 0)
		have += (size_t)n;
	return (have);
}

static void
serve(int fd)
{
	size_t have = 0, len, each, n;
	char *end = NULL, *body;

	while (end == NULL) {
		n = receive(fd, have, have + 1);
		if (n == have)
			return;
		have = n;
		in[have] = '\0';
		end = strstr(in, "\r\n\r\n");
	}
	len = strtoul(strstr(in, "Content-Length: ") + 16, NULL, 10);
	body = end + 4;
	(void)receive(fd, have, (size_t)(body - in) + len);
	each = strtoul(strchr(in, '/') + 1, NULL, 10);
	for (; len > 0; body += n, len -= n) {
		n = each > 0 && each < len ? each : len;
		if (write(fd, body, n) != (ssize_t)n)
			return;
	}
}

int
main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
	    .sin_port = htons(8080) };
	int s = socket(AF_INET, SOCK_STREAM, 0), fd;

	if (bind(s, (struct sockaddr *)&a, sizeof a) != 0 || listen(s, 5) != 0)
		return (1);
	while ((fd = accept(s, NULL, NULL)) >= 0) {
		serve(fd);
		close(fd);
	}
	return (1);
}
"""

#: What the fields of one answer may take in all, each but the last with a NUL.
_ROOM = 65532


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled(tmp_path_factory.mktemp("parrot"), "parrot", _PARROT,
                    "-Wall", "-Werror")


@pytest.fixture
def parrot(engine: Engine, file: str) -> Program:
    return engine.define("parrot", {"filename": file, "max_memory": 64,
                                    "concurrency": 1})


def head(fields: list[str], status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode()


def fits(fields: list[str]) -> bool:
    used = 0
    for field in fields:
        if used + len(field) > _ROOM:
            return False
        used += len(field) + 1
    return True


def field(length: int, name: int = 3) -> str:
    """Of this length, as the program sees it."""
    return "N" * name + ": " + "v" * (length - name - 2)


def shapes(total: int) -> list[list[str]]:
    """Answers whose fields and their NULs are as many bytes."""
    few = [field(1000), field(2000, 500)]
    rest = total - 3000 - 2 - 1
    many = [field(700 + i) for i in range(60)]
    left = total - sum(len(f) + 1 for f in many) - 1
    return [
        [field(total - 1)],
        [field(total - 1, total - 4)],          # all name
        [field(total - 1, 30000)],
        [*few, field(rest)],
        [*few, field(rest, rest - 2)],          # no value
        [*few, field(rest - 4), "a: "],
        [*few, field(rest - 8), "a: ", "b: "],
        [*many, field(left)],
        [*many, field(left - 6, 400), "b: vv"],
    ]


def check(parrot: Program, fields: list[str], url: str = "/") -> None:
    raw = head([*fields, "Content-Length: 2"]) + b"ok"
    # The last one counts, too.
    if fits([*fields, "Content-Length: 2"]):
        answer = parrot.request("POST", url, body=raw)
        assert answer.headers == tuple(fields)
        assert answer.body == b"ok"
    else:
        with pytest.raises(GuestError, match="fields of more than 64 KiB"):
            parrot.request("POST", url, body=raw)


@pytest.mark.parametrize("total", [
    65500, *range(65510, 65541), 65600, 66000, 70000, 80000])
def test_heads_at_the_limit(parrot: Program, total: int) -> None:
    for fields in shapes(total):
        check(parrot, fields)
        # And behind what is at the limit one more.
        check(parrot, [*fields, field(9000)])
    assert parrot.request("POST", "/", body=head(
        ["A: b", "Content-Length: 0"])).headers == ("A: b",)


@pytest.mark.parametrize("each", [1, 97, 4096])
def test_heads_in_pieces(parrot: Program, each: int) -> None:
    for total in (1000, 65510, 65530, 65535, 65536, 66000):
        for fields in shapes(total) if each > 1 and total > 65000 else [
                [field(500), field(497)]]:
            check(parrot, fields, f"/{each}")


def test_more_fields_than_there_may_be(parrot: Program) -> None:
    check(parrot, [field(20)] * 63)
    with pytest.raises(GuestError, match="more than 64 header fields"):
        parrot.request("POST", "/", body=head(
            [field(20)] * 64 + ["Content-Length: 0"]))


_STALE = "X-Stale: " + "s" * 30000


@pytest.mark.parametrize("each", [0, 1, 5])
def test_trailers_are_no_header_fields(parrot: Program, each: int) -> None:
    """RFC 9112, 7.1.2: they may be discarded."""
    raw = head(["A: b", "Transfer-Encoding: chunked"]) + (
        b"2\r\nok\r\n0\r\nTrailer-Field: value\r\nX-Two: three\r\n\r\n")
    for _ in range(3):
        # What is left in the buffers must not show.
        parrot.request("POST", "/", body=head([_STALE, "Content-Length: 0"]))
        answer = parrot.request("POST", f"/{each}", body=raw)
        assert (answer.headers, answer.body) == (("A: b",), b"ok")


def test_many_trailers(parrot: Program) -> None:
    raw = head(["A: b", "Transfer-Encoding: chunked"]) + (
        b"2\r\nok\r\n0\r\n" + b"T: r\r\n" * 100 +
        b"T: " + b"r" * 40000 + b"\r\n\r\n")
    answer = parrot.request("POST", "/", body=raw)
    assert (answer.headers, answer.body) == (("A: b",), b"ok")


@pytest.mark.parametrize("first", [
    head(["A: b", "Content-Length: 2"]) + b"ok",
    head(["A: b", "Transfer-Encoding: chunked"]) +
    b"2\r\nok\r\n0\r\nT: r\r\n\r\n",
    head(["Not: this", "Other: field"], "100 Continue") +
    head(["Not: this"], "103 Early Hints") +
    head(["A: b", "Content-Length: 2"]) + b"ok"])
@pytest.mark.parametrize("behind", [
    head(["Second: answer", "Content-Length: 6"], "500 No") + b"second",
    head(["Second: answer"], "404 Not Found"),
    b"HTTP/1.1 200 OK\r\nSecond: ans", b"garbage" * 1000,
    head([_STALE] * 3 + ["Content-Length: 0"])])
def test_what_comes_behind_the_answer(parrot: Program, first: bytes,
                                      behind: bytes) -> None:
    for _ in range(2):
        answer = parrot.request("POST", "/", body=first + behind)
        assert (answer.status, answer.headers, answer.body) == (
            200, ("A: b",), b"ok")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_behind_an_answer_without_a_body(parrot: Program,
                                         status: str) -> None:
    answer = parrot.request("POST", "/", body=head(["A: b"], status) + head(
        ["Second: answer", "Content-Length: 6"]) + b"second")
    assert (answer.status, answer.headers, answer.body) == (
        int(status[:3]), ("A: b",), b"")


def test_behind_the_answer_to_head(parrot: Program) -> None:
    answer = parrot.request("HEAD", "/", body=head(
        ["A: b", "Content-Length: 2"]) + head(
        ["Second: answer", "Content-Length: 6"]) + b"second")
    assert (answer.status, answer.headers, answer.body) == (
        200, ("A: b",), b"")


#: Fails; /part after a part of its answer, /begin after one by the guest API.
_FAILS = r"""
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "kvm_api.h"

static void
on_error(const char *url, const char *arg, const char *what)
{
	(void)url;
	(void)arg;
	respondf(200, "%0100d %s", 7, what);
}

int
main(void)
{
	static const char part[] = "HTTP/1.1 200 OK\r\nContent-Length: 100"
	    "\r\n\r\n0123456789";
	struct sockaddr_in a = { .sin_family = AF_INET,
	    .sin_port = htons(8080) };
	int s = socket(AF_INET, SOCK_STREAM, 0), fd;
	static char in[65536];

	set_on_error(on_error);
	if (bind(s, (struct sockaddr *)&a, sizeof a) != 0 || listen(s, 5) != 0)
		return (1);
	fd = accept(s, NULL, NULL);
	if (read(fd, in, sizeof in - 1) <= 0)
		return (1);
	if (strstr(in, " /part") != NULL &&
	    write(fd, part, sizeof part - 1) < 0)
		return (1);
	if (strstr(in, " /api") != NULL)
		respondf(200, "by the guest API");
	abort();
}
"""


@pytest.mark.parametrize("url, words", [
    ("/none", b"abort"), ("/part", b"abort"), ("/api", b"in a server")])
def test_an_error_handler_of_a_server(engine: Engine, tmp_path: Path,
                                      url: str, words: bytes) -> None:
    """It answers by the guest API, whatever went over the wire before."""
    failing = engine.define("failing", {
        "filename": compiled(tmp_path, "failing", _FAILS), "max_memory": 64,
        "concurrency": 1})
    for body in (b"", b"b" * 100000):
        answer = failing.request("POST", url, body=body)
        assert answer.from_error_handler
        assert answer.body.startswith(b"0" * 99 + b"7 ")
        assert words in answer.body
