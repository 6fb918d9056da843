# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl test, and what kvmctl run reads requests from."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kvmctl import files
from kvmctl.errors import ExitCode, UsageError
from kvmctl.trial import request
from support.paths import SOURCES, guest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty tests/ beside a copy of no program: `write` says which."""
    (tmp_path / "tests").mkdir()
    return tmp_path


def write(project: Path, name: str, tests: str, more: str = "") -> None:
    """The project is the guest of that name, as it was built."""
    (project / "guest.toml").write_text(
        f'name = "{name}"\nlanguage = "executable"\n'
        f'sources = ["{guest(name)}"]\n{more}')
    (project / "tests" / "it.toml").write_text(tests)


def run(kvmctl: Any, project: Path, *more: "str | Path") -> int:
    code: int = kvmctl("test", project, "-o", project / "out", *more)
    return code


def failures(kvmctl: Any, project: Path) -> dict[str, str]:
    """Name of each test to all that is wrong with its answer."""
    run(kvmctl, project, "--json")
    return {r["name"]: " ".join(r["wrong"]) for r in json.loads(kvmctl.out)}


@pytest.mark.kvm
def test_an_answer_that_is_too_long(kvmctl: Any,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may stream for ever; whoever asks it keeps the answer."""
    monkeypatch.setattr(files, "DATA", 1 << 20)
    url = "/alphabet/{}/10000"
    assert kvmctl("run", guest("streamtest"),
                  url.format(1 << 20)) == ExitCode.OK, kvmctl.err
    assert kvmctl("run", guest("streamtest"),
                  url.format((1 << 20) + 1)) == ExitCode.GUEST
    assert "more than 1 MiB" in kvmctl.err


@pytest.mark.kvm
def test_good(kvmctl: Any, project: Path) -> None:
    (project / "tests" / "body").write_bytes(b"out of a file")
    write(project, "echo", """
[[tests]]
name = "all of the request"
[tests.request]
method = "PATCH"
url = "/u?q"
arg = "the argument"
headers = ["X-A: b", "Content-Type: a/b"]
body = "words"
[tests.expect]
type = "application/json"
contains = ['"url":"/u?q"', '"arg":"the argument"', "X-A: b"]
matches = '"body":"words"}$'
max_exits = 1
max_pages = 50
max_seconds = 5

[[tests]]
name = "a file"
repeat = 3
request = { body_file = "body" }
[tests.expect.json]
method = "POST"
url = "/"
arg = ""
content_type = ""
headers = []
body = "out of a file"
""")
    assert run(kvmctl, project) == ExitCode.OK, kvmctl.out + kvmctl.err
    lines = kvmctl.out.splitlines()
    assert lines[0].startswith("ok    all of the request ")
    assert "1 exit" in lines[0] and "pages" in lines[0] and "us" in lines[0]
    assert kvmctl.err == "2 tests passed\n"
    # One file, one test, from elsewhere.
    assert kvmctl("test", project / "tests" / "it.toml", "-k", "^a f",
                  "-o", project / "out") == ExitCode.OK
    assert "a file" in kvmctl.out and "all of" not in kvmctl.out
    assert run(kvmctl, project, "-k", "none of them") == ExitCode.MANIFEST
    assert run(kvmctl, project, "-k", "(") == ExitCode.USAGE


@pytest.mark.kvm
def test_wrong_answers_are_told(kvmctl: Any, project: Path) -> None:
    expectations = {
        "status": ("status = 201", "the status is 200, not 201"),
        "type": ('type = "text/plain"', "'application/json', not"),
        "body": ('body = "x"', "not 'x'"),
        "contains": ('contains = ["zebra"]', "has no 'zebra'"),
        "matches": ('matches = "^zebra"', "does not match '^zebra'"),
        "json": ("json = { a = 1 }", 'not {"a": 1}'),
        "header": ('headers = ["X-None: 1"]', "no header 'X-None: 1'"),
        "exits": ("max_pages = 0", "pages written: more than 0"),
        "seconds": ("max_seconds = 0", "seconds: more than 0"),
        "log": ('log = "zebra"', "did not log 'zebra'"),
        "error": ('error = "zebra"', "answered 200, and was to fail"),
        "fetched": ('fetched = ["GET /"]', "fetched [], not"),
    }
    write(project, "echo", "".join(
        f'[[tests]]\nname = "{n}"\nexpect = {{ {text} }}\n'
        for n, (text, _) in expectations.items()))
    found = failures(kvmctl, project)
    for name, (_, words) in expectations.items():
        assert words in found[name], name
    assert run(kvmctl, project) == ExitCode.FAILED
    assert "FAIL  status" in kvmctl.out and "it.toml:1" in kvmctl.out
    assert "12 of 12 tests failed" in kvmctl.err


@pytest.mark.kvm
def test_programs_that_fail(kvmctl: Any, project: Path) -> None:
    write(project, "hostile", """
[[tests]]
name = "unexpected"
request = { url = "/null-write" }
[[tests]]
name = "expected"
request = { url = "/null-write" }
expect = { error = "null pointer" }
[[tests]]
name = "another"
request = { url = "/null-write" }
expect = { error = "zebra" }
""", "[limits]\nmax_request_time = 2\n")
    found = failures(kvmctl, project)
    assert "it failed: " in found["unexpected"]
    assert "null pointer" in found["unexpected"]
    assert found["expected"] == ""
    assert "'zebra'" in found["another"]
    write(project, "hostile-boot", '[settings]\nmain_arguments = ["crash"]\n'
          '[[tests]]\nname = "it"\n')
    found = failures(kvmctl, project)
    assert "does not boot" in found["it"] and "null pointer" in found["it"]


@pytest.mark.kvm
def test_each_test_has_a_reset_machine(kvmctl: Any, project: Path) -> None:
    (project / "it.c").write_text(
        '#include "kvm_api.h"\nstatic int n;\n'
        "static void on(const struct kvm_request *r)\n"
        '{ (void)r; respondf(200, "%d", ++n); }\n'
        "int main(void) { kvm_serve(on); }\n")
    (project / "guest.toml").write_text('name="it"\nsources = ["it.c"]\n')
    (project / "tests" / "it.toml").write_text(
        '[[tests]]\nname = "once"\nrepeat = 5\nexpect = { body = "1" }\n'
        '[[tests]]\nname = "again"\nexpect = { body = "1" }\n')
    assert run(kvmctl, project) == ExitCode.OK, kvmctl.out


@pytest.mark.kvm
def test_origins(kvmctl: Any, project: Path) -> None:
    write(project, "apitest", """
[origins.api]
answers = [
    { path = "/users/1", body = "Ann", headers = ["Content-Type: a/b"] },
    { path = "/late", status = 503, delay = 0.01 },
    { path = "/me", body = "${api}" },
]

[[tests]]
name = "fetches"
request = { url = "/fetch", headers = ["X-Url: ${api}/users/1"] }
expect = { body = "0 200 a/b 3\\nAnn", fetched = ["GET /users/1"] }

[[tests]]
name = "what there is not"
request = { url = "/fetch", headers = ["X-Url: ${api}/none"] }
expect = { contains = ["0 404 "], fetched = ["GET /none"] }

[[tests]]
name = "late"
request = { url = "/fetch", headers = ["X-Url: ${api}/late"] }
expect = { contains = ["0 503 "] }

[[tests]]
name = "not allowed"
request = { url = "/fetch", headers = ["X-Url: http://127.0.0.2:1/"] }
expect = { matches = "^-", fetched = [] }
""")
    assert run(kvmctl, project) == ExitCode.OK, kvmctl.out


@pytest.mark.kvm
def test_junit(kvmctl: Any, project: Path) -> None:
    write(project, "hello", '[[tests]]\nname = "good"\n[[tests]]\n'
          'name = "bad <&>"\nexpect = { body = "\\u0001" }\n')
    file = project / "results" / "junit.xml"
    assert run(kvmctl, project, "--junit", file) == ExitCode.FAILED
    suite, = ElementTree.fromstring(file.read_bytes())
    assert suite.get("tests") == "2" and suite.get("failures") == "1"
    assert [c.get("name") for c in suite] == ["good", "bad <&>"]
    assert run(kvmctl, project, "--junit", "/dev/null/x") == ExitCode.FAILED
    assert "/dev/null" in kvmctl.err and "Traceback" not in kvmctl.err


@pytest.mark.kvm
def test_a_site(kvmctl: Any, project: Path) -> None:
    """All programs of an edge.toml that have tests."""
    site = project / "site"
    site.mkdir()
    write(project, "hello", '[[tests]]\nname = "says hello"\n')
    (site / "edge.toml").write_text('[programs.hello]\nguest = ".."\n')
    assert kvmctl("test", site, "-o", project / "out") == ExitCode.OK
    assert "says hello" in kvmctl.out


@pytest.mark.parametrize("text, words", [
    ('[[tests]]\nname = "a"\n[[tests]]\nname = "a"\n',
     'it.toml:4: [[tests]] number 2: there is a test "a" already'),
    ('[[tests]]\nname = "a"\nexpect = { matches = "(" }\n', "it.toml:3: "),
    ('[[tests]]\nname = "a"\nrequest = { body_file = "none" }\n',
     "it.toml:3: "),
    ('[[tests]]\nname = "a"\nrequest = { headers = ["x"] }\n',
     '"x" is no header'),
    ("", "missing"),
    ("[", "it.toml:1: "),
])
def test_bad_files(kvmctl: Any, project: Path, text: str, words: str) -> None:
    write(project, "hello", text)
    for command in ("test", "check"):
        assert kvmctl(command, project) == ExitCode.MANIFEST
        assert words in kvmctl.err + kvmctl.out
        assert "Traceback" not in kvmctl.err


def test_none(kvmctl: Any, project: Path) -> None:
    write(project, "hello", "")
    (project / "tests" / "it.toml").unlink()
    assert run(kvmctl, project) == ExitCode.MANIFEST
    assert "there is no test" in kvmctl.err
    assert run(kvmctl, project / "none") == ExitCode.MANIFEST


# -- requests out of files ---------------------------------------------------

_HTTP = """\
# a comment
@host = example.com
@base = http://{{host}}:8080

### The first
GET {{base}}/a?b=1 HTTP/1.1
X-A: b: c

###
// another
POST /p
  ?x=1
  &y=2
Content-Type: text/plain

two
lines

### only a comment

### A file
POST {{base}}

< body.bin
"""


def test_http_files(tmp_path: Path) -> None:
    (tmp_path / "body.bin").write_bytes(b"\0\xff")
    one, two, three = request.parse(_HTTP, tmp_path, "it")
    assert (one.method, one.url) == ("GET", "/a?b=1")
    assert one.headers == ("Host: example.com:8080", "X-A: b: c")
    assert str(two) == "POST /p?x=1&y=2" and two.body == b"two\nlines"
    assert two.content_type == "text/plain"
    assert three.url == "/" and three.body == b"\0\xff"


@pytest.mark.parametrize("text, words", [
    ("", "has no request"), ("### x\n", "has no request"),
    ("GET nonsense\n", "no URL"), ("GET {{none}}/\n", "no variable none"),
    ("GET /\nno field\n", "header fields"),
    ("POST /\n\n< /no/such\n", "/no/such"),
    ("{", "no HAR file"), ("{}", "no HAR file"),
    ('{"log": {"entries": [{"request": 3}]}}', "no HAR file"),
    ('{"log": {"entries": []}}', "has no request"),
])
def test_bad_request_files(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        request.parse(text, Path("/nowhere"), "it")


def test_har() -> None:
    found, = request.parse(json.dumps({"log": {"entries": [{"request": {
        "method": "POST", "url": "https://example.com/a?b#c", "headers": [
            {"name": ":authority", "value": "example.com"},
            {"name": "Content-Length", "value": "3"},
            {"name": "X-A", "value": "b"}],
        "postData": {"mimeType": "a/b", "text": "AAEC",
                     "encoding": "base64"}}}]}}), Path(), "it")
    assert found.url == "/a?b" and found.body == b"\0\1\2"
    assert found.headers == ("Host: example.com", "X-A: b",
                             "Content-Type: a/b")


@pytest.mark.kvm
def test_run_asks_what_is_in_a_file(kvmctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "it.http"
    file.write_text("GET http://h/one\n###\nPOST /two\n\nbody")
    found = [json.loads(a["body"]) for a in kvmctl.json(
        "run", guest("echo"), "--request", file, "-H", "X-All: 1")]
    assert [f["url"] for f in found] == ["/one", "/two"]
    assert all("X-All: 1" in f["headers"] for f in found)
    kvmctl.stdin = file.read_bytes()
    assert kvmctl("run", guest("echo"), "--request", "-") == ExitCode.OK
    assert kvmctl.out.count('"url"') == 2 and "POST /two" in kvmctl.err
    for words in (["-d", "x"], ["-X", "GET"], ["--output", "/tmp/x"]):
        assert kvmctl("run", guest("echo"), "--request", file,
                      *words) == ExitCode.USAGE
    assert kvmctl("run", guest("echo"), "--request",
                  "/no/such") == ExitCode.USAGE


@pytest.mark.kvm
def test_run_cannot_write(kvmctl: Any) -> None:
    assert kvmctl("run", guest("hello"), "--output",
                  "/dev/full") == ExitCode.FAILED
    assert "No space left" in kvmctl.err and "free some space" in kvmctl.err


@pytest.mark.kvm
def test_our_guests_pass(kvmctl: Any) -> None:
    guests = [p.parent for p in SOURCES.glob("*/tests")]
    assert guests
    assert kvmctl("test", *guests) == ExitCode.OK, kvmctl.out


def test_errors_are_for_machines_too(kvmctl: Any, project: Path) -> None:
    assert kvmctl("test", project, "--json") == ExitCode.MANIFEST
    said = json.loads(kvmctl.out)
    assert said["exit_code"] == ExitCode.MANIFEST
    assert said["error"] in kvmctl.err
    # Where there is a result, it is the only one.
    (project / "guest.toml").write_text("sources = 3\n")
    assert kvmctl("check", project, "--json") == ExitCode.MANIFEST
    assert len(json.loads(kvmctl.out)["problems"]) == 1
