# SPDX-License-Identifier: BSD-2-Clause
"""Templates: what each table of edge.toml makes Varnish do."""

import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmctl import site as sites
from kvmctl.errors import ExitCode, ManifestError
from kvmctl.varnish.private import PrivateVarnish
from kvmctl.vcl import origin, render
from kvmctl.vcl.render import marked, render_router
from support.paths import ROOT, guest
from support.rendered import ECHO, HELLO, Rendered


@pytest.fixture(scope="module")
def varnish() -> Iterator[PrivateVarnish]:
    with PrivateVarnish() as it:
        yield it


@pytest.fixture
def it(varnish: PrivateVarnish, tmp_path: Path) -> Rendered:
    return Rendered(varnish, tmp_path)


@pytest.mark.kvm
def test_fixed_answers_and_error_pages(it: Rendered) -> None:
    it.use(HELLO + f"""
[programs.hostile]
file = "{guest('hostile')}"
[[errors]]
status = 404
body = "Nothing \\"here\\""
type = "text/plain"
[[errors]]
status = [500, 503]
program = "hello"
[[routes]]
path = "/old"
synth = {{ status = 301, location = "https://new.example/" }}
[[routes]]
path = "/robots.txt"
synth = {{ body = "User-agent: *\\n\\n\\n\\nDisallow:\\n", type = "text/plain" }}
[[routes]]
path = "/null-write"
program = "hostile"
cache = false
[origins.nobody]
host = "127.0.0.1"
port = 1
[[routes]]
path = "/nobody"
origin = "nobody"
""")
    lost = it.ask("/none")
    assert (lost.status_code, lost.text) == (404, 'Nothing "here"')
    assert lost.headers["Content-Type"] == "text/plain"
    moved = it.ask("/old")
    assert moved.status_code == 301
    assert moved.headers["Location"] == "https://new.example/"
    assert it.ask("/robots.txt").text == "User-agent: *\n\n\n\nDisallow:\n"
    failed = it.ask("/null-write")
    # Its own page; the pages of [[errors]] are for what Varnish says itself.
    assert (failed.status_code, failed.text) == (500, "The program failed.\n")
    nobody = it.ask("/nobody")
    assert (nobody.status_code, nobody.text) == (503, "Hello, World!\n")


@pytest.mark.kvm
def test_acls_and_response_headers(it: Rendered) -> None:
    it.use(HELLO + ECHO + """
[acls.nobody]
allow = ["192.0.2.0/24", "2001:db8::/32"]
[acls.us]
allow = ["127.0.0.0/8", "::1"]
deny = ["127.0.0.9"]
[[routes]]
path_prefix = "/"
response_header = { name = "X-Said", program = "hello" }
[[routes]]
path = "/closed"
program = "hello"
acl = "nobody"
[[routes]]
path = "/open"
program = "echo"
acl = "us"
cache = false
""")
    assert it.ask("/closed").status_code == 403
    answer = it.ask("/open")
    assert answer.json()["url"] == "/open"
    assert answer.headers["X-Said"] == "Hello, World!"


@pytest.mark.kvm
def test_chains(it: Rendered) -> None:
    it.use(HELLO + ECHO + """
[[routes]]
path = "/chain"
program = "echo"
chain = ["hello"]
cache = false
""")
    assert it.ask("/chain").json()["body"] == "Hello, World!\n"


@pytest.mark.kvm
def test_caching_and_purging(it: Rendered) -> None:
    it.use(ECHO + """
[acls.us]
allow = ["127.0.0.1"]
[purge]
acl = "us"
[cache]
grace = 0
keep = 0
ttl = 100
strip_query = ["utm_*", "fbclid"]
[[routes]]
path_prefix = "/page"
program = "echo"
strip_cookies = true
[[routes]]
path_prefix = "/flat"
program = "echo"
ignore_query = true
ttl = 100
grace = 1
keep = 2
""")

    def hit(path: str, **headers: str) -> bool:
        answer = it.ask(path, **headers)
        assert answer.status_code == 200
        assert "X-Kvmctl-Url" not in answer.headers
        return len(answer.headers["X-Varnish"].split()) == 2

    assert not hit("/page?a=1") and hit("/page?a=1")
    assert hit("/page?a=1&utm_source=x&fbclid=y")
    assert hit("/page?utm_medium=z&a=1", Cookie="c=1")
    assert not hit("/page?a=2")
    assert it.ask("/page?utm_x=1&b=2&utm_y").json()["url"] == "/page?b=2"
    assert it.ask("/page?fbclid").json()["url"] == "/page"
    assert it.ask("/page?xutm_a=1").json()["url"] == "/page?xutm_a=1"
    assert not hit("/flat?x") and hit("/flat?y") and hit("/flat")
    assert it.ask("/page?a=1", "PURGE").status_code == 200
    assert not hit("/page?a=1") and hit("/page?a=1") and hit("/page?a=2")
    assert it.ask("/", "BAN").status_code == 400
    assert it.ask("/", "BAN", X_Ban_Url="(").status_code == 400
    assert it.ask("/", "BAN", X_Ban_Url="^/page").status_code == 200
    assert not hit("/page?a=1") and not hit("/page?a=2") and hit("/flat")


def test_purging_is_for_those_who_may(it: Rendered) -> None:
    it.use('[acls.other]\nallow = ["192.0.2.1"]\n[purge]\nacl = "other"\n')
    assert it.ask("/", "PURGE").status_code == 403
    assert it.ask("/", "BAN", X_Ban_Url=".").status_code == 403


def test_health_directors_and_timeouts(it: Rendered) -> None:
    it.use("""
[health]
path = "/up"
[origins.a]
host = "127.0.0.1"
port = 1
connect_timeout = 0.5
first_byte_timeout = 1
between_bytes_timeout = 2
max_connections = 10
host_header = "a.example"
[origins.b]
host = "127.0.0.1"
port = 2
[directors.both]
origins = ["a", "b"]
[directors.by_url]
kind = "hash"
origins = ["a", "b"]
weights = [1, 2.5]
[directors.first]
kind = "fallback"
origins = ["b", "a"]
[directors.any]
kind = "random"
origins = ["a"]
[[routes]]
path = "/both"
origin = "both"
[[routes]]
path = "/by"
origin = "by_url"
[[routes]]
path = "/first"
origin = "first"
[[routes]]
path_prefix = "/"
origin = "any"
""")
    assert it.ask("/up").text == "healthy\n"
    for path in ("/both", "/by", "/first", "/x"):
        assert it.ask(path).status_code == 503
    it.use("""
[health]
origins = ["sick"]
[origins.sick]
host = "127.0.0.1"
port = 1
probe = { interval = 0.1, timeout = 0.1 }
""")
    answer = it.ask("/healthz")
    assert (answer.status_code, answer.text) == (503, "an origin is sick\n")


class Origin(http.server.BaseHTTPRequestHandler):
    """Says what Host it was asked by, and includes a program's answer."""

    def do_GET(self) -> None:
        body = (f"<p>{self.headers['Host']}: "
                '<esi:include src="/hello"/>').encode()
        self.send_response(404 if "lost" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "a=b")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def origin_port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.kvm
def test_esi_of_an_origin_and_a_program(it: Rendered, origin_port: int) -> None:
    it.use(HELLO + f"""
[origins.web]
host = "127.0.0.1"
port = {origin_port}
host_header = "web.example"
[directors.all]
origins = ["web"]
[health]
origins = ["web"]
[[routes]]
path = "/hello"
program = "hello"
ttl = 1
[[routes]]
path_prefix = "/page"
origin = "all"
esi = true
strip_cookies = true
ttl = 100
[[routes]]
path = "/plain"
origin = "web"
""")
    for _ in range(2):
        page = it.ask("/page", Host="here.example")
        assert page.text.endswith(": Hello, World!\n")
        assert "Set-Cookie" not in page.headers
    assert len(page.headers["X-Varnish"].split()) == 2
    # So is an error.
    for _ in range(2):
        lost = it.ask("/page-lost", Host="here.example")
        assert lost.status_code == 404 and "Set-Cookie" not in lost.headers
        assert lost.text.endswith(": Hello, World!\n")
    plain = it.ask("/plain")
    assert "<esi:include" in plain.text and "Set-Cookie" in plain.headers
    assert it.ask("/healthz").status_code == 200


def test_the_host_of_an_origin(it: Rendered, origin_port: int) -> None:
    """host_header is no more than it says; the manual's snippet is."""
    text = (ROOT / "vcl" / "README.md").read_text().partition(
        "backend_fetch-host.vcl")[2]
    edge = f"""
[origins.web]
host = "127.0.0.1"
port = {origin_port}
host_header = "web.example"
[[routes]]
path_prefix = "/"
origin = "web"
cache = false
"""
    it.use(edge)
    assert it.ask("/shop/x", Host="here.example").text.startswith(
        "<p>here.example:")
    (it.directory / "vcl.d").mkdir()
    (it.directory / "vcl.d" / "backend_fetch-host.vcl").write_text(
        text.partition("```vcl\n")[2].partition("```")[0])
    it.use(edge)
    for path, host in (("/shop/x", "shop.example"), ("/x", "here.example")):
        assert it.ask(path, Host="here.example").text.startswith(
            f"<p>{host}:")


@pytest.mark.kvm
def test_self_requests(it: Rendered) -> None:
    it.use(HELLO + """
[self_requests]
socket = "/run/no-such.sock"
prefix = "http://127.0.0.1:1"
max = 3
[[routes]]
path = "/hello"
program = "hello"
""")
    assert it.ask("/hello").text == "Hello, World!\n"


def test_snippets_and_own_templates(it: Rendered, kvmctl: Any) -> None:
    own = it.directory / "vcl.d"
    own.mkdir()
    (own / "top-acl.vcl").write_text('acl mine {\n\t"127.0.0.1";\n}\n')
    (own / "recv-1.vcl").write_text(
        'if (req.url == "/mine" && client.ip ~ mine) {\n'
        '\treturn (synth(299, "{{ not a template }}"));\n}\n')
    (own / "deliver.vcl").write_text('set resp.http.X-Own = "yes";\n')
    it.use("")
    answer = it.ask("/mine")
    assert (answer.status_code, answer.reason) == (
        299, "{{ not a template }}")
    assert kvmctl("render", it.path, "--origin") == ExitCode.OK
    row = next(r for r in kvmctl.out.splitlines() if "synth(299" in r)
    assert row.startswith("vcl.d/recv-1.vcl:2 ")
    lines = kvmctl.json("render", it.path)
    assert {"vcl.d/top-acl.vcl:2", "vcl.d/deliver.vcl:1"} <= {
        n["source"] for n in lines}

    (own / "acls.vcl.j2").write_text("# {{ site.name }} has none\n")
    assert kvmctl("render", it.path) == ExitCode.OK
    assert "# it has none" in kvmctl.out
    (own / "acls.vcl.j2").write_text("{% nonsense %}\n")
    assert kvmctl("render", it.path) == ExitCode.MANIFEST
    assert "acls.vcl.j2, line 1" in kvmctl.err
    (own / "acls.vcl.j2").write_text("{{ no_such_thing }}\n")
    assert kvmctl("render", it.path) == ExitCode.MANIFEST
    assert "no_such_thing" in kvmctl.err
    (own / "acls.vcl.j2").unlink()
    (own / "receive.vcl").write_text("")
    assert kvmctl("render", it.path) == ExitCode.MANIFEST
    assert "receive" in kvmctl.err


@pytest.mark.parametrize("text, words", [
    (b"{{ 1 / 0 }}", "ZeroDivisionError"),
    (b"{{ 'x' | duration }}", "ValueError"),
    (b"{{ 'a' + 1 }}", "TypeError"),
    (b"{{ site.nodes[0].reach.nope }}", "nope"),
    (b"{% include 'deliver.vcl.j2' %}", "RecursionError"),
    (b"\xff", "UnicodeDecodeError"),
    (b"{% include 'nope.j2' %}", "there is no template nope.j2"),
    # They make VCL, and do nothing else.
    (b"{{ cycler.__init__.__globals__.os.getcwd() }}", "unsafe"),
    (b"{{ site.path.parent.joinpath('x').write_text('') }}", "unsafe"),
    (b"{{ (site.path | attr('parent')).name }}", "unsafe"),
    (b"{{ site.nodes[0].reach.run('true') }}", "unsafe"),
])
def test_own_templates_that_are_wrong(kvmctl: Any, tmp_path: Path,
                                      text: bytes, words: str) -> None:
    (tmp_path / "vcl.d").mkdir()
    (tmp_path / "vcl.d" / "deliver.vcl.j2").write_bytes(text)
    path = tmp_path / "edge.toml"
    path.write_text('[site]\nname = "it"\n[nodes.a]\nssh = "a"\n')
    assert kvmctl("render", path) == ExitCode.MANIFEST
    assert words in kvmctl.err
    assert ("deliver.vcl.j2, line 1: " in kvmctl.err) == (text != b"\xff")
    assert not (tmp_path / "x").exists()


def test_every_line_has_its_place(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(HELLO + '[[routes]]\npath = "/"\nprogram = "hello"\n'
                    '[[errors]]\nstatus = 404\nbody = "a\\nb"\n')
    parsed = sites.load(path)
    lines = origin.lines(marked(parsed, Path("/p.json"), "r"))
    assert "\n".join(n.text for n in lines) == render(
        parsed, Path("/p.json"), "r")
    templates = Path(__file__).parents[2] / "vcl"
    for line in lines:
        name, number = line.source.split(":")
        source = (templates / name).read_text().splitlines()[int(number) - 1]
        words = re.findall(r"[a-z_]+\(|vcl_[a-z_]+|\bunset\b", line.text)
        if words and "{{" not in source:
            assert words[0] in source, line


# -- nothing breaks out ------------------------------------------------

_TEXT = st.text(st.one_of(
    st.sampled_from('"{}\\\n\r*/#;$%^()[]&|~!=,.:-_ azAZ09'),
    st.characters()), max_size=25)
_HEADER = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,10}", fullmatch=True)


def edge(t: list[str], header: str) -> dict[str, Any]:
    """A table with every kind of entry, in which t are the user's words."""
    return {
        "site": {"name": "it"},
        "cache": {"strip_query": [t[0]]} if t[0] else {},
        "programs": {"p": {"file": "/x"}},
        "origins": {"o": {"host": t[1] or "h", "host_header": t[2] or "h",
                          "port": t[3] or 80,
                          "probe": {"url": "/" + t[4]}}},
        "acls": {"a": {"allow": [t[5] or "10.0.0.0/8"]}},
        "purge": {"acl": "a"},
        "health": {"path": "/" + t[6]},
        "self_requests": {"socket": "/" + t[7], "prefix": t[8]},
        "errors": [{"status": 404, "body": t[9], "type": t[10]},
                   {"status": 503, "program": "p", "arg": t[11]}],
        "routes": [
            {"host": t[12] or "h", "path_regex": t[13], "program": "p",
             "arg": t[14], "probe": False, "chain": ["p"],
             "header": {"name": header, "program": "p", "arg": t[15],
                        "on_error": t[16]}},
            {"path_prefix": "/" + t[17], "origin": "o", "acl": "a",
             "methods": [t[18] or "GET"]},
            {"path": "/" + t[19], "probe": False,
             "synth": {"body": t[20], "type": t[21], "location": t[22]}},
            {"path": "/s", "probe": False,
             "synth": {"program": "p", "arg": t[23]},
             "response_header": {"name": header, "program": "p",
                                 "on_error": t[24]}}]}


_STRING = re.compile(r'(?:"[^"\n]*"|\{".*?"\})(?: \+ (?:"[^"\n]*"|\{".*?"\}))*',
                     re.S)


def skeleton(text: str) -> str:
    """The VCL without its strings, comments, ACL addresses and names."""
    out = _STRING.sub("S", text)
    out = re.sub(r"#.*", "", out)
    return re.sub(r"\s+", " ", re.sub(r"S/\d+", "S", out))


#: Words that edge.toml takes as they are, and those that it looks at.
_FREE = (8, 9, 11, 12, 13, 14, 15, 16, 20, 23, 24)
_CHECKED = (0, 1, 2, 3, 4, 5, 6, 7, 10, 17, 18, 19, 21, 22)


@settings(max_examples=60)
@given(which=st.sets(st.sampled_from(_FREE), min_size=1)
       | st.sets(st.sampled_from(_CHECKED), min_size=1, max_size=1),
       words=st.lists(_TEXT, min_size=25, max_size=25), header=_HEADER)
def test_no_value_breaks_out(tmp_path_factory: pytest.TempPathFactory,
                             which: set[int], words: list[str],
                             header: str) -> None:
    """Varnish's compiler takes it, and sees the same VCL as for tame words.

    What is refused is refused by edge.toml's checks, and never by Varnish
    but for a regular expression or a host that it cannot resolve.
    """
    tame = [""] * 25
    wild = [w if i in which else "" for i, w in enumerate(words)]
    try:
        text = render(sites.parse(Path("/edge.toml"), edge(wild, header)),
                      Path("/p.json"), "r", token="t")
    except ManifestError:
        return
    usual = render(sites.parse(Path("/edge.toml"), edge(tame, header)),
                   Path("/p.json"), "r", token="t")
    # strip_query adds its statements when there is one.
    if not wild[0]:
        assert skeleton(text) == skeleton(usual)
    said = compiled(tmp_path_factory.mktemp("vcl"), text)
    assert said is None or re.search(
        r"Regexp compilation error|could not be resolved|lookup|"
        r"resolves to too many|Missing.*resolver|not resolv", said), said


def compiled(directory: Path, text: str) -> str | None:
    """What Varnish's compiler says against it."""
    from kvmctl import paths
    from kvmctl.varnish.private import system_vmods
    (directory / "it.vcl").write_text(text, encoding="utf-8")
    varnishd = shutil.which("varnishd", path="/usr/sbin:/usr/local/sbin")
    assert varnishd is not None
    done = subprocess.run(
        [varnishd, *(["-j", "none"] if os.geteuid() == 0 else []), "-C",
         "-n", str(directory / "n"), "-f", str(directory / "it.vcl"), "-p",
         f"vmod_path={paths.vmods()}:{system_vmods()}"],
        capture_output=True, text=True, errors="replace", check=False)
    shutil.rmtree(directory, ignore_errors=True)
    return None if done.returncode == 0 else done.stdout + done.stderr


@given(token=_TEXT, value=st.from_regex(r"[ -~]{0,30}", fullmatch=True),
       cookie=st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}",
                            fullmatch=True),
       percent=st.floats(0.0001, 100))
def test_routers(token: str, value: str, cookie: str,
                 percent: float) -> None:
    labels = {r: f"kvmctl-it-{r}" for r in ("stable", "probe", "canary")}
    try:
        text = render_router("it", token, labels, percent, ("X-C", value),
                             cookie)
    except ManifestError:
        return
    usual = render_router("it", "t", labels, 1, ("X-C", "v"), "c")
    numbers = re.compile(r"< \d+")
    assert numbers.sub("N", skeleton(text)) == numbers.sub(
        "N", skeleton(usual))


@pytest.mark.parametrize("text, words", [
    ('[acls.a]\nallow = ["10.0.0.0/33"]', "network"),
    ('[purge]', "acl"), ('[purge]\nacl = "x"', "no acl"),
    ('[directors.d]\norigins = ["x"]', "no origin"),
    ('[directors.d]\nkind = "best"\norigins = ["x"]', "round_robin"),
    ('[[errors]]\nstatus = 42\nbody = ""', "200 to 599"),
    ('[[errors]]\nstatus = 404', "either"),
    ('[[errors]]\nstatus = 404\nbody = ""\ntype = "a\\nb"', "control"),
    ('[health]\npath = "x"', "no path"),
    ('[self_requests]\nsocket = "x"', "absolute"),
    ('[self_requests]\nmax = 0', "10000"),
    ('[cache]\nttl = -1', "seconds"),
    ('[cache]\nstrip_query = ["a b"]', "parameter"),
    ('[[routes]]\nsynth = { status = 200 }', "missing"),
    ('[[routes]]\nsynth = { body = "", location = "a\\r\\nb" }', "control"),
    ('[[routes]]\nchain = ["x"]\nstats = true', "chain"),
    ('[[routes]]\nstats = true\nacl = "x"', "no acl"),
    ('[acls.a]\n[programs.p]\nfile = "p"\n[[routes]]\nacl = "a"\n'
     'header = { name = "X", program = "p" }', "a route that answers"),
    ('[origins.x]\nhost = "h"\nmax_connections = 0', "max_connections"),
    ('[origins.x]\nhost = "h"\nconnect_timeout = -1', "seconds"),
])
def test_what_is_wrong_is_named(text: str, words: str,
                                tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(text)
    with pytest.raises(ManifestError, match=words):
        sites.load(tmp_path / "edge.toml")
