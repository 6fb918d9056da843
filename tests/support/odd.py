# SPDX-License-Identifier: BSD-2-Clause
"""What nobody expects in a file: documents made out of a schema or a sample, with
odd values in them, and bytes that something has happened to."""

import copy
import datetime
import json
import math
from typing import Any

from hypothesis import strategies as st

from kvmctl import schema as schemas
from kvmctl.schema import Schema

#: Of every type that TOML and JSON have, and at the ends of it.
VALUES: list[Any] = [
    True, False, 0, -1, 1, 255, 65536, 2**63 - 1, 2**64, -2**70, 16**1000,
    0.5, -0.0, 1e308, math.inf, math.nan, "", "x", "\0", "a\0b", " ", "../../x",
    "/", "~", "loop", "a" * 5000, "\u202e\u2028", "\ufdd0", "\u00b2",
    "1" * 5000, "(", "a{99999999999}", "(" * 3000, "{{x}}", "${x}", "\x1b[2J",
    "\U0001f600", [], [[]], {}, {"": {}}, [{}], ["x", 1], {"x": "y"}]
_DATES = [datetime.date(2026, 2, 28), datetime.time(1),
          datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)]


def _deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


ANY = st.one_of(st.sampled_from(VALUES).map(copy.deepcopy), st.sampled_from([20, 40, 400]).map(
    _deep), st.text(max_size=6), st.integers())
TOML = st.one_of(ANY, st.sampled_from(_DATES))

_WORDS = ["it", "o", "net", "/", "/x?y", "GET", "127.0.0.1:80", "X-It: y",
          "it.c", "loop", "0" * 64, "x==1", "http://127.0.0.1/"]
#: What these keys must say for the rest to be looked at.
_HINTS = {"program": "it", "chain": "it", "origin": "o", "origins": "o",
          "acl": "net", "guest": ".", "file": "it", "sources": "it.c",
          "allow": "10.0.0.0/8", "deny": "::1", "name": "it",
          "path_regex": "^/x", "host": "a.example", "listen": "127.0.0.1:80"}


def _good(schema: Schema, key: str) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kinds = schema.get("type", [])
    kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
    if kind == "object":
        every = {k: like(v, k) for k, v in schemas.properties(schema)}
        needed = {k: v for k, v in every.items()
                  if k in schema.get("required", ())}
        more = schema.get("additionalProperties")
        if isinstance(more, dict):
            return st.dictionaries(st.sampled_from(["it", "o", "net"]),
                                   like(more, ""), max_size=3)
        return st.fixed_dictionaries(needed, optional={
            k: v for k, v in every.items() if k not in needed})
    if kind == "array":
        return st.lists(like(schema["items"], key), max_size=3,
                        min_size=schema.get("minItems", 0))
    if kind == "boolean":
        return st.booleans()
    if kind in ("integer", "number"):
        return st.sampled_from([schema.get("default", 1), schema.get(
            "minimum", 1), schema.get("maximum", 7)])
    if kind == "string":
        return st.sampled_from([_HINTS[key]] if key in _HINTS else _WORDS)
    parts = schema.get("anyOf", ())
    return st.one_of([like(p, key) for p in parts]) if parts else TOML


def like(schema: Schema, key: str = "") -> st.SearchStrategy[Any]:
    """What the schema describes, but for an odd value now and then."""
    good = _good(schemas.resolve(schema), key)
    return st.integers(0, 59).flatmap(lambda n: TOML if n == 59 else good)


@st.composite
def changed(draw: st.DrawFn, sample: Any,
            values: st.SearchStrategy[Any] = ANY) -> Any:
    """A JSON document like the sample, with up to three things changed."""
    root = [json.loads(json.dumps(sample))]
    for _ in range(draw(st.integers(0, 3))):
        holder: Any = root
        key: Any = 0
        while isinstance(inner := holder[key], dict | list) and inner \
                and draw(st.integers(0, 4)):
            holder = inner
            key = draw(st.sampled_from(
                sorted(holder) if isinstance(holder, dict)
                else range(len(holder))))
        if holder is root or draw(st.booleans()):
            holder[key] = draw(values)
        else:
            del holder[key]
    return root[0]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes, but cut, changed, or with some between them."""
    it = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(it) - 1)))
        match draw(st.sampled_from(("cut", "drop", "put", "set"))):
            case "cut":
                del it[at:]
            case "drop":
                del it[at:at + draw(st.integers(1, 9))]
            case "put":
                it[at:at] = draw(st.sampled_from(
                    [b"\0", b"\xff", b'"', b"[", b"}", b"\r", b"\n", b"=",
                     b"\xe2\x80\xa8", b"[[", b"'''", b"9" * 5000, b"-"]))
            case "set" if it:
                it[at] = draw(st.integers(0, 255))
    return bytes(it)


# -- TOML --------------------------------------------------------------------

def _string(text: str) -> str:
    return '"' + "".join(
        c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}"
        for c in text) + '"'


def toml_value(value: Any) -> str:
    """The value as TOML has it, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _string(value)
        case int():
            return str(value) if abs(value) < 2**63 or value < 0 \
                else f"{value:#x}"
        case float():
            return repr(value)
        case dict():
            return "{" + ", ".join(f"{_string(k)} = {toml_value(v)}"
                                   for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml_value, value)) + "]"
    return str(value.isoformat())


def toml(table: Any) -> bytes:
    """The table as a file."""
    if not isinstance(table, dict):
        return toml_value(table).encode()
    return "".join(f"{_string(k)} = {toml_value(v)}\n"
                   for k, v in table.items()).encode()
