# SPDX-License-Identifier: BSD-2-Clause
"""The schemas: right themselves, and of one mind with the engine."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kvmctl import schema, toml_lines
from kvmctl.document import Document
from kvmctl.engine import Engine
from kvmctl.errors import ManifestError
from kvmctl.schema import check, reference
from support.paths import ROOT

_SETTINGS = {name: it for part in schema.load("settings")["$defs"].values()
             for name, it in schema.properties(part)}
_ENGINE = (ROOT / "vmod" / "compute" / "settings.c").read_text()


@pytest.mark.parametrize("name", schema.NAMES)
def test_each_is_a_schema(name: str, kvmctl: Any) -> None:
    Draft202012Validator.check_schema(schema.load(name))
    assert kvmctl("schema", name) == 0
    # In one piece: nothing outside of it is asked for.
    whole = json.loads(kvmctl.out)
    assert list(Draft202012Validator(whole).iter_errors({"no-such": 1}))
    for ref in re.findall(r'"\$ref": "([^#"]*)#', kvmctl.out):
        assert ref == whole["$defs"]["settings.schema.json"]["$id"]


def test_the_reference_page_is_the_schema() -> None:
    assert (ROOT / "pyctl" / "REFERENCE.md").read_text() == \
        reference.markdown(), \
        "run: python -m kvmctl.schema.reference > pyctl/REFERENCE.md"


def test_every_key_is_explained() -> None:
    for name in (*schema.NAMES, "settings"):
        text = json.dumps(schema.load(name))
        assert "description" in text
    for name in schema.NAMES:
        for key, it in schema.properties(schema.load(name)):
            assert it.get("description"), key
    for key, it in _SETTINGS.items():
        assert it.get("description"), key


def test_settings_are_the_engines() -> None:
    keys = dict(re.findall(r'^\t\{ "(\w+)", (\w+),', _ENGINE, re.M))
    # Those that kvmctl sets itself, or that nobody needs in a file.
    keys = {k: t for k, t in keys.items() if k not in (
        "filename", "uri", "remapping", "blackout_area", "cold_start_file")}
    assert set(keys) == set(_SETTINGS)
    types = {"STRING": "string", "PATH": "string", "DIRECTORY": "string",
             "FLAG": "boolean", "NUMBER": "number", "COUNT": "integer",
             "STRINGS": "array", "PATHS": "array", "WARMUP": "object",
             "ENDPOINT": "object"}
    for key, kind in keys.items():
        assert _SETTINGS[key]["type"] == types[kind], key


def test_every_setting_is_in_the_manual() -> None:
    manual = (ROOT / "vmod" / "varnish" / "vmod_tinykvm.vcc").read_text()
    settings = manual.split("\nSETTINGS\n")[1].split("\nSTORAGE\n")[0]
    keys = re.findall(r'\{ "(\w+)", \w+,[^{}]*?\b(true|false) \}', _ENGINE)
    assert len(keys) > 40
    for key, effective in keys:
        assert effective == "false" or re.search(
            rf"^(\w+ \(.*\), |[\w, ]+, )*{key}\b|\*{key}\*", settings,
            re.M), key


@pytest.mark.parametrize("key", [k for k, it in _SETTINGS.items()
                                 if "maximum" in it])
def test_ranges_are_the_engines(key: str) -> None:
    it = _SETTINGS[key]
    with Engine() as engine:
        for value in (it["minimum"], it["maximum"]):
            engine.define("it", {key: value})
        for value in (it["minimum"] - 1, it["maximum"] + 1):
            with pytest.raises(ManifestError):
                engine.define("it", {key: value})


def test_defaults_are_the_manuals() -> None:
    rows = dict(re.findall(r"^\| ([a-z_, ]+) \| (\S+?) \|", (
        ROOT / "vmod" / "README.md").read_text(), re.M))
    told = {key: it for key, it in _SETTINGS.items()
            if rows.get(key, "none") not in ("none", "-")}
    assert len(told) > 20
    for key, it in told.items():
        assert rows[key] == json.dumps(it["default"]) or \
            rows[key] == f"`{json.dumps(it['default'])}`", key


def _structure(file: str, name: str) -> str:
    """A structure as its own header has it."""
    found = re.search(rf"^struct {name} {{.*?^}};", (
        ROOT / "vmod" / "compute" / file).read_text(), re.M | re.S)
    assert found is not None
    return found[0]


def _read_by_the_engine(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a program, defaults among them, by the engine's fields."""
    with Engine() as engine:
        ffi, lib = engine._ffi, engine._lib
        ffi.cdef("\n".join((
            "typedef char **tkc_strings; struct tk_path;",
            _structure("paths.h", "tkc_paths"),
            _structure("warmup.h", "tkc_warmup"),
            _structure("sockets/endpoint.h", "tkc_endpoint"),
            _structure("settings.h", "tkc_settings"),
            "void *tkc_json_parse(const char *, size_t, const char *, void *);",
            "int tkc_settings_read(struct tkc_settings *, const char *, void *,"
            " void *, void *);",
            "void tkc_settings_fini(struct tkc_settings *);")))
        text = json.dumps(settings).encode()
        own = lib.tkc_json_parse(text, len(text), b"it", ffi.NULL)
        it = ffi.new("struct tkc_settings *")
        assert lib.tkc_settings_read(it, b"it", ffi.NULL, own, ffi.NULL) == 0

        def plain(value: Any) -> Any:
            if not isinstance(value, ffi.CData):
                return value
            kind = ffi.typeof(value)
            if kind.kind == "struct":
                return {name: plain(getattr(value, name))
                        for name, _ in kind.fields}
            return (ffi.string(value).decode()
                    if kind.cname == "char *" and value else None)

        found: dict[str, Any] = plain(it[0])
        lib.tkc_settings_fini(it)
        return found


def test_defaults_are_the_engines() -> None:
    """Whoever changes one in C finds the reference page wrong here."""
    tables = {key: it for key, it in _SETTINGS.items() if "properties" in it}
    found = _read_by_the_engine({
        "warmup": {"num_requests": 1}, "server": {"port": 1},
        "websocket_server": {"port": 1}})
    fields = dict(re.findall(r'^\t\{ "(\w+)", \w+,\s+AT\((\w+)\)', _ENGINE,
                             re.M))
    told = {key: it["default"] for key, it in _SETTINGS.items()
            if "default" in it}
    assert len(told) > 25
    assert {key: found[fields[key]] for key in told} == told
    for key in ("warmup", "server", "websocket_server"):
        told = {name: it["default"] for name, it in
                schema.properties(tables[key]) if "default" in it}
        assert told and {name: found[key][name] for name in told} == told
    # What has no default, and has an effect, is off.
    for key, field in fields.items():
        if key in _SETTINGS and "default" not in _SETTINGS[key] \
                and not isinstance(found[field], dict) and found[field]:
            pytest.fail(f"{key}: the engine's is {found[field]}")


def test_patterns_that_are_told_twice_are_one() -> None:
    """JSON Schema has no names for them; kinds of one name have one pattern."""
    seen: dict[str, set[str]] = {}

    def look(it: Any) -> None:
        if isinstance(it, dict):
            if "pattern" in it and "x-wrong" in it:
                seen.setdefault(it["x-wrong"], set()).add(it["pattern"])
            for inner in it.values():
                look(inner)
        elif isinstance(it, list):
            for inner in it:
                look(inner)

    for name in schema.NAMES:
        look(schema.load(name))
    assert len(seen) > 5 and all(len(it) == 1 for it in seen.values()), seen


_LINES = """\
# a comment with = and [x]
name = "it"
"quoted # key" = 'a = b'
sources = [
    "a",  # one
    "b",
]
[limits]
x.y = 3
inline = { a = 1, b = [1,
  2], "c d" = { e = 2 } }
text = \"\"\"
[no.table]
\\\"\"\" key = 1
\"\"\"

[[routes]]
path = '''
]
'''
[routes.synth]
status = 1

[[routes]]
[routes.probe]
when = 2026-01-01T00:00:00Z
[[ routes . more ]]
x = 1
"""


def test_lines() -> None:
    tomllib.loads(_LINES)
    found = toml_lines.lines(_LINES)
    for path, line in [
            (("name",), 2), (("quoted # key",), 3), (("sources", 1), 6),
            (("limits",), 8), (("limits", "x", "y"), 9),
            (("limits", "inline", "c d", "e"), 11),
            (("limits", "text"), 12), (("routes", 0), 17),
            (("routes", 0, "synth", "status"), 22), (("routes", 1), 24),
            (("routes", 1, "probe", "when"), 26),
            (("routes", 1, "more", 0, "x"), 28)]:
        assert found[path] == line, path
    assert ("no",) not in found


_KEY = st.one_of(st.sampled_from(["a", "b-c", "d1"]), st.text(max_size=4))
_VALUE = st.recursive(
    st.booleans() | st.integers(-2**62, 2**62) | st.text(max_size=6),
    lambda v: st.lists(v, max_size=3)
    | st.dictionaries(_KEY, v, max_size=3), max_leaves=6)


def _dump(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_dump(k)} = {_dump(v)}"
                               for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n # ]\n".join(map(_dump, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=True).replace(
            "\\ud", "?d").replace("\x7f", "?")
    return json.dumps(value)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if path:
        yield path
    steps = (value.items() if isinstance(value, dict)
             else enumerate(value) if isinstance(value, list) else ())
    for step, inner in steps:
        yield from _paths(inner, (*path, step))


@given(st.dictionaries(_KEY, _VALUE, max_size=4),
       st.lists(st.dictionaries(_KEY, _VALUE, max_size=2), max_size=3))
def test_every_key_has_a_line(top: dict[str, Any], tables: list[Any]) -> None:
    text = "".join(f"{_dump(k)} = {_dump(v)}\n" for k, v in top.items())
    for table in tables:
        text += '[["the list"]]\n' + "".join(
            f"{_dump(k)} = {_dump(v)}\n" for k, v in table.items())
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return                          # a key twice
    found = toml_lines.lines(text)
    assert set(found) == set(_paths(read))
    rows = text.splitlines()
    for path, line in found.items():
        assert 1 <= line <= len(rows)
        if len(path) == 1 and path != ("the list",):
            assert rows[line - 1].startswith(_dump(path[0]))


def test_types_of_toml_that_json_has_not(tmp_path: Path, kvmctl: Any) -> None:
    (tmp_path / "it.c").touch()
    for value in ("inf", "nan", "2.0", "1979-05-27", "true"):
        (tmp_path / "guest.toml").write_text(
            f'sources = ["it.c"]\n\n[limits]\nconcurrency = {value}\n'
            f'max_memory = {value if value != "2.0" else "nan"}\n')
        assert kvmctl("check", tmp_path) == 3
        assert "guest.toml:4: [limits]: \"concurrency\" is a whole number " \
            "from 1 to 255\n" in kvmctl.out
        assert "guest.toml:5: [limits]: \"max_memory\"" in kvmctl.out


_JSON = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.dates(),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(
        st.sampled_from(sorted({k for n in schema.NAMES for k in re.findall(
            r'"([a-z_]+)": \{', json.dumps(schema.load(n)))}))
        | st.text(max_size=4), v, max_size=4), max_leaves=15)


@pytest.mark.parametrize("name", schema.NAMES)
@given(table=st.dictionaries(st.sampled_from(sorted(
    {k for n in schema.NAMES for k in schema.keys(schema.load(n))})), _JSON,
    max_size=4))
def test_whatever_is_wrong_is_a_sentence(name: str,
                                         table: dict[str, Any]) -> None:
    document = Document(Path("it.toml"), table)
    for problem in check.problems(name, document):
        assert str(problem).startswith("it.toml: ")
        assert len(problem.message) > 5
