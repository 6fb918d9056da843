# SPDX-License-Identifier: BSD-2-Clause
"""The examples of the manual load as they stand there."""

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
        shutil.copy(guest("hello"), directory / name)
        settings[name] = {"filename": str(directory / name)}
    (directory / "programs.json").write_text(json.dumps(settings))
    return directory


def at(text: str, files: Path) -> str:
    return text.replace("/etc/varnish", str(files)).replace(
        "/usr/lib/tinykvm", str(files))


def test_every_function_has_an_example() -> None:
    shown = "".join(vcl_examples())
    for name in FUNCTION.findall(MANUAL.read_text()):
        assert f"tinykvm.{name}(" in shown, name


@pytest.mark.parametrize("number", range(len(vcl_examples())))
def test_the_example_loads(live: Live, files: Path, number: int) -> None:
    text = at(vcl_examples()[number], files)
    if not text.startswith("vcl"):
        text = ("vcl 4.1;\nimport tinykvm;\nbackend default none;\n"
                "sub vcl_init { tinykvm.library("
                f"\"{files / 'programs.json'}\"); }}\n{text}")
    path = live.varnish.directory / f"example_{number}.vcl"
    path.write_text(text)
    name = f"example_{number}"
    live.varnish.admin.load(name, path)
    live.varnish.admin.use(name)
    # Whatever it does with a request, it answers.
    assert live.ask("/hello").status_code in (200, 503)


def test_the_settings_load(live: Live, files: Path) -> None:
    blocks = [e for e in examples() if e.startswith("{")]
    assert blocks
    for number, block in enumerate(blocks):
        path = files / f"settings_{number}.json"
        path.write_text(at(block, files))
        live.use(f'sub vcl_init {{ tinykvm.library("{path}"); }}',
                 f"settings_{number}")
