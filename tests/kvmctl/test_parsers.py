# SPDX-License-Identifier: BSD-2-Clause
"""What kvmctl reads and did not write: it is read right, or there are words for it.

Every error of ours names the file and comes out as an exit code; any other one
is a traceback to a user, and fails here.
"""

import base64
import dataclasses
import datetime
import json
import math
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl import files, schema, site
from kvmctl.deploy import planning, prepare
from kvmctl.deploy.store import Release, Store
from kvmctl.errors import (DeployError, ExitCode, KvmctlError, ManifestError,
                           SignatureError, UsageError)
from kvmctl.guest import manifest, record, signature
from kvmctl.guest.store import Store as Builds
from kvmctl.trial import cases, junit, request
from kvmctl.trial.runner import Result
from kvmctl.vcl import render
from support.odd import changed, damaged, like, toml
from support.paths import guest


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with what the documents name."""
    directory = tmp_path_factory.mktemp("it")
    (directory / "it.c").touch()
    (directory / "it").write_bytes(b"\x7fELF")
    (directory / "loop").symlink_to("loop")
    (directory / "tests").mkdir()
    yield directory


def outcome(path: Path, kind: type[KvmctlError],
            read: Callable[[Path], object]) -> str:
    """right or wrong; nothing else may happen."""
    try:
        read(path)
    except kind as e:
        assert path.name in str(e)
        return "wrong"
    return "right"


# -- guest.toml, edge.toml, tests/*.toml --------------------------------------

def _site(path: Path) -> None:
    render(site.load(path), None, "it")


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "guest": ("guest.toml", manifest.load), "edge": ("edge.toml", _site),
    "test": ("tests/first.toml", cases.load)}


@pytest.mark.parametrize("kind", schema.NAMES)
def test_any_document(place: Path, kind: str) -> None:
    path, read, seen = place / FILES[kind][0], FILES[kind][1], Counter[str]()

    @given(like(schema.load(kind)))
    def any_document(table: Any) -> None:
        path.write_bytes(toml(table))
        seen[outcome(path, ManifestError, read)] += 1

    any_document()
    assert len(seen) == 2, seen         # else nobody looked at anything


@pytest.mark.parametrize("kind", schema.NAMES)
def test_any_bytes_of_one(place: Path, kind: str, kvmctl: Any) -> None:
    """check, too, whose words are for all files and settings."""
    path, read = place / FILES[kind][0], FILES[kind][1]

    @given(like(schema.load(kind)).map(toml).flatmap(damaged))
    def any_bytes(data: bytes) -> None:
        path.write_bytes(data)
        told = outcome(path, ManifestError, read)
        code = kvmctl("check", path)
        assert code in (ExitCode.OK, ExitCode.MANIFEST, ExitCode.HOST)
        assert told == "right" or code == ExitCode.MANIFEST
        if kind == "edge" and b"guest" not in data:     # nothing to compile
            assert kvmctl("plan", path, "-n", place / "none", "--store",
                          place / "store", "-o", place / "out") in (
                ExitCode.MANIFEST, ExitCode.DEPLOY, ExitCode.VARNISH,
                ExitCode.SIGNATURE)
            assert kvmctl.err.startswith("error: ")

    any_bytes()


_DEEP = "[" * 40 + "]" * 40


@pytest.mark.parametrize("kind, text, words", [
    ("guest", "x = " + "1" * 5000, "guest.toml:1: .* 64 bits"),
    ("guest", 'sources = ["it.c"]\n[limits]\nmax_memory = 0x' + "f" * 9000,
     r"guest.toml:3: \[limits\]: .* 64 bits"),
    ("guest", "x = -9223372036854775809", "guest.toml:1: .* 64 bits"),
    ("guest", "a." * 3000 + "b = 1", "guest.toml: nested too deeply"),
    ("guest", f'sources = ["it.c"]\nname = {_DEEP}', "nested too deeply"),
    ("guest", 'sources = ["a\\u0000"]', r'guest.toml:1: "sources" .* U\+0000'),
    ("guest", 'sources = ["loop"]', "guest.toml:1: there is no source"),
    ("guest", f'sources = ["{"x" * 5000}"]', "guest.toml:1: there is no"),
    ("guest", 'sources = ["it.c"]\n[permissions]\nallowed_paths = ["a\\u0000"]',
     r'guest.toml:3: \[permissions\]: "allowed_paths" .* U\+0000'),
    ("edge", '[programs.it]\nguest = "\\u0000"', r"edge.toml:2: .* U\+0000"),
    ("edge", '[[routes]]\nsynth = { body = "\\ufdd0" }',
     r'edge.toml:2: .*number 1.synth: "body" .* U\+FDD0'),
    ("edge", '[[routes]]\nsynth = { body = "x" }\npath_regex = "a{9999999999}"',
     'edge.toml:3: .* "path_regex" is no regular expression'),
    ("edge", '[[routes]]\nsynth = { body = "x" }\npath_regex = "'
     + "(" * 5000 + '"', 'edge.toml:3: .* "path_regex" is no regular'),
    ("edge", '[acls.net]\nallow = ["fe80::1%eth0"]',
     "edge.toml:2: .* no address or network"),
    ("test", '[[tests]]\nname = "x"\nexpect = { matches = "a{9999999999}" }',
     'first.toml:3: .* "matches" is no regular expression'),
    ("test", '[[tests]]\nname = "x"\nrequest = { body_file = "a\\u0000" }',
     r'first.toml:3: .* "body_file" .* U\+0000'),
])
def test_errors_that_were_tracebacks(place: Path, kind: str, text: str,
                                     words: str) -> None:
    path = place / FILES[kind][0]
    path.write_text(text)
    with pytest.raises(ManifestError, match=words):
        FILES[kind][1](path)


def test_a_body_may_hold_anything(place: Path) -> None:
    path = place / "tests" / "first.toml"
    path.write_text('[[tests]]\nname = "x"\nrequest = { body = "a\\u0000b" }\n')
    assert cases.load(path).cases[0].request.body == b"a\0b"


def test_a_ring_of_links(place: Path, kvmctl: Any) -> None:
    (place / "guest.toml").write_text("")
    for command in ("check", "inspect", "build", "plan"):
        assert kvmctl(command, place / "loop") in iter(ExitCode)
        assert "loop" in kvmctl.out + kvmctl.err
    assert kvmctl("test", place, "-k", "a{9999999999}") == ExitCode.USAGE


# -- records, signatures, keys -------------------------------------------------

DEEP = b"[" * 100_000


@pytest.fixture(scope="module")
def program(place: Path, kvmctl_module: Any) -> Path:
    """A signed one; who.pub is trusted."""
    source = guest("hello")
    for name in ("hello", "hello.json"):
        shutil.copy(source.with_name(name), place / name)
    assert kvmctl_module("key", place / "who.pem") == ExitCode.OK
    assert kvmctl_module("sign", place / "hello", "--key",
                         place / "who.pem") == ExitCode.OK
    return place / "hello"


def _documents(sample: Any) -> st.SearchStrategy[bytes]:
    """JSON like the sample; damaged; or none."""
    whole = json.dumps(sample).encode()
    return st.one_of(changed(sample).map(lambda it: json.dumps(it).encode()),
                     damaged(whole), st.just(DEEP), st.binary(max_size=30))


@pytest.fixture
def kept(program: Path) -> Iterator[Path]:
    """The program; its record and signature are as before afterwards."""
    beside = [record.file(program), record.signature_file(program)]
    before = [path.read_bytes() for path in beside]
    yield program
    for path, data in zip(beside, before, strict=True):
        path.write_bytes(data)


def test_any_record(kept: Path, kvmctl: Any) -> None:
    beside, seen = record.file(kept), Counter[int]()
    sample, trust = record.parse(beside.read_bytes()), kept.parent / "who.pub"

    @given(_documents(sample))
    def any_record(data: bytes) -> None:
        beside.write_bytes(data)
        seen[record.read(kept) is None] += 1
        assert kvmctl("inspect", kept) in (ExitCode.OK, ExitCode.GUEST)
        assert kvmctl("diff", kept, kept) == ExitCode.OK
        for command in (("verify", "--trust", trust),
                        ("sign", "--key", trust.with_suffix(".pem"))):
            code = kvmctl(command[0], kept, *command[1:])
            assert code in (ExitCode.OK, ExitCode.SIGNATURE)
            assert code == ExitCode.OK or "hello" in kvmctl.out + kvmctl.err

    any_record()
    assert len(seen) == 2, seen


def test_any_record_of_a_store(program: Path, tmp_path: Path) -> None:
    """What is damaged is built again, and puts nothing of others away."""
    about = record.parse(record.file(program).read_bytes())
    (tmp_path / "other").touch()

    @given(_documents(about), st.sampled_from(
        ["/etc/passwd", str(tmp_path / "other"), "../../other"]))
    def any_record(data: bytes, name: str) -> None:
        builds = Builds(tmp_path / "store")
        builds.add("same", program, about)
        place = tmp_path / "store" / "inputs" / "other"
        for text in (data, json.dumps(about | {"sha256": name}).encode()):
            place.write_bytes(text)
            found = builds.find("other")
            assert found is None or found["sha256"] == about["sha256"]
            builds.add("same", program, about)

    any_record()
    assert (tmp_path / "other").exists()


def test_any_signature(kept: Path) -> None:
    beside, trust = record.signature_file(kept), kept.parent / "who.pub"
    keys = signature.trusted(trust)

    @given(_documents(json.loads(beside.read_bytes())))
    def any_signature(data: bytes) -> None:
        beside.write_bytes(data)
        told = outcome(kept, SignatureError,
                       lambda path: signature.require(path, keys))
        assert told == "wrong" or signature.signer(kept) == keys[0].fingerprint

    any_signature()


@pytest.mark.parametrize("name, read", [
    ("who.pem", signature.load_private), ("who.pub", signature.load_public)])
def test_any_key(program: Path, name: str,
                 read: Callable[[Path], object]) -> None:
    good = (program.parent / name).read_bytes()
    path = program.parent / f"any-{name}"
    path.touch(0o600)
    first, *middle, last = good.strip().split(b"\n")
    inside = base64.b64decode(b"".join(middle))

    @given(st.one_of(damaged(good), damaged(inside).map(
        lambda data: b"\n".join((first, base64.b64encode(data), last)))))
    def any_key(data: bytes) -> None:
        path.write_bytes(data)
        outcome(path, SignatureError, read)

    any_key()
    # Of a kind that nobody knows.
    assert b"\x2b\x65\x70" in inside
    path.write_bytes(b"\n".join((first, base64.b64encode(inside.replace(
        b"\x2b\x65\x70", b"\x00\x65\x70")), last)))
    assert outcome(path, SignatureError, read) == "wrong"


@pytest.mark.parametrize("change", [
    {"sha256": 5}, {"sha256": "../../x"}, {"name": ["x"]}, {"language": None},
    {"permissions": [1]}, {"sdk": {"version": 1}}, {"limits": "x"}], ids=str)
def test_records_that_were_tracebacks(kept: Path, kvmctl: Any,
                                      change: dict[str, Any]) -> None:
    beside = record.file(kept)
    beside.write_text(json.dumps(json.loads(beside.read_text()) | change))
    assert kvmctl("inspect", kept) == ExitCode.OK
    assert kvmctl("sign", kept, "--key",
                  kept.parent / "who.pem") == ExitCode.SIGNATURE
    assert "has no record" in kvmctl.err


def test_a_signature_that_was_a_traceback(kept: Path) -> None:
    record.signature_file(kept).write_bytes(DEEP)
    with pytest.raises(SignatureError, match=r"hello.sig is no signature: "):
        signature.require(kept, signature.trusted(kept.parent / "who.pub"))


# -- the store and its history -------------------------------------------------

_RELEASES = [dataclasses.asdict(Release(
    f"it-2026-{state}", "here", state, "0" * 64, {"hello": "1" * 64},
    "2026-01-01T00:00:00+00:00", "me", "", {
        "percent": 10.0, "header": ["X-It", "y"], "cookie": "",
        "since": "2026-01-01T00:00:00+00:00", "beside": "it-1",
        "baseline": {"requests": 1, "errors": 0, "seconds": 0.5},
        "own": {"requests": 1, "errors": 0, "seconds": 0.5}}))
    for state in ("kept", "serving", "canary")]


def test_any_history(place: Path, kvmctl: Any) -> None:
    """And what reads it: the rows of history, and what doctor looks at."""
    (place / "edge.toml").write_text('[site]\nname = "it"\n')
    store, seen = place / "histories", Counter[int]()
    path, more = store / "it" / "history.json", ("--store", store)
    path.parent.mkdir(parents=True)

    @given(_documents(_RELEASES))
    def any_history(data: bytes) -> None:
        path.write_bytes(data)
        told = outcome(path, DeployError,
                       lambda _: Store(store, "it").living_files())
        code = kvmctl("history", place / "edge.toml", *more)
        assert code == {"right": ExitCode.OK, "wrong": ExitCode.DEPLOY}[told]
        seen[code] += 1

    any_history()
    assert len(seen) == 2, seen


@pytest.mark.parametrize("change", [
    {"programs": {"hello": ["x"]}}, {"programs": {"hello": "../x"}},
    {"created": None}, {"by": 5}, {"error": {}}, {"canary": [1]},
    {"name": "a\0b"}, {"canary": {"header": 5}},
    {"canary": {"baseline": {"requests": "many"}}},
    {"canary": {"own": {"requests": -1}}},
    {"canary": {"own": {"seconds": math.nan}}}], ids=str)
def test_histories_that_were_tracebacks(tmp_path: Path,
                                        change: dict[str, Any]) -> None:
    store = Store(tmp_path, "it")
    store.directory.mkdir()
    path = store.directory / "history.json"
    for data in (json.dumps([_RELEASES[0] | change]).encode(), DEEP):
        path.write_bytes(data)
        with pytest.raises(DeployError, match=r"history.json is damaged: "):
            store.releases()


@given(_documents({"it": {"filename": "/x/programs/" + "0" * 64,
                          "max_memory": 16, "allowed_paths": ["/x"]}}))
def test_any_programs_file(data: bytes) -> None:
    try:
        table = prepare.library(b"// by kvmctl\n" + data)
    except ValueError:
        return
    assert len(planning._rows(table, table)) >= len(table)


# -- files of requests, answers to tests ----------------------------------------

_HTTP = b"""@base = http://example.com
### one
GET {{base}}/a?b=1 HTTP/1.1
X-A: b: c

### two
POST /p
  ?x=1
Content-Type: text/plain

two
lines
"""
_HAR = {"log": {"entries": [{"request": {
    "method": "POST", "url": "https://example.com/a?b#c",
    "headers": [{"name": "X-A", "value": "b"}],
    "postData": {"mimeType": "a/b", "text": "AAEC", "encoding": "base64"}}}]}}


@given(st.one_of(damaged(_HTTP), _documents(_HAR)))
def test_any_file_of_requests(place: Path, data: bytes) -> None:
    path = place / "any.http"
    path.write_bytes(data)

    def read(path: Path) -> None:
        for it in request.read(path):
            # As the engine is told: C's strings, and HTTP's lines.
            for text in (it.method, it.url, *it.headers):
                assert b"\0" not in text.encode() and "\n" not in text

    outcome(path, UsageError, read)


@pytest.mark.parametrize("text, words", [
    ("GET http://[x\n", "any.http: .* is no URL"),
    ("GET /\x00\n", "any.http: .* control character"),
    ("POST /\n\n< a\0b\n", "cannot read .*a.x00b"),
    ("[" * 100_000, "any.http: "),
    ('{"log": ' + "[" * 100_000, "any.http is no HAR file"),
    (json.dumps(_HAR).replace("example.com", "\\ud800"), "is no HAR file"),
    (json.dumps(_HAR).replace('"POST"', "5").replace("AAEC", "\u00fc"),
     "is no HAR file"),
    ("@a = " + "x" * 999 + "\n" + "".join(
        f"@{b} = {{{{{a}}}}}{{{{{a}}}}}\n" for a, b in zip(
            "abcdefghijklmnopqrstuvw", "bcdefghijklmnopqrstuvwx", strict=True))
     + "GET /{{x}}\n", "any.http: a line of more than"),
])
def test_files_of_requests_that_were_tracebacks(
        place: Path, text: str, words: str) -> None:
    (place / "any.http").write_text(text)
    with pytest.raises(UsageError, match=words):
        request.read(place / "any.http")


def test_a_long_line_takes_no_longer_than_others(place: Path) -> None:
    (place / "any.http").write_text("GET /" + " " * 200_000 + "x\n")
    began = time.monotonic()
    request.read(place / "any.http")
    assert time.monotonic() - began < 5


def test_a_body_is_as_it_is_written(place: Path) -> None:
    """Only line feeds end lines: what Unicode has for it is text."""
    (place / "any.http").write_bytes(
        "POST /\r\n\r\na\u2028b\x0cc\x85d\r\ne".encode())
    found, = request.read(place / "any.http")
    assert found.body == "a\u2028b\x0cc\x85d\ne".encode()


_EXPECTED = {"a": [1, True, "x", {"b": 0.5}]}


@given(_documents(_EXPECTED))
def test_any_answer(body: bytes) -> None:
    """A program's words are no error of who tests it."""
    wrong = cases._body_wrong({"json": _EXPECTED, "contains": ["x"]}, body)
    assert isinstance(wrong, list)


@pytest.mark.parametrize("body, expected, good", [
    ("1", 1, True), ("1.0", 1, True), ("true", 1, False), ("1", True, False),
    ('{"a": [false]}', {"a": [0]}, False), ('{"a": [0]}', {"a": [0]}, True),
    ("[1, 2]", [1], False), ('{"a": 1, "b": 2}', {"a": 1}, False),
    ("null", {}, False), ("0", "0", False)])
def test_json_that_is_alike(body: str, expected: Any, good: bool) -> None:
    assert bool(cases._body_wrong({"json": expected}, body.encode())) != good


def test_json_that_toml_has_and_json_not() -> None:
    found, = cases._body_wrong({"json": [datetime.date(2026, 1, 1)]}, b"[]")
    assert "2026-01-01" in found
    assert "no JSON: it is nested" in cases._body_wrong({"json": 1}, DEEP)[0]


_WORDS = st.text(max_size=20)


@given(st.lists(st.builds(
    Result, _WORDS, st.integers(0, 9), _WORDS,
    st.lists(_WORDS, max_size=2).map(tuple), _WORDS), max_size=4))
def test_any_result_as_xml(results: list[Result]) -> None:
    root = ElementTree.fromstring(junit.document(results))
    assert len(root.findall("testsuite/testcase")) == len(results)
    assert len(root.findall(".//failure")) == sum(
        not r.good for r in results)


# -- what has no end -----------------------------------------------------------

@pytest.mark.parametrize("words, code", [
    (["build", "g", "-o", "ring"], ExitCode.BUILD),
    (["build", "g", "-o", "ring/x"], ExitCode.BUILD),
    (["plan", "--store", "ring"], ExitCode.DEPLOY),
    (["history", "--store", "ring/x"], ExitCode.DEPLOY),
    (["metrics", "--once", "--store", "ring"], ExitCode.OK),
    (["init", "ring", "--lang", "c"], ExitCode.USAGE),
    (["run", "ring"], ExitCode.MANIFEST),
    (["run", "g", "-o", "ring"], ExitCode.BUILD),
])
def test_links_in_a_ring(kvmctl: Any, tmp_path: Path, words: list[str],
                         code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ring").symlink_to("ring")
    Path("edge.toml").write_text('[site]\nname = "it"\n')
    Path("g").mkdir()
    Path("g/it.c").write_text("int main(void) { return 0; }\n")
    Path("g/guest.toml").write_text('sources = ["it.c"]\n')
    assert kvmctl(*words) == code, kvmctl.err
    assert "Traceback" not in kvmctl.err


@pytest.mark.parametrize("name, words, code", [
    ("guest.toml", ["check", "."], ExitCode.MANIFEST),
    ("edge.toml", ["render"], ExitCode.MANIFEST),
    ("vcl.d/recv.vcl", ["render"], ExitCode.MANIFEST),
    ("keys/a.pub", ["plan"], ExitCode.SIGNATURE),
    ("it", ["plan"], ExitCode.DEPLOY),
    ("it", ["inspect", "it"], ExitCode.GUEST),
    ("it.json", ["inspect", "it"], ExitCode.GUEST),
    ("it.sig", ["verify", "it", "--trust", "me.pub"], ExitCode.SIGNATURE),
    ("tests/first.toml", ["check", "tests/first.toml"], ExitCode.MANIFEST),
    ("body", ["check", "tests/first.toml"], ExitCode.MANIFEST),
    ("body", ["run", "it", "--request", "it.http"], ExitCode.USAGE),
])
def test_links_to_what_has_no_end(kvmctl: Any, tmp_path: Path, name: str,
                                  words: list[str], code: int,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody's directory may have them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "DATA", 1 << 20)
    for directory in ("vcl.d", "keys", "tests"):
        Path(directory).mkdir()
    Path("it").write_bytes(b"no program")
    Path("edge.toml").write_text(
        '[site]\nname = "it"\n'
        + ('trusted = "keys"\n' if name.startswith("keys") else "")
        + '[programs.it]\nfile = "it"\n')
    Path("tests/first.toml").write_text(
        '[[tests]]\nname = "a"\nrequest = { body_file = "../body" }\n')
    Path("it.http").write_text("POST /\n\n< body\n")
    assert kvmctl("key", "me.pem") == ExitCode.OK
    Path(name).unlink(missing_ok=True)
    Path(name).symlink_to("/dev/zero")
    store = ("--store", "store") if words[0] == "plan" else ()
    assert kvmctl(*words, *store) == code
    assert "Traceback" not in kvmctl.err


def test_a_bound_takes_no_memory(tmp_path: Path) -> None:
    """Where there is less than it: only what is read is taken."""
    (tmp_path / "it").write_bytes(b"it")
    done = subprocess.run(
        [sys.executable, "-c", "import resource, sys\n"
         "from pathlib import Path\nfrom kvmctl import files\n"
         "resource.setrlimit(resource.RLIMIT_AS, (files.DATA // 2,) * 2)\n"
         "assert files.read(Path(sys.argv[1]), files.DATA) == b'it'\n",
         tmp_path / "it"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
