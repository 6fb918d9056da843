# SPDX-License-Identifier: BSD-2-Clause
"""allowed_paths and current_working_directory, from settings to open()."""

from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine.library import Engine
from support.compiled import compiled

pytestmark = pytest.mark.kvm

_SOURCE = r"""
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "kvm_api.h"

/* The file that the URL names, after "/"; "+" before it: writes there. */
static void
on_get(const char *url, const char *arg)
{
	static char text[4096];
	int fd, n = -1;

	(void)arg;
	url++;
	if (*url == '+') {
		fd = open(url + 1, O_WRONLY | O_CREAT | O_APPEND, 0644);
		if (fd >= 0)
			n = write(fd, "more\n", 5);
	} else {
		fd = open(url, O_RDONLY);
		if (fd >= 0)
			n = read(fd, text, sizeof text);
	}
	if (n < 0) {
		const char *why = strerrorname_np(errno);
		respond(404, "text/plain", why, strlen(why));
	}
	respond(200, "text/plain", text, n);
}

int
main(void)
{

	set_backend_get(on_get);
	wait_for_requests();
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("guest")
    return Path(compiled(directory, "it", _SOURCE))


def get(engine: Engine, program: Path, urls: list[str],
        **settings: Any) -> list[bytes]:
    it = engine.define("it", {"filename": str(program)} | settings)
    it.start()
    return [it.request(url=url).body for url in urls]


def test_nothing_is_allowed_by_default(engine: Engine, log: Any, program: Path,
                                       tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    assert get(engine, program, [f"/{tmp_path}/file", "//etc/passwd",
                                 "//dev/null"]) == [b"ENOENT", b"ENOENT", b""]
    assert f"refused: open {tmp_path}/file: not in allowed_paths" in log.text()
    assert log.text().count("/etc/passwd") == 1


def test_trees_and_files(engine: Engine, program: Path, tmp_path: Path,
                         monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_text("deep")
    (tmp_path / "one").write_text("one")
    (tmp_path / "other").write_text("other")
    (tmp_path / "home").write_text("home")
    monkeypatch.setenv("HOME", str(tmp_path))
    got = get(engine, program, [
        f"/{tree}/deep/file", f"/{tmp_path}/one", f"/{tmp_path}/other",
        "//renamed", "//t/deep/file", "/deep/file", f"/{tmp_path}/home",
        "/../t/deep/file"],
        allowed_paths=[str(tree), f"{tmp_path}/one", "$HOME/home",
                       {"real": f"{tmp_path}/other", "virtual": "/renamed"},
                       {"real": str(tree), "virtual": "/t"}],
        current_working_directory="/t")
    assert got == [b"deep", b"one", b"ENOENT", b"other", b"deep", b"deep",
                   b"home", b"deep"]


def test_writing_wants_permission(engine: Engine, program: Path,
                                  tmp_path: Path) -> None:
    for name in ("read", "write"):
        (tmp_path / name).mkdir()
    got = get(engine, program, ["/+/read/x", "/+/write/x", "/+/write/x",
                                "/+/elsewhere", "//write/x"],
              allowed_paths=[
                  {"real": f"{tmp_path}/read", "virtual": "/read"},
                  {"real": f"{tmp_path}/write", "virtual": "/write",
                   "writable": True}])
    assert got[0] == b"EROFS" and got[3] == b"EACCES"
    assert got[4] == b"more\nmore\n"
    assert (tmp_path / "write" / "x").read_text() == "more\nmore\n"


def test_what_is_missing_is_told(engine: Engine, log: Any,
                                 program: Path) -> None:
    assert get(engine, program, ["//no/such"],
               allowed_paths=["/no/such"]) == [b"ENOENT"]
    assert "allowed path /no/such: there is no /no/such" in log.text()
