# SPDX-License-Identifier: BSD-2-Clause
"""guest.toml, edge.toml and tests/*.toml: what may be in them.

The JSON Schema files beside this one are the only place that says it. They are
JSON Schema 2020-12 with a few words of ours, which other readers pass over:

    x-wrong       the error of whatever does not fit, behind the key
    x-empty       the error of an empty list, behind the key
    x-unit        of a number
    x-type        the type in words, for the reference page
    x-no-effect   accepted, and does nothing in this version
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Schema = dict[str, Any]
NAMES = ("guest", "edge", "test")
_HERE = Path(__file__).parent


@functools.cache
def load(name: str) -> Schema:
    """A schema by its name: guest, edge, test, settings."""
    schema: Schema = json.loads((_HERE / f"{name}.schema.json").read_text())
    return schema


def bundled(name: str) -> Schema:
    """The schema in one piece, for editors that read only one file."""
    settings = load("settings")
    return load(name) | {"$defs": {settings["$id"]: settings}}


def resolve(schema: Schema) -> Schema:
    """What a $ref names, with what stands beside the $ref."""
    if "$ref" not in schema:
        return schema
    file, _, pointer = schema["$ref"].partition("#/")
    found: Any = load(file.removesuffix(".schema.json"))
    for step in pointer.split("/"):
        found = found[step]
    whole: Schema = found | {k: v for k, v in schema.items() if k != "$ref"}
    return whole


def properties(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The keys of a table, those of its parts included."""
    schema = resolve(schema)
    for name, value in schema.get("properties", {}).items():
        yield name, resolve(value)
    for part in schema.get("allOf", ()):
        yield from properties(part)


def keys(schema: Schema) -> list[str]:
    """Names of all keys that a table may have."""
    return [name for name, _ in properties(schema)]


def compiled() -> tuple[str, ...]:
    """The languages that programs are written in for us; see guests/sdk."""
    return tuple(language for language in choices("guest", "language")
                 if language != "executable")


def choices(name: str, key: str) -> tuple[str, ...]:
    """The values that a key at the top of a schema may have."""
    return tuple(load(name)["properties"][key]["enum"])
