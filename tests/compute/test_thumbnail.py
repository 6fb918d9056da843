# SPDX-License-Identifier: BSD-2-Clause
"""Pictures that are not as most are."""

import ctypes
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from kvmctl.engine.library import Engine, Response
from support.compiled import compiled
from support.paths import PHOTOS, settings

pytestmark = pytest.mark.kvm


def thumbnail(engine: Engine, picture: bytes, width: int = 64) -> Response:
    return engine.define("thumbnail", settings("thumbnail")).request(
        "POST", f"/?w={width}", body=picture)


def png(width: int, height: int) -> bytes:
    """White."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    rows = (b"\0" + b"\xff" * width) * height
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0,
                                         0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_a_picture_that_is_too_high(engine: Engine) -> None:
    answer = thumbnail(engine, png(10, 16384))
    assert answer.status == 413 and b"higher than WebP" in answer.body
    assert thumbnail(engine, png(10, 16383)).status == 200
    assert thumbnail(engine, png(10, 16384), 5).status == 200


def test_half_a_photograph(engine: Engine) -> None:
    """What is not there is not made up."""
    for name in ("hubble.jpg", "astronaut.png"):
        data = (PHOTOS / name).read_bytes()
        answer = thumbnail(engine, data[:len(data) // 2])
        assert answer.status == 400 and b"damaged" in answer.body


def test_the_colours_of_print(engine: Engine, tmp_path: Path) -> None:
    """A JPEG in CMYK as Adobe's programs write it: cyan, a little black."""
    writer = compiled(tmp_path, "cmyk", r"""
        #include <stdio.h>
        #include <jpeglib.h>
        int main(void) {
            struct jpeg_compress_struct j;
            struct jpeg_error_mgr e;
            unsigned char row[16 * 4];
            JSAMPROW p = row;
            for (int i = 0; i < 64; i += 4) {
                row[i] = 0; row[i + 1] = row[i + 2] = 255; row[i + 3] = 200;
            }
            j.err = jpeg_std_error(&e);
            jpeg_create_compress(&j);
            jpeg_stdio_dest(&j, stdout);
            j.image_width = j.image_height = 16;
            j.input_components = 4;
            j.in_color_space = JCS_CMYK;
            jpeg_set_defaults(&j);
            jpeg_start_compress(&j, TRUE);
            for (int i = 0; i < 16; i++)
                jpeg_write_scanlines(&j, &p, 1);
            jpeg_finish_compress(&j);
            return 0;
        }""", "-Wl,--no-as-needed", "-ljpeg", static=False)
    picture = subprocess.run([writer], check=True, capture_output=True).stdout
    answer = thumbnail(engine, picture)
    assert answer.status == 200, answer.body
    webp = ctypes.CDLL("libwebp.so.7")
    webp.WebPDecodeRGB.restype = ctypes.POINTER(ctypes.c_ubyte)
    size = (ctypes.c_int * 2)()
    pixels = webp.WebPDecodeRGB(answer.body, ctypes.c_size_t(len(answer.body)),
                                size, ctypes.byref(size, 4))
    red, green, blue = pixels[0:3]
    assert red < 10 and abs(green - 200) < 10 and abs(blue - 200) < 10
