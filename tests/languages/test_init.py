# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl init: a program in any language that builds and runs at once."""

import io
from pathlib import Path

import pytest

from kvmctl import cli, site
from kvmctl.commands.init import TEMPLATES
from kvmctl.environment import Environment
from kvmctl.errors import ExitCode
from kvmctl.schema import compiled

pytestmark = pytest.mark.languages


def kvmctl(*words: "str | Path") -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = cli.invoke([str(w) for w in words],
                      Environment(out, err, io.BytesIO()))
    return code, out.getvalue(), err.getvalue()


def test_every_language_has_a_template() -> None:
    assert set(TEMPLATES) == set(compiled())


@pytest.mark.kvm
@pytest.mark.parametrize("language", compiled())
def test_init_build_run(language: str, tmp_path: Path) -> None:
    where = tmp_path / "my-guest"
    code, out, err = kvmctl("init", where, "--lang", language)
    assert code == 0, err
    assert str(where / "guest.toml") in out
    code, out, err = kvmctl("run", where, "/a?b", "-o", tmp_path / "out")
    assert code == 0, err
    assert out == "Hello from my-guest: GET /a?b\n"
    # However long that is; what is cut off is.
    code, out, err = kvmctl("run", where, "-X", "M" * 5000, "-o",
                            tmp_path / "out")
    assert code == 0 and out.startswith("Hello from my-guest: MMM"), err
    assert "\0" not in out
    code, out, err = kvmctl("test", where, "-o", tmp_path / "out")
    assert code == 0, out + err
    assert out.count("ok  ") == 2
    assert kvmctl("check", where)[0] == 0
    assert site.load(where / "edge.toml").programs[0].name == "my-guest"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    where = tmp_path / "mine"
    assert kvmctl("init", where, "--lang", "c")[0] == 0
    (where / "guest.toml").unlink()
    (where / "main.c").write_text("mine")
    code, _, err = kvmctl("init", where, "--lang", "c")
    assert code == ExitCode.USAGE and "main.c" in err
    assert (where / "main.c").read_text() == "mine"
    assert not (where / "guest.toml").exists()
    # Nor is a link taken away that leads nowhere yet.
    (where / "main.c").unlink()
    (where / "README.md").unlink()
    (where / "README.md").symlink_to(tmp_path / "none")
    assert kvmctl("init", where, "--lang", "c")[0] == ExitCode.USAGE
    assert (where / "README.md").is_symlink()
    assert not (where / "guest.toml").exists()
