# SPDX-License-Identifier: BSD-2-Clause
"""The examples of the manual load as they stand there, and do what they say."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.live import Live, running
from support.paths import ROOT, guest

pytestmark = pytest.mark.kvm

MANUAL = ROOT / "vmod" / "varnish" / "vmod_tinykvm.vcc"
FUNCTION = re.compile(r"^\$Function \w+ (\w+)\(", re.M)
PROGRAMS = ("hello", "thumbnail", "template", "translate", "minify",
            "classify", "geo", "errorpage")


def examples() -> list[str]:
    """Every indented block behind "::", as it is shown."""
    found = re.findall(r"::\n\n((?:\t.*\n|\n)+)", MANUAL.read_text())
    return [re.sub(r"^\t", "", block, flags=re.M).strip() + "\n"
            for block in found]


def vcl_examples() -> list[str]:
    return [e for e in examples() if re.match(r"(vcl 4|sub |acl )", e)]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running() as it:
        yield it


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples call /etc/varnish and /usr/lib/tinykvm."""
    directory = tmp_path_factory.mktemp("manual")
    settings = {}
    for name in PROGRAMS:
        # Whose answer becomes a header field does not end with a line feed.
        shutil.copy(guest("streamtest" if name == "classify" else "hello"),
                    directory / name)
        settings[name] = {"filename": str(directory / name), "key": "a key"}
    (directory / "programs.json").write_text(json.dumps(settings))
    return directory


def at(text: str, files: Path) -> str:
    return text.replace("/etc/varnish", str(files)).replace(
        "/usr/lib/tinykvm", str(files)).replace(
        '"192.0.2.0"/24', '"127.0.0.0"/8')


def of_function() -> dict[str, int]:
    """Which of the examples stands below which function, and calls it."""
    shown, found = vcl_examples(), {}
    parts = re.split(r"^\$Function \w+ (\w+)\(.*$", MANUAL.read_text(),
                     flags=re.M)
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        for number, example in enumerate(shown):
            lines = "\n".join(f"\t{line}" if line else ""
                              for line in example.splitlines())
            if lines in text and f"tinykvm.{name}(" in example:
                found.setdefault(name, number)
    return found


@pytest.mark.parametrize("name", FUNCTION.findall(MANUAL.read_text()))
def test_every_function_has_an_example(name: str) -> None:
    assert name in of_function()


def load(live: Live, files: Path, name: str, number: int,
         more: str = "") -> None:
    text = at(vcl_examples()[number], files) + more
    if not text.startswith("vcl"):
        text = ("vcl 4.1;\nimport tinykvm;\nbackend default none;\n"
                "sub vcl_init { tinykvm.library("
                f"\"{files / 'programs.json'}\"); }}\n{text}")
    path = live.varnish.directory / f"{name}.vcl"
    path.write_text(text)
    live.varnish.admin.load(name, path)
    live.varnish.admin.use(name)


@pytest.mark.parametrize("number", range(len(vcl_examples())))
def test_the_example_loads(live: Live, files: Path, number: int) -> None:
    load(live, files, f"example_{number}", number)
    # Whatever it does with a request, it answers.
    assert live.ask("/hello").status_code in (200, 503)


# What shows that the example did something: VCL behind it, a request, and what
# is in the answer. Those of vcl_init have done it when they have loaded.
FETCH = """
sub vcl_backend_fetch { set bereq.backend = tinykvm.program("hello"); }
"""
SYNTH = """
sub vcl_recv { return (synth(200)); }
sub vcl_synth {
    set resp.http.X-Class = req.http.X-Class;
    set resp.http.Unloaded = req.http.Unloaded;
    return (deliver);
}
"""
STARTED = """
sub vcl_init { tinykvm.start("hello", async = false); }
"""
RUN: dict[str, tuple[str, str, dict[str, str], int, str]] = {
    "library": (FETCH, "GET /", {}, 200, "Hello"),
    "init_self_requests": (FETCH, "GET /", {}, 200, "Hello"),
    "configure": (FETCH, "GET /", {}, 200, "Hello"),
    "main_arguments": (FETCH, "GET /", {}, 200, "Hello"),
    "start": (FETCH, "GET /", {}, 200, "Hello"),
    "invalidate_programs": (STARTED + SYNTH, "RELOAD /", {}, 200,
                            "Unloaded: 1"),
    "stats": (SYNTH, "GET /statistics", {}, 200, '"programs": {'),
    "program": ("", "GET /hello", {}, 200, "Hello"),
    "chain": ("", "GET /page.html", {}, 200, "Hello"),
    "to_string": (SYNTH, "GET /mark", {}, 200, "X-Class: /mark"),
    "synth": (SYNTH, "GET /", {}, 200, "Hello"),
    "live_update": ("", "POST /update/hello", {"X-Key": "a key"}, 200,
                    "The new program serves."),
    "live_update_file": (FETCH, "GET /", {"X-Reload": "1"}, 200,
                         "X-Reloaded: true"),
}


@pytest.mark.parametrize("name", FUNCTION.findall(MANUAL.read_text()))
def test_the_example_runs(live: Live, files: Path, name: str) -> None:
    more, request, headers, status, shown = RUN[name]
    method, path = request.split()
    load(live, files, f"run_{name}", of_function()[name], more)
    answer = live.ask(path, method, headers=headers, data=guest(
        "hello").read_bytes() if method == "POST" else None)
    head = "\n".join(f"{k}: {v}" for k, v in answer.headers.items())
    assert answer.status_code == status
    assert shown in f"{head}\n\n{answer.text}"


def test_the_settings_load(live: Live, files: Path) -> None:
    blocks = [e for e in examples() if e.startswith("{")]
    assert blocks
    for number, block in enumerate(blocks):
        path = files / f"settings_{number}.json"
        path.write_text(at(block, files))
        live.use(f'sub vcl_init {{ tinykvm.library("{path}"); }}',
                 f"settings_{number}")
