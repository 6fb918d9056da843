# SPDX-License-Identifier: BSD-2-Clause
"""The main job: what `make demo` runs, and what it must leave behind."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from kvmctl import demo
from support.live import configure
from support.paths import PHOTOS, ROOT, settings
from support.port import free_port
from support.wait import until

pytestmark = pytest.mark.kvm


def varnishds(directory: Path) -> set[str]:
    """Process ids of the varnishd that have this directory in their line."""
    return {p.parent.name for p in Path("/proc").glob("[0-9]*/cmdline")
            if b"varnishd" in (line := _content(p))
            and bytes(directory) in line}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def run(*words: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "kvmctl.demo", *words],
                          cwd=ROOT, capture_output=True, text=True,
                          timeout=200, check=False, **more)


def test_demo(tmp_path: Path) -> None:
    done = run(env=os.environ | {"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("Hello, World!", "image/webp", "1 KVM exits each",
                  "Everything is stopped"):
        assert words in done.stdout
    assert not varnishds(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data, good", [
    (b"", False), (b"RIFF", False),
    (b"RIFF\x04\0\0\0WEBP", True), (b"RIFF\x05\0\0\0WEBP", False),
    (b"RIFF\x04\0\0\0WAVE", False), (b"RIFX\x04\0\0\0WEBP", False),
])
def test_is_webp(data: bytes, good: bool) -> None:
    assert demo.is_webp(data) is good


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly(how: signal.Signals, tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from kvmctl import demo; "
         f"demo.SERVE_PORT = {port}; sys.argv[1:] = ['--serve']; "
         "sys.exit(demo.main())"], cwd=ROOT, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"http://127.0.0.1:{port}/", timeout=20)
        assert answer.text == "Hello, World!\n"
        process.send_signal(how)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    until(lambda: not list(tmp_path.iterdir()))


def test_a_wrong_answer_fails_the_demo(
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "is_webp", lambda data: False)
    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.setattr(demo.signal, "signal", lambda *a: None)
    assert demo.main() == 1
    assert "no smaller WebP" in capsys.readouterr().err


def test_photographs(live: Any) -> None:
    """Every photograph becomes a smaller WebP of the width asked for."""
    live.use("sub vcl_init {" + configure("thumbnail",
                                          settings("thumbnail")) + """}
        sub vcl_recv { return (pass); }
        sub vcl_backend_fetch {
            set bereq.backend = tinykvm.program("thumbnail", bereq.url);
        }""")
    for photo in sorted(PHOTOS.iterdir()):
        if photo.suffix not in (".png", ".jpg"):
            continue
        data = photo.read_bytes()
        for width in (64, 320):
            answer = live.ask(f"/?w={width}", "POST", data=io.BytesIO(data))
            assert answer.status_code == 200, answer.text
            assert answer.headers["Content-Type"] == "image/webp"
            assert demo.is_webp(answer.content)
            assert len(answer.content) < len(data)
            assert webp_width(answer.content) == width
    # Broken photographs are answered, too.
    for bad in (b"", b"no photograph", data[:1000], data[:-5000]):
        assert live.ask("/", "POST", data=bad).status_code in (200, 400, 415)


def webp_width(data: bytes) -> int:
    """From the first chunk: RFC 9649, sections 2.5 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF
    if kind == b"VP8L":
        return (int.from_bytes(data[21:25], "little") & 0x3FFF) + 1
    assert kind == b"VP8X"
    return int.from_bytes(data[24:27], "little") + 1
