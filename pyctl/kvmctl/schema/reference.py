# SPDX-License-Identifier: BSD-2-Clause
"""REFERENCE.md, out of the schemas: python -m kvmctl.schema.reference"""

import json
from collections.abc import Iterator

from kvmctl import schema
from kvmctl.schema import Schema

_HEAD = """\
# guest.toml, edge.toml, tests/*.toml

Made of the schemas in `kvmctl/schema` by `python -m kvmctl.schema.reference`;
`kvmctl check` holds files against them, and `kvmctl schema NAME` prints one for
an editor. An unknown key is an error. Paths are relative to the file.
"""
_TYPES = {"object": "table", "array": "list", "string": "string",
          "number": "number", "integer": "whole number",
          "boolean": "true, false"}
_NOTES = {
    "guest": """\

    name = "minify"
    sources = ["minify.c"]

    [limits]
    max_memory = 64             # MiB
    max_request_time = 2.0      # seconds
""",
    "edge": """\

    [programs.minify]
    guest = "minify"

    [[routes]]
    path = "/minify"
    program = "minify"
    cache = false
""",
    "test": """\

    [origins.api]
    answers = [{ path = "/users/1", body = "Ann" }]

    [settings]
    allowed_fetch = ["${api}"]
    main_arguments = ["${api}/users/"]

    [[tests]]
    name = "greets by name"
    request = { url = "/greet?id=1" }
    expect = { body = "Hello Ann\\n", fetched = ["GET /users/1"] }
""",
}


def _type(it: Schema) -> str:
    if "x-type" in it:
        return str(it["x-type"])
    if "enum" in it:
        return ", ".join(f"`{v}`" for v in it["enum"])
    if it["type"] == "array":
        of = it["items"].get("type")
        return f"list of {_TYPES[of]}s" if of in ("string",) else "list"
    text = _TYPES[it["type"]]
    if "minimum" in it:
        text += f", {it['minimum']:g} to {it['maximum']:.9g}" \
            if "maximum" in it else f", from {it['minimum']:g}"
    return f"{text} {it['x-unit']}" if "x-unit" in it else text


def _default(it: Schema) -> str:
    return f"`{json.dumps(it['default'])}`" if "default" in it else ""


def _shown(table: Schema) -> Schema:
    """Without the keys of [limits] and [permissions], which stand once."""
    return table | {"allOf": [
        part for part in table.get("allOf", ())
        if not part["$ref"].endswith(("/limits", "/permissions"))]}


def _rows(table: Schema) -> Iterator[str]:
    required = table.get("required", ())
    for name, it in schema.properties(_shown(table)):
        note = it.get("description", "")
        if it.get("x-no-effect"):
            note += "; no effect in this version"
        default = "needed" if name in required else _default(it)
        yield f"| {name} | {_type(it)} | {default} | {note} |"


def _table(title: str, table: Schema, level: int = 2) -> Iterator[str]:
    """A heading and the keys, and then the tables in it."""
    yield f"{'#' * level} {title}\n"
    if "description" in table and level > 2:
        text = table["description"]
        if "allOf" in table:
            text += ". All keys of [limits] and [permissions] of guest.toml, and"
        yield text[0].upper() + text[1:] + (":\n" if "allOf" in table
                                            else ".\n")
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    yield from _rows(table)
    yield ""


def _entry(it: Schema) -> Schema | None:
    """The table that an entry of a list is, or may be."""
    items = it.get("items", {}) if it.get("type") == "array" else {}
    found: list[Schema] = [one for one in (items, *items.get("anyOf", ()))
                           if "properties" in one]
    return found[0] if found else None


def _inner(title: str, it: Schema) -> Iterator[tuple[str, Schema]]:
    """Tables below, with what TOML calls them."""
    for name, value in schema.properties(_shown(it)):
        path = f"{title}.{name}".lstrip(".")
        entry = _entry(value)
        if entry is not None:
            yield f"[[{path}]]", entry | {"description": value["description"]}
            yield from _inner(path, entry)
        elif isinstance(value.get("additionalProperties"), dict):
            yield f"[{path}.NAME]", value["additionalProperties"] | {
                "description": value["description"]}
            yield from _inner(f"{path}.NAME", value["additionalProperties"])
        elif "properties" in value or "allOf" in value:
            yield f"[{path}]", value
            yield from _inner(path, value)


def markdown() -> str:
    """The whole page."""
    out = [_HEAD]
    for name in schema.NAMES:
        it = schema.load(name)
        out += [f"## {it['title']}\n", it["description"], _NOTES[name]]
        top = list(_rows(it))
        out += ["| key | type | default | meaning |\n|---|---|---|---|", *top,
                ""]
        for title, table in _inner("", it):
            out += _table(title, table, 3)
    return "\n".join(out).rstrip("\n") + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
