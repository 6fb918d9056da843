# SPDX-License-Identifier: BSD-2-Clause
"""What the fuzzers begin with, one file each in DIRECTORY/NAME."""

import gzip
import hashlib
import io
import json
import lzma
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINUX, HOST, FILL = 0, 1, 2
AS_IS, SMALL, AREA, AREA_END, BODY, CONSTANT, STACK, LAST, FUNCTION = range(9)


def call(kind: int, number: int, *arguments: tuple[int, int]) -> bytes:
    """One struct call of call.h; an argument is (how, value)."""
    every = list(arguments) + [(AS_IS, 0)] * (6 - len(arguments))
    return struct.pack("<B6BxH6x6Q", kind, *(h for h, _ in every), number,
                       *(v & (1 << 64) - 1 for _, v in every))


def text(at: int, words: bytes) -> bytes:
    """Calls that put words into the area at an offset."""
    words += b"\0" * (-len(words) % 48 or 48)
    return b"".join(
        struct.pack("<B7xH6x", FILL, at + i) + words[i:i + 48]
        for i in range(0, len(words), 48))


def calls() -> list[bytes]:
    found = []
    path = text(0, b"/tmp/file")
    for number in range(335):
        found.append(path + call(LINUX, number, (AREA, 0), (AREA, 4096),
                                 (SMALL, 8), (AREA, 8192), (SMALL, 1)))
        found.append(call(LINUX, number, (SMALL, 1), (AREA, 0), (AS_IS, 64),
                          (AREA, 64), (SMALL, 3), (AREA, 128)))
    for number in range(38):
        found.append(path + call(HOST, number, (AREA, 0), (SMALL, 20),
                                 (AREA, 64), (SMALL, 30), (AREA, 128)))
        found.append(call(HOST, number, (SMALL, 1), (AREA, 0), (SMALL, 20),
                          (AREA, 64), (AS_IS, 4096), (SMALL, 1)))
        found.append(call(HOST, number, (FUNCTION, 0), (SMALL, 1), (AREA, 0),
                          (AREA, 64), (AS_IS, 64)))
    # open, write, seek, read, map, protect, unmap, close
    found.append(path + call(LINUX, 2, (AREA, 0), (AS_IS, 0o102))
                 + call(LINUX, 1, (LAST, 0), (BODY, 0), (AS_IS, 64))
                 + call(LINUX, 8, (SMALL, 3), (AS_IS, 0), (AS_IS, 0))
                 + call(LINUX, 9, (AS_IS, 0), (AS_IS, 8192), (SMALL, 3),
                        (SMALL, 2), (SMALL, 3), (AS_IS, 0))
                 + call(LINUX, 10, (LAST, 0), (AS_IS, 4096), (SMALL, 1))
                 + call(LINUX, 11, (AREA, 0), (AS_IS, 4096))
                 + call(LINUX, 3, (SMALL, 3)))
    found.append(call(LINUX, 9, (AS_IS, 0), (AS_IS, 1 << 30), (SMALL, 3),
                      (AS_IS, 0x22), (AS_IS, -1))
                 + call(LINUX, 25, (LAST, 0), (AS_IS, 1 << 30),
                        (AS_IS, 1 << 31), (SMALL, 1))
                 + call(LINUX, 28, (AREA, 0), (AS_IS, 65536), (SMALL, 4)))
    return found


def settings() -> list[bytes]:
    program = {"filename": "/bin/true", "max_memory": 64, "storage": True,
               "allowed_paths": ["/etc", {"real": "/tmp", "virtual": "/x",
                                          "prefix": True, "writable": True}],
               "allowed_fetch": ["https://a.example/", "10.0.0.0/8", "*"],
               "warmup": {"num_requests": 3, "url": "/", "headers": ["A: b"]},
               "server": {"port": 7000, "systems": 2},
               "websocket_server": {"path": "/x"}, "sha256": "0" * 64,
               "main_arguments": ["a", "b"], "environment": ["A=B"]}
    whole = json.dumps({"group": {"max_memory": 5}, "p": program}).encode()
    return [b"\0" + whole, b"\0// comment\n/* another */ " + whole,
            b"\1" + json.dumps(program).encode(), b"\2name", b"\3^(a|b)+$",
            b"\3", b"\0{}", b"\1{\"max_memory\": 1e400}"]


def gdb() -> list[bytes]:
    lines = [b"qSupported:multiprocess+;swbreak+", b"?", b"g", b"p0", b"P0=00",
             b"m400000,100", b"M400000,4:00112233", b"X400000,4:abcd",
             b"Z0,400010,1", b"z0,400010,1", b"Hg11", b"qfThreadInfo",
             b"qsThreadInfo", b"qXfer:features:read:target.xml:0,fff",
             b"qXfer:auxv:read::0,1000", b"vCont?", b"vCont;s:11;c", b"c",
             b"s", b"D", b"k", b"vKill;1", b"QStartNoAckMode", b"T11",
             b"qC", b"qAttached", b"!", b"vFile:open:", b"qThreadExtraInfo,11"]
    return [*lines, b"\n".join(lines), b"\0+$?#3f", b"\0$g#67$m0,1#fa\3-"]


def websocket() -> list[bytes]:
    head = (b"GET /chat?x HTTP/1.1\r\nHost: it\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: "
            b"dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
    frames = (b"\x81\x85\1\2\3\4igofn", b"\x82\xfe\x01\x00\0\0\0\0" + b"x" * 256,
              b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b", b"\x89\x80\0\0\0\0",
              b"\x88\x82\0\0\0\0\x03\xe8", b"\x81\x80\0\0\0\0")
    return [b"\0\xff" + head, b"\0\3" + head,
            *(b"\1\xff" + f for f in frames), b"\1\2" + b"".join(frames)]


def elf() -> list[bytes]:
    seed = ROOT / "build" / "fuzz" / "seed_elf"
    whole = seed.read_bytes()
    return [whole, whole[:64], whole[:200]]


def archives(name: str, content: bytes) -> list[bytes]:
    """One file, packed in every way that is understood."""
    to = io.BytesIO()
    with tarfile.open(fileobj=to, mode="w",
                      format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("other"))
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    plain = to.getvalue()
    found = [plain, gzip.compress(plain, mtime=0), lzma.compress(plain)]
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        to = io.BytesIO()
        with zipfile.ZipFile(to, "w", packing) as z:
            z.writestr(zipfile.ZipInfo(name), content)
        found.append(to.getvalue())
    return found


def update() -> list[bytes]:
    whole = (ROOT / "build" / "fuzz" / "seed_elf").read_bytes()
    return [b"\0" + whole, b"\0" + whole[:200], b"\0", b"\1the key\0" + whole,
            b"\1the kex\0" + whole, b"\1\0" + whole[:64],
            *(b"\2" + member + b"\0" + packed
              for member in (b"", b"bin/it", b"none")
              for packed in archives("bin/it", whole)),
            *(b"\2\0" + packed for packed in archives("../it", b"")),
            *(b"\2\0" + packed for packed in archives("it", bytes(1 << 21))
              if len(packed) < 16384)
            ]


def memory() -> list[bytes]:
    (mapped, unmapped, protected, shrunk, moved, zeroed, written, read,
     viewed) = range(9)
    none, readable, writable, executable = range(4)
    far, long = 0x80, 0x40

    def op(kind: int, prot: int, page: int = 0, pages: int = 0,
           offset: int = 0, address: int = 0) -> bytes:
        """One struct op of fuzz_memory.c; an access has its length in pages."""
        return struct.pack("<BBHHHQ", kind, prot, page, pages, offset, address)

    def at(page: int) -> bytes:
        return (op(written, 1, page, 4096, 4000) + op(read, 0, page, 4999, 7)
                + op(viewed, 0, page, 4096, 1))

    small = op(mapped, writable, 4, 8) + at(5)
    large = op(mapped, writable, 100, 400) + at(200)
    return [small, large, op(unmapped, 0, 0, 600),
            small + op(protected, readable, 5, 2) + at(5)
            + op(protected, none, 6) + at(5) + op(protected, writable, 4, 8)
            + at(5),
            small + op(unmapped, 0, 6) + at(5) + op(mapped, executable, 6)
            + at(5), op(0x80 | mapped, executable, 6, 9) + at(5) + at(7)
            + op(protected, writable, 5, 2) + at(5) + op(protected, executable,
            5, 2) + at(5), small + op(shrunk, 0, 4, 1) + at(4),
            large + op(protected, readable, 150, 100) + at(248) + at(149)
            + op(zeroed, 0, 140, 200) + at(200) + op(mapped, none, 199, 300),
            *(op(kind, far, 0, 16, 0, address) + op(
                kind, far | long, 0, 0, 0, address) for address in (
                0, 0xfff, 0x7fffffffefff, 0x7ffffffff000, 1 << 47, 1 << 63,
                (1 << 64) - 8) for kind in (written, read, viewed)),
            small + op(protected, readable, 4, 2) + op(moved, 0, 4, 1) + at(4)
            + op(moved, 0, 10, 1, 60) + at(10), op(moved, 0, 110, 3)
            + op(mapped, writable, 111, 2) + at(111) + op(moved, 0, 111, 1),
            op(zeroed, 0, 100, 15) + op(protected, readable, 102, 3) + at(103)
            + op(protected, writable, 104) + op(unmapped, 0, 101) + at(101),
            small + op(read, long, 4, 0, 0, (1 << 64) - (1 << 30))]


SEEDS = {"calls": calls, "settings": settings, "gdb": gdb,
         "websocket": websocket, "elf": elf, "memory": memory,
         "update": update}


def write(directory: Path) -> None:
    for name, make in SEEDS.items():
        to = directory / name
        to.mkdir(parents=True, exist_ok=True)
        for data in make():
            (to / hashlib.sha1(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
