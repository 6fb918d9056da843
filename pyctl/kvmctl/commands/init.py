# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl init."""

import re
from dataclasses import dataclass
from pathlib import Path

from kvmctl import paths
from kvmctl.environment import Environment
from kvmctl.errors import UsageError
from kvmctl.files import real, sentence

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")


@dataclass(frozen=True)
class Template:
    """guests/sdk/FOLDER/template, and what guest.toml says of it."""

    folder: str
    main: str
    max_memory: int                     # MiB
    more: str = ""


TEMPLATES = {
    "c": Template("c", "main.c", 16),
    "c++": Template("cxx", "main.cpp", 32),
    "rust": Template("rust", "main.rs", 32),
    "go": Template("go", "main.go", 128),
    "zig": Template("zig", "main.zig", 16),
    "nim": Template("nim", "main.nim", 16),
    "pascal": Template("pascal", "main.pas", 16),
    "ocaml": Template("ocaml", "main.ml", 32),
    "lua": Template("lua", "main.lua", 32),
    "luajit": Template("lua", "main.lua", 32,
                       "\n[permissions]\nexecutable_heap = true\n"),
    "javascript": Template("js", "main.js", 32),
    "python": Template("python", "main.py", 96),
    "wasm": Template("wasm", "main.c", 32),
}

_GUEST = """\
name = "{name}"
language = "{language}"
sources = ["{main}"]

[limits]
max_memory = {memory}
max_request_memory = {request}
{more}"""

_EDGE = """\
[site]
name = "{name}"
listen = "127.0.0.1:8080"

[programs.{name}]
guest = "."

[[routes]]
path_prefix = "/"
program = "{name}"
cache = false
"""

_TESTS = """\
[[tests]]
name = "says hello"
request = {{ url = "/a?b" }}
expect = {{ body = "Hello from {name}: GET /a?b\\n" }}

[[tests]]
name = "is told the method"
request = {{ method = "DELETE" }}
expect = {{ status = 200, contains = ["DELETE /"] }}
"""

_README = """\
# {name}

    kvmctl build .                  compile
    kvmctl run . /some/url          ask once, without Varnish
    kvmctl test                     ask what tests/ says
    kvmctl serve                    in a Varnish of its own, anew at every change
    kvmctl deploy edge.toml         into a Varnish that runs

What the program does is in `{main}`, what it may use in `guest.toml`, which
requests it gets in `edge.toml`, what it must answer in `tests`.
"""


def run(env: Environment, directory: Path, language: str) -> None:
    """Makes the folder; what is there already is never overwritten."""
    name = real(directory).name
    if not _NAME.fullmatch(name):
        raise UsageError(f"\"{name}\" is no name for a program: letters, "
                         "digits, dashes and underscores, a letter first")
    template = TEMPLATES[language]
    words = {"name": name, "language": language, "main": template.main,
             "memory": template.max_memory,
             "request": max(4, template.max_memory // 4),
             "more": template.more}
    files = {"guest.toml": _GUEST.format(**words),
             "edge.toml": _EDGE.format(**words),
             "README.md": _README.format(**words),
             "tests/first.toml": _TESTS.format(**words)}
    source = paths.sdk() / template.folder / "template"
    for path in sorted(source.iterdir()):
        files[path.name] = path.read_text().replace("@NAME@", name)
    there = [n for n in files if (directory / n).exists()]
    if there:
        raise UsageError(f"{directory} has {', '.join(sorted(there))} "
                         "already: nothing was written")
    made: list[Path] = []
    try:
        for file, text in files.items():
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            with (directory / file).open("x") as out:
                made.append(directory / file)
                out.write(text)
    except OSError as e:
        for path in made:
            path.unlink(missing_ok=True)
        raise UsageError(f"{directory} cannot be made: {sentence(e)}"
                         ) from None
    written = sorted(str(directory / file) for file in files)
    if env.as_json:
        env.result_json(written)
    else:
        for file in written:
            env.result(file)
    env.note(f"next: kvmctl test {directory}")
