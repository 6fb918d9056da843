# SPDX-License-Identifier: BSD-2-Clause
"""VCL: whatever a manifest holds, the VCL compiles and means that."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvmctl import site
from kvmctl.errors import ManifestError
from kvmctl.varnish.private import PrivateVarnish
from kvmctl.vcl import escape, render
from support.paths import ROOT, guest

_NASTY = ["", '"', '""', 'a"b', "}", '"}', '{"', 'x"}" + evil() + {"', "\n",
          'a\n"b', '"}\n', "$", "%", "\\", "\\n", "*/", "//", "#", "é", "\t",
          '"' * 20, 'C{ system("true"); }C', "\r\n", "'", "{{ 7 * 7 }}"]


@pytest.fixture(scope="module")
def varnish() -> Iterator[PrivateVarnish]:
    with PrivateVarnish() as it:
        yield it


def ask(varnish: PrivateVarnish, path: str, **more: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(varnish.url + path, timeout=20, **more)


def test_strings_mean_what_they_say(varnish: PrivateVarnish,
                                    tmp_path: Path) -> None:
    """Varnish itself gives back each string as it was."""
    rows = "".join(
        f'\tif (req.url == "/{i}") {{ synthetic({escape.string(text)}); }}\n'
        for i, text in enumerate(_NASTY))
    (tmp_path / "strings.vcl").write_text(
        "vcl 4.1;\nbackend default none;\n"
        "sub vcl_recv { return (synth(200)); }\n"
        "sub vcl_synth {\n\tsynthetic(\"\");\n" + rows
        + "\treturn (deliver);\n}\n")
    varnish.admin.load("strings", tmp_path / "strings.vcl")
    varnish.admin.use("strings")
    for i, text in enumerate(_NASTY):
        assert ask(varnish, f"/{i}").content.decode() == text


def lex(expression: str) -> str:
    """What a VCL string expression says: "short" + {"long"}."""
    out, rest = "", expression
    while rest:
        short = re.match(r'"([^"\n]*)"', rest)
        long = re.match(r'\{"(.*?)"\}', rest, re.S)
        found = long or short
        assert found is not None, rest
        out += found.group(1)
        rest = rest[found.end():]
        if rest:
            assert rest.startswith(" + "), rest
            rest = rest[3:]
    return out


@given(st.text(alphabet=st.sampled_from('"{}\n\r\\ab+ *$')) | st.text())
@example("\ufdd0")
def test_any_string_is_one_expression(text: str) -> None:
    try:
        expression = escape.string(text)
    except ManifestError:
        assert re.search("[\0\ud800-\udfff\ufdd0-\ufdd2]", text)
        return
    assert lex(expression) == text


@given(st.text(), st.text())
def test_literals_match_themselves_only(text: str, other: str) -> None:
    pattern = re.compile(f"^{escape.literal(text)}$", re.S)
    assert pattern.fullmatch(text)
    assert bool(pattern.fullmatch(other)) == (text == other)


@pytest.mark.parametrize("pattern", [
    r'"', r'\"', r'\\"', r'\\\"', '\n', '\\\n', r'a\.b"c\"', r'["\"]', r'\d"'])
def test_regexes_match_what_they_did(pattern: str) -> None:
    """A quote in VCL is \\x22, and so is one behind a backslash."""
    written = escape.regex(pattern)[1:-1]
    assert '"' not in written and "\n" not in written
    for text in ('"', '\\"', '\\\\"', "\n", "\\\n", 'a.b"c"', "a", '1"',
                 "x22", '\\x22'):
        assert bool(re.fullmatch(written, text)) == bool(
            re.fullmatch(pattern, text)), (written, text)


@given(st.text())
def test_comments_stay_comments(text: str) -> None:
    assert "\n" not in escape.comment(text)
    assert "*/" not in escape.comment(text)


@pytest.mark.parametrize("host, yes, no", [
    ("a.example", ["a.example", "A.Example", "a.example:80"],
     ["aXexample", "b.a.example", "a.example.evil", ""]),
    ("*.example", ["a.example", "b.example:8080"],
     ["example", "a.b.example", "a.example.evil"]),
])
def test_hosts(host: str, yes: list[str], no: list[str]) -> None:
    pattern = re.compile(escape.host_regex(host))
    assert all(pattern.search(h) for h in yes)
    assert not any(pattern.search(h) for h in no)


def site_of(tmp_path: Path, text: str) -> site.Site:
    path = tmp_path / "edge.toml"
    path.write_text(text)
    return site.load(path)


_EVERYTHING = f"""
[site]
name = "everything"

[origins.web]
host = "127.0.0.1"
port = 1

[origins.slow]
host = "127.0.0.1"
port = "2"
probe = {{ url = "/up", interval = 60, timeout = 0.5, window = 5, threshold = 2 }}

[programs.hello]
file = "{guest('hello')}"

[programs.echo]
file = "{guest('echo')}"

[[routes]]
path_prefix = "/h"
header = {{ name = "X-Said", program = "hello", on_error = 'no "hello"' }}

[[routes]]
host = "*.example"
path = "/by-host"
program = "hello"
ttl = 60

[[routes]]
path_regex = '^/re/[0-9]+(\\?|$)'
methods = ["GET", "POST"]
program = "echo"
arg = 'an "argument"}}'
cache = false
probe = false

[[routes]]
path = "/synth"
synth = {{ status = 418, program = "hello" }}

[[routes]]
path = "/own"
synth = {{ program = "hello" }}

[[routes]]
path = "/header"
program = "echo"
cache = false

[[routes]]
path = "/stats"
stats = true

[[routes]]
path_prefix = "/web"
origin = "web"
"""


@pytest.mark.kvm
def test_every_kind_of_route(varnish: PrivateVarnish, tmp_path: Path) -> None:
    parsed = site_of(tmp_path, _EVERYTHING)
    library = tmp_path / "programs.json"
    library.write_text(json.dumps({name: {"filename": str(guest(name))}
                                   for name in ("hello", "echo")}))
    (tmp_path / "site.vcl").write_text(render(parsed, library, "everything"))
    varnish.admin.load("everything", tmp_path / "site.vcl")
    varnish.admin.use("everything")

    assert ask(varnish, "/none").status_code == 404
    assert ask(varnish, "/by-host").status_code == 404
    by_host = ask(varnish, "/by-host", headers={"Host": "a.example:81"})
    assert by_host.text == "Hello, World!\n"
    by_regex = ask(varnish, "/re/42?x")
    assert by_regex.json()["arg"] == 'an "argument"}'
    assert ask(varnish, "/re/x").status_code == 404
    assert ask(varnish, "/synth").status_code == 418
    assert ask(varnish, "/own").status_code == 200
    assert ask(varnish, "/stats").json()["programs"].keys() == {"hello",
                                                                "echo"}
    assert ask(varnish, "/web").status_code == 503      # nobody listens
    # The header is the program's, whatever the client says.
    seen = ask(varnish, "/header",
               headers={"X-Said": "lie", "X-Kvmctl-Route": "7"}).json()
    headers = {h.split(":")[0].lower(): h for h in seen["headers"]}
    assert headers["x-said"] == "X-Said: Hello, World!"
    assert "x-kvmctl-route" not in headers
    with requests.Session() as session:
        session.trust_env = False
        odd = session.request("PROPFIND", varnish.url + "/header", data=b"x")
    assert odd.json()["method"] == "PROPFIND" and odd.json()["body"] == "x"


@pytest.mark.kvm
def test_a_failed_vcl_recv_shows_no_route(varnish: PrivateVarnish,
                                          tmp_path: Path) -> None:
    """Then Varnish shows the client's own headers to vcl_synth."""
    (tmp_path / "p.json").write_text(json.dumps(
        {"hello": {"filename": str(guest("hello"))}}))
    text = render(site_of(tmp_path, f"""
[programs.hello]
file = "{guest('hello')}"
[[routes]]
path = "/stats"
stats = true
[[routes]]
path = "/synth"
synth = {{ program = "hello" }}
"""), tmp_path / "p.json", "r")
    begin = "sub vcl_recv {\n"
    assert begin in text
    (tmp_path / "fails.vcl").write_text(
        text.replace(begin, begin + '\tset req.http.X = {"a\nb"};\n'))
    varnish.admin.load("fails", tmp_path / "fails.vcl")
    varnish.admin.use("fails")
    for route in "12":
        answer = ask(varnish, "/", headers={"X-Kvmctl-Route": route})
        assert answer.status_code == 503
        assert "programs" not in answer.text and "Hello" not in answer.text


def test_each_release_has_its_own_mark(tmp_path: Path) -> None:
    """With a token or without: the mark opens one release, and tells nothing."""
    parsed, marks = site_of(tmp_path, ""), set()
    for token in ("", "t" * 32):
        for release in ("", "r1", "r2"):
            text = render(parsed, None, release, token=token)
            mark, = re.findall(r'set req.http.X-Kvmctl-Probe = "(.*)";', text)
            assert re.fullmatch("[0-9a-f]{32}", mark)
            marks.add(mark)
    assert len(marks) == 6


def test_the_vcl_is_readable(tmp_path: Path) -> None:
    text = render(site_of(tmp_path, _EVERYTHING), Path("/p.json"), "r1")
    assert "everything, release r1" in text
    for words in ("[programs.hello]", "[origins.web]", "[[routes]] number 3"):
        assert words in text
    assert "\n\n\n\n" not in text


def test_render_command(kvmctl: Any, tmp_path: Path) -> None:
    assert kvmctl("render", ROOT / "vcl" / "examples" / "demo.toml") == 0
    assert kvmctl.out.count("import tinykvm;") == 1
    (tmp_path / "edge.toml").write_text("")
    assert kvmctl("render", tmp_path / "edge.toml") == 0
    assert "import tinykvm" not in kvmctl.out


_WORD = st.text(min_size=1, max_size=30)


@settings(max_examples=40)
@given(arg=_WORD, on_error=_WORD, regex=_WORD, path=_WORD)
def test_any_words_render(tmp_path_factory: pytest.TempPathFactory, arg: str,
                          on_error: str, regex: str, path: str) -> None:
    """Every string literal of the result is closed, on its own line."""
    try:
        parsed = site.parse(Path("/edge.toml"), {
            "site": {"name": "it"}, "programs": {"p": {"file": "/x"}},
            "routes": [
                {"header": {"name": "H", "program": "p", "arg": arg,
                            "on_error": on_error}},
                {"path_regex": regex, "program": "p", "arg": arg,
                 "probe": False},
                {"path": "/" + path, "program": "p"}]})
        text = render(parsed, Path("/p.json"), "r")
    except ManifestError:
        return
    code = re.sub(r'\{".*?"\}', "L", text, flags=re.S)
    for line in code.split("\n"):
        code_line = re.sub(r'"[^"]*"', "S", line)
        assert '"' not in code_line or code_line.lstrip().startswith("#")
