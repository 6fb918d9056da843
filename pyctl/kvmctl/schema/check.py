# SPDX-License-Identifier: BSD-2-Clause
"""A file against its schema: every problem as a sentence with its line."""

import functools
import math
import re
from collections.abc import Iterator
from typing import Any

from kvmctl import schema
from kvmctl.document import (Document, DocumentError, Problem, suggestion,
                             values)
from kvmctl.schema import Schema

_WORDS = {"object": "a table", "array": "a list", "string": "a string",
          "number": "a number", "integer": "a whole number",
          "boolean": "true or false"}
#: What no text in a kind of file can hold: C's end of a string, and the marks of
#: vcl/origin.py. A body of a test can.
_UNWRITABLE = {"guest": "\0", "test": "\0", "edge": "\0\ufdd0\ufdd1\ufdd2"}
_ANY_TEXT = {"body", "contains", "matches", "json", "log", "error"}


def _pattern(_validator: Any, pattern: str, value: Any,
             _schema: Schema) -> Iterator[Any]:
    """JSON Schema's $ is the very end, Python's may have a newline behind."""
    from jsonschema import ValidationError
    exact = re.sub(r"\$$", r"\\Z", pattern)
    if isinstance(value, str) and not re.search(exact, value):
        yield ValidationError(f"it does not match {pattern}")


def _is_integer(_checker: Any, value: Any) -> bool:
    """1.0 is none to the engine."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(checker: Any, value: Any) -> bool:
    return _is_integer(checker, value) or (
        isinstance(value, float) and math.isfinite(value))


@functools.cache
def _validator(name: str) -> Any:
    # Loading jsonschema takes 50 ms: only what checks pays for them.
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    registry: Any = Registry().with_resources(
        (f"{n}.schema.json", DRAFT202012.create_resource(schema.load(n)))
        for n in ("settings", *schema.NAMES))
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number})
    ours = validators.extend(Draft202012Validator, {"pattern": _pattern},
                             type_checker=types)
    return ours(schema.load(name), registry=registry)


def _expected(found: Schema, key: str) -> str:
    types = found.get("type", "object")
    words = [_WORDS[t] for t in ([types] if isinstance(types, str) else types)]
    text = f"\"{key}\" is {' or '.join(words)}" if key else words[0]
    if "minimum" in found and "maximum" in found:
        unit = f" ({found['x-unit']})" if "x-unit" in found else ""
        text += f" from {found['minimum']:g} to {found['maximum']:.9g}{unit}"
    return text


def _unknown(error: Any) -> Iterator[tuple[str | None, str]]:
    known = schema.keys(error.schema)
    for key in error.instance:
        if key not in known:
            yield key, (f"there is no key \"{key}\""
                        + suggestion(key, known))


def _sentence(error: Any, key: str) -> str:
    """What is wrong with the value of the key."""
    found, value = error.schema, error.instance
    if "x-wrong" in found:
        wrong = found["x-wrong"]
        told = value if wrong.startswith("is no") else key
        return f"\"{told}\" {wrong}"
    match error.validator:
        case "enum":
            return (f"\"{key}\" is one of {', '.join(found['enum'])}"
                    + suggestion(str(value), found["enum"]))
        case "minItems":
            return f"\"{key}\" {found.get('x-empty', 'is empty')}"
        case "type" | "minimum" | "maximum":
            return _expected(found, key)
    return f"\"{key}\": {error.message}"


def _problems(document: Document, error: Any) -> Iterator[Problem]:
    path = tuple(error.absolute_path)
    match error.validator:
        case "additionalProperties" | "unevaluatedProperties":
            for key, text in _unknown(error):
                yield document.problem(path, text, key)
            return
        case "required":
            missing = next(k for k in error.validator_value
                           if k not in error.instance)
            yield document.problem(path, f"\"{missing}\" is missing")
            return
        case "oneOf":
            yield document.problem(path, error.schema["x-wrong"])
            return
        case "pattern" if "propertyNames" in error.absolute_schema_path:
            yield document.problem(
                path, f"\"{error.instance}\" {error.schema['x-wrong']}",
                error.instance)
            return
    if not path:
        yield document.problem((), "a table is expected")
        return
    # An entry of a list of simple things belongs to the key of the list.
    keys, key, entry = path[:-1], path[-1], ""
    if isinstance(key, int) and error.validator_value != "object":
        entry, keys, key = f", entry {key + 1}", path[:-2], path[-2]
        text = (_sentence(error, str(key)) if "x-wrong" in error.schema
                else f"{_expected(error.schema, '')} is expected")
        yield document.problem(keys, f"\"{key}\"{entry}: {text}", key)
        return
    yield document.problem(keys, _sentence(error, str(key)), key)


def _unwritable(name: str, document: Document) -> Iterator[Problem]:
    for keys, value in values(document.table):
        if not isinstance(value, str) or (
                name == "test" and _ANY_TEXT.intersection(keys)):
            continue
        found = next((c for c in value if c in _UNWRITABLE[name]), None)
        if found is not None:
            while isinstance(keys[-1], int):
                keys = keys[:-1]        # an entry of that list
            yield document.problem(
                keys[:-1], f"\"{keys[-1]}\" has the character "
                f"U+{ord(found):04X}, which it cannot have", keys[-1])


def _order(problem: Problem) -> tuple[int, str]:
    return problem.line or 0, str(problem)


def problems(name: str, document: Document) -> list[Problem]:
    """What does not fit the schema of that name, in the order of lines."""
    found: dict[str, Problem] = {}
    for error in _validator(name).iter_errors(document.table):
        for problem in _problems(document, error):
            found.setdefault(str(problem), problem)
    for problem in _unwritable(name, document):
        found.setdefault(str(problem), problem)
    return sorted(found.values(), key=_order)


def check(name: str, document: Document) -> dict[str, Any]:
    """The document's table. Raises DocumentError with all problems."""
    found = problems(name, document)
    if found:
        raise DocumentError(found)
    return document.table
