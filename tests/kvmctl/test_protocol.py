# SPDX-License-Identifier: BSD-2-Clause
"""varnishd's command line: what is said, what is heard, what goes wrong."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl.errors import VarnishError
from kvmctl.varnish import protocol, vsm
from kvmctl.varnish.admin import Admin, Node, split_address
from kvmctl.varnish.private import PrivateVarnish
from support.fake_varnish import FakeVarnish, raw_server


@pytest.fixture(scope="module")
def varnish() -> Iterator[PrivateVarnish]:
    with PrivateVarnish() as it:
        yield it


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"\x00 not a line\xff\n")
    return path


@pytest.fixture
def fake(secret: Path) -> Iterator[FakeVarnish]:
    it = FakeVarnish(secret)
    yield it
    it.close()


def test_the_manual_s_example() -> None:
    """varnish-cli(7), How CLI authentication works."""
    assert protocol.response("ixslvvxrgkjptxmcgnnsdxsvdmvfympg",
                             b"foo\n") == (
        "455ce847f0073c7ab3b1465f74507b75d3dc064c1e7de3b71e00de9092fdc89a")


def by_address(varnish: PrivateVarnish, secret: Path | None = None) -> Node:
    found = vsm.find(varnish.node.reach, varnish.node.name)
    host, port = found.addresses[0]
    return Node(address=f"{host}:{port}", secret=secret or found.secret)


def test_by_name_and_by_address(varnish: PrivateVarnish) -> None:
    for node in (varnish.node, by_address(varnish)):
        with Admin(node) as admin:
            admin.ping()
            assert admin.status() == "running"
            assert admin.listing().active == "boot"
            assert admin.panics() is None
            with pytest.raises(VarnishError, match="Unknown request"):
                admin.command("no.such")
            # The connection is as good as before.
            admin.ping()


def test_wrong_secret(varnish: PrivateVarnish, secret: Path,
                      tmp_path: Path) -> None:
    with pytest.raises(VarnishError, match="refuses the secret"):
        Admin(by_address(varnish, secret)).ping()
    with pytest.raises(VarnishError, match="cannot read the secret"):
        Admin(by_address(varnish, tmp_path / "none")).ping()
    nobody = Node(address=by_address(varnish).address)
    with pytest.raises(VarnishError, match="-S"):
        Admin(nobody).ping()


_VCL = ("vcl 4.1;\nbackend default none;\n"
        "sub vcl_recv {{ return (synth(200, {})); }}\n")


def test_long_and_many_lines(varnish: PrivateVarnish) -> None:
    with Admin(varnish.node) as admin:
        text = _VCL.format('{"' + "x\n" * 20000 + '"}')
        admin.load_text("long", text)
        shown = admin.command("vcl.show", "long")
        assert shown.count("\n") > 20000
        with pytest.raises(VarnishError, match="(?s)Expected|Syntax"):
            admin.load_text("wrong", "vcl 4.1;\nnonsense\n")
        admin.discard("long")


def test_an_answer_that_is_cut_off_is_told(varnish: PrivateVarnish) -> None:
    with Admin(varnish.node) as admin:
        before = admin.command("param.show", "cli_limit")
        assert "48k" in before or "64k" in before
        admin.load_text("long", _VCL.format('{"' + "x\n" * 500 + '"}'))
        admin.command("param.set", "cli_limit", "128b")
        try:
            with pytest.raises(VarnishError, match="cli_limit"):
                admin.command("vcl.show", "long")
        finally:
            admin.command("param.set", "cli_limit", "64k")
        admin.discard("long")


@given(st.text(st.characters(blacklist_characters="\0",
                             blacklist_categories=["Cs"]), max_size=40))
def test_any_word_arrives(varnish: PrivateVarnish, word: str) -> None:
    """Varnish names the parameter that it does not know."""
    with Admin(varnish.node) as admin:
        with pytest.raises(VarnishError) as e:
            admin.command("param.show", "x" + word)
        if word.isprintable() and word.isascii() and len(word) < 20:
            assert "x" + word in str(e.value)
        admin.ping()


def test_a_fake_says_what_varnish_says(varnish: PrivateVarnish,
                                       fake: FakeVarnish,
                                       secret: Path) -> None:
    """Statuses and shapes of answers, command by command."""
    lines = [
        ["ping"], ["status"], ["vcl.list", "-j"], ["vcl.use", "none"],
        ["vcl.discard", "none"], ["nonsense"], ["vcl.label", "l", "boot"],
        ["vcl.discard", "boot"], ["vcl.list", "-j"], ["vcl.deps"],
        ["param.show", "-j", "none"]]

    def said(node: Node) -> list[str]:
        out = []
        with Admin(node) as admin:
            for words in lines:
                try:
                    text = admin.command(*words)
                    if text.startswith("["):
                        text = str([sorted(r) for r in json.loads(text)[3:]])
                    out.append(text.split(" ")[0][:12])
                except VarnishError as e:
                    out.append(f"refused: {str(e)[:12]}")
        return out

    ours = said(Node(address=fake.address, secret=secret))
    theirs = said(varnish.node)
    assert [o.startswith("refused") for o in ours] == [
        t.startswith("refused") for t in theirs]
    assert ours[:3] == theirs[:3]
    for node in (Node(address=fake.address, secret=secret), varnish.node):
        with Admin(node) as admin:
            assert admin.cli_timeout() == 60


@pytest.mark.parametrize("text", [
    "cli_timeout\n  Value is: 60.000 [seconds]", "[]", "[1]", '[{"value": []}]',
    '[{"value": "long"}]', '[{"value": NaN}]', '[{"value": -1}]', '{"a": 1}'])
def test_a_parameter_in_other_words(fake: FakeVarnish, secret: Path,
                                    text: str) -> None:
    fake.state.faults["param.show"] = (200, text)
    with Admin(Node(address=fake.address, secret=secret)) as admin, \
            pytest.raises(VarnishError, match='answers "param.show" in another'):
        admin.cli_timeout()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(VarnishError, match="no varnishd"):
        Admin(Node(str(tmp_path))).ping()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(VarnishError, match="refused"):
        Admin(Node(address=f"127.0.0.1:{port}")).ping()
    for bad in ("x", "1.2.3.4:", "h:99999", "h:x"):
        with pytest.raises(VarnishError, match="HOST:PORT"):
            split_address(bad)
    with pytest.raises(VarnishError, match="cannot reach"):
        Admin(Node(address="no-such-host.invalid:1")).ping()


@pytest.mark.parametrize("answers, words", [
    ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "does not speak"),
    ((b"107 59",), "no answer in time"),
    ((b"200 99999999\n",), "no answer in time"),
    ((b"500 5       \nwrong\n",), "500"),
    ((), "no answer in time"),
])
def test_who_is_no_varnishd(answers: tuple[bytes, ...], words: str) -> None:
    listener, port = raw_server(*answers)
    with listener:
        began = time.monotonic()
        with pytest.raises(VarnishError, match=words):
            Admin(Node(address=f"127.0.0.1:{port}"), timeout=1).command("x")
        assert time.monotonic() - began < 5


def test_hung_up_and_slow(fake: FakeVarnish, secret: Path) -> None:
    with Admin(Node(address=fake.address, secret=secret)) as admin:
        admin.ping()
        fake.state.faults["status"] = (0, None)
        with pytest.raises(VarnishError, match="stopped or restarted"):
            admin.status()
        # A new connection is made by itself.
        del fake.state.faults["status"]
        assert admin.status() == "running"
        fake.state.faults["status"] = (400, "CLI communication error")
        with pytest.raises(VarnishError, match="communication error"):
            admin.status()
        fake.state.faults["status"] = (500, "")
        with pytest.raises(VarnishError, match="500"):
            admin.status()


@given(st.binary(max_size=60))
def test_any_bytes_are_no_answer_or_one(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            protocol.Conversation(ours).read(time.monotonic() + 5)
        except protocol.ProtocolError:
            pass
