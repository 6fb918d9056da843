# SPDX-License-Identifier: BSD-2-Clause
"""Headers that are kvmctl's own: no client sets them, no program learns more."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmctl.errors import ExitCode
from kvmctl.varnish.private import PrivateVarnish
from support.node import Node
from support.rendered import ECHO, HELLO, TOKEN, Rendered

pytestmark = pytest.mark.kvm


@pytest.fixture(scope="module")
def varnish() -> Iterator[PrivateVarnish]:
    with PrivateVarnish() as it:
        yield it


@pytest.fixture
def it(varnish: PrivateVarnish, tmp_path: Path) -> Rendered:
    (tmp_path / "vcl.d").mkdir()
    return Rendered(varnish, tmp_path)


@pytest.fixture
def node(kvmctl: Any, tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "vcl.d").mkdir()
    with PrivateVarnish() as varnish:
        yield Node(varnish, kvmctl, tmp_path)


def snippet(directory: Path, name: str, text: str) -> None:
    (directory / "vcl.d" / f"{name}.vcl").write_text(text + "\n")


_ROUTE = '[[routes]]\npath = "/hello"\nprogram = "hello"\ncache = false\n'


@pytest.mark.parametrize("how", ["hash", "pass", "synth(299)"])
def test_a_snippet_that_returns_lets_no_route_in(it: Rendered,
                                                 how: str) -> None:
    snippet(it.directory, "recv", f"return ({how});")
    it.use(HELLO + _ROUTE)
    answer = it.ask("/", X_Kvmctl_Route="1")
    assert answer.status_code == (299 if "synth" in how else 503)
    assert "Hello" not in answer.text


def test_a_rollback_brings_no_route_back(it: Rendered) -> None:
    snippet(it.directory, "recv", "std.rollback(req);")
    snippet(it.directory, "deliver", "std.rollback(req);")
    it.use(ECHO + """
[[routes]]
path_prefix = "/"
response_header = { name = "X-Said", program = "echo" }
[[routes]]
path = "/echo"
program = "echo"
cache = false
""")
    lost = it.ask("/", X_Kvmctl_Route="2")
    assert lost.status_code == 404 and '"url"' not in lost.text
    assert "kvmctl" not in it.ask("/echo", X_Kvmctl_Route="2",
                                  X_Kvmctl_Probe=TOKEN).headers["X-Said"].lower()


_ALL = ECHO + """
[[routes]]
path_prefix = "/"
header = { name = "X-In", program = "echo" }
[[routes]]
path_prefix = "/"
response_header = { name = "X-Out", program = "echo" }
[[routes]]
path = "/synth"
synth = { program = "echo" }
[[routes]]
path = "/echo"
program = "echo"
cache = false
"""


@pytest.mark.parametrize("path", ["/synth", "/echo"])
def test_no_program_learns_the_token(it: Rendered, path: str) -> None:
    """What programs see of a probe, wherever they are asked."""
    name = it.use(_ALL)
    answer = it.ask(path, X_Kvmctl_Probe=TOKEN, X_Kvmctl_Route="7")
    assert answer.headers["X-Kvmctl-Release"] == name
    own = [h for h in answer.json()["headers"] if not h.startswith("X-In:")]
    assert "kvmctl" not in "".join(own).lower()
    said = json.loads(next(h for h in answer.json()["headers"]
                           if h.startswith("X-In:")).partition(":")[2])
    mark, = [h for h in said["headers"] if "kvmctl" in h.lower()]
    assert mark.startswith("X-Kvmctl-Probe: ") and len(mark) == 16 + 32
    everything = answer.text + str(answer.headers)
    assert TOKEN not in everything
    if path == "/echo":                 # vcl_deliver is not for synth()
        out = json.loads(answer.headers["X-Out"])["headers"]
        assert "kvmctl" not in "".join(
            h for h in out if not h.startswith("X-In:")).lower()

    # The mark is this release's: it opens no other, and each has its own.
    word = mark.partition(": ")[2]
    assert it.ask(path, X_Kvmctl_Probe=word).headers["X-Kvmctl-Release"] == name
    it.use(_ALL)
    for wrong in (word, "none", "", TOKEN[:-1]):
        other = it.ask(path, X_Kvmctl_Probe=wrong)
        assert "X-Kvmctl-Release" not in other.headers
        assert "kvmctl" not in other.text.lower()


def test_probes_of_what_restarts_and_includes(node: Node) -> None:
    """A request that begins again is kvmctl's still; so are its parts."""
    snippet(node.site.parent, "deliver",
            "if (req.restarts == 0) {\n\treturn (restart);\n}")
    node.write("streamtest", HELLO + """
[[routes]]
path = "/esi"
program = "streamtest"
esi = true
probe = { body = "<html>1 Hello, World!\\n 2</html>" }
[[routes]]
path = "/mark"
program = "hello"
""")
    result = node.kvmctl.json("deploy", node.site, *node.where)
    assert [p["url"] for p in result["probes"]] == ["/", "/esi", "/mark"]
    assert node.ask("/esi") == "<html>1 Hello, World!\n 2</html>"


def test_a_recv_of_ones_own(node: Node) -> None:
    """In the place of ours: the guard is before it all the same."""
    (node.site.parent / "vcl.d" / "recv.vcl.j2").write_text(
        'sub vcl_recv {\n\tif (req.url == "/") {\n'
        '\t\tset req.http.X-Kvmctl-Route = "1";\n\t}\n\treturn (pass);\n}\n')
    node.write("hello")
    # The site's own vcl_recv takes no notice of probes.
    assert node("deploy") == ExitCode.OK, node.kvmctl.err
    assert node.ask() == "Hello, World!\n"
    assert "Hello" not in node.ask("/other")
