# SPDX-License-Identifier: BSD-2-Clause
"""What each language's guests must answer. tests/bench/languages.py asks, too.

The first request of a guest is the one that is measured and repeated.
"""

import hashlib
import json
import re
from dataclasses import dataclass

AGENT = "test/1"
FAILED = "The program failed; its log says why.\n"


@dataclass(frozen=True)
class Ask:
    """One request and its answer: the whole body, or a pattern of it."""

    url: str
    body: "str | re.Pattern[str] | None" = None
    status: int | None = 200            # None: any
    method: str = "GET"
    data: bytes = b""
    arg: str = ""
    headers: tuple[str, ...] = ()       # parts of the answer's headers
    log: str = ""                       # a part of what it logs

    def wrong(self, status: int, body: bytes) -> str | None:
        """What is wrong with an answer."""
        if self.status is not None and status != self.status:
            return f"{self.url}: status {status}: {body[:200]!r}"
        text = body.decode("utf-8", "replace")
        if isinstance(self.body, str) and text != self.body:
            return f"{self.url}: {text[:300]!r}, not {self.body[:300]!r}"
        if isinstance(self.body, re.Pattern) and not self.body.search(text):
            return f"{self.url}: {text[:300]!r}, not {self.body.pattern}"
        return None


@dataclass(frozen=True)
class Guest:
    """A guest's folder, its language as people call it, its requests."""

    name: str
    language: str
    asks: tuple[Ask, ...]
    #: Pages that a request may at most write when the fork is warm.
    pages: int
    #: Requests of the load test.
    load: int = 1000


def _hello(name: str, language: str, pages: int, answer: str,
           log: str = "asked to fail", more: tuple[Ask, ...] = ()) -> Guest:
    """The hello guests: an answer at /, a failure at /fail."""
    return Guest(name, language, (
        Ask("/", answer), Ask("/fail", FAILED, 500, log=log), *more), pages)


_TOO_MANY = Ask("/headers", FAILED, 500,
                log="an answer has at most 64 headers")
_COOKIES = Ask("/cookies", "", headers=("Set-Cookie: a=1", "Set-Cookie: b=2",
                                        "X-One: 1"))
_LIST = Ask("/list", FAILED, 500, log="answer is a list")
#: A byte that is no UTF-8, as Python has it in texts.
NO_UTF8 = "\udcff"
_JSON = b'{"a" : [1, 2 , {"b": "x y"}], "c": null }'
_TEXT = b"Linux programs run as they are. " * 200

GUESTS = (
    Guest("hello", "C (glibc)", (Ask("/", "Hello, World!\n"),), 4),
    Guest("hello-musl", "C (musl)", (Ask("/", "Hello, World!\n"),), 4),
    Guest("cxxhello", "C++", (
        Ask("/", "one=1\nthree=3\ntwo=2\n"),
        Ask("/throw", "thrown and caught\n", 418)), 32),
    Guest("rust-hello", "Rust", (
        Ask("/", f"Hello from Rust! {AGENT}\n"),
        Ask("/words", '{"one": 1, "three": 3, "two": 2}\n'),
        Ask("/fail", FAILED, 500, log="asked to fail")), 16),
    Guest("rust-threads", "Rust, threads", (
        Ask("/", "worker 333328333350000\n"),
        Ask("/scoped", "scoped 333328333350000\n")), 64),
    Guest("go-hello", "Go", (
        Ask("/", f"Hello from Go! {AGENT}\n"),
        Ask("/version", re.compile(r"^go1\.")), _TOO_MANY,
        Ask("/fail", FAILED, 500, log="asked to fail"),
        Ask("/fail/nil", FAILED, 500, log="panic: ")), 96),
    Guest("go-gc", "Go, goroutines", (
        Ask("/", re.compile("^32752 nodes, 2047 kept, 0 collections")),
        Ask("/gc", re.compile("^32752 nodes, 2047 kept, [4-9] collections"))),
        1024, load=200),
    _hello("zig-hello", "Zig", 8, f"Hello from Zig! {AGENT}\n",
           log="AskedToFail"),
    Guest("nim-hello", "Nim (musl)", (
        Ask("/", f"Hello from Nim! {AGENT}\n"), Ask("/words", "3\n"),
        Ask("/fail", FAILED, 500, log="ValueError: asked to fail")), 24),
    _hello("pascal-hello", "Pascal", 16, f"Hello from Pascal! {AGENT}\n",
           more=(_TOO_MANY,)),
    _hello("ocaml-hello", "OCaml", 32, f"Hello from OCaml! {AGENT}\n",
           more=(_TOO_MANY,)),
    _hello("lua-hello", "Lua", 32, "Hello from Lua 5.4!\n",
           log="hello.lua:5: asked to fail", more=(_COOKIES, _LIST)),
    Guest("lua-edge", "Lua, edge logic", (
        Ask("/shop/item/17", '{"backend":"shop","rule":"old shop",'
            '"url":"/products/17"}\n'),
        Ask("/admin/x", '{"rule":"admin","status":403}\n'),
        Ask("/", '{"backend":"default","rule":"none"}\n')), 48),
    _hello("luajit-hello", "LuaJIT", 32, "Hello from Lua 5.1!\n",
           more=(_COOKIES, _LIST)),
    Guest("luajit-compute", "LuaJIT, numeric", (
        Ask("/?size=64", "1058 of 4096 points\n"),
        Ask("/?size=200", "10192 of 40000 points\n"),
        Ask("/?size=1001", "size is at most 1000\n", 400)), 48),
    _hello("quickjs-hello", "JavaScript (QuickJS)", 64,
           f"Hello from JavaScript! {AGENT}\n", more=(
               Ask("/symbol", FAILED, 500, log="cannot convert symbol"),
               Ask("/array", FAILED, 500, log="an array or a function"),
               Ask("/error", FAILED, 500, log="Error: asked to fail"),
               Ask("/floats", FAILED, 500, log="Uint8Array"), _COOKIES,
               Ask("/thrower", FAILED, 500, log="Error: no text"))),
    Guest("quickjs-render", "JavaScript, rendering", (
        Ask("/", re.compile("Product &lt;20&gt;.*together 315.00", re.S),
            headers=("X-Rendered: 20",)),
        Ask("/?q=%3C12", re.compile("<p>1 products, together 18.00")),
        Ask("/", re.compile("<td>9</td><td>A&amp;B"), method="POST",
            data=b'[{"id": 9, "name": "A&B", "price": 2}]'),
        Ask("/", re.compile("JSON"), 400, method="POST", data=b"["),
        # The soak's clients would make another of a "%" alone.
        Ask("/?q=%ff", re.compile("malformed UTF-8"), 400),
        Ask("/", None, 400, method="POST", data=b"[null]"),
        Ask("/", re.compile("<td>NaN</td>"), method="POST", data=b"[{}]")),
        128),
    _hello("python-hello", "Python (static)", 256,
           f"Hello from Python! {AGENT}\n",
           log="ValueError: asked to fail", more=(
               Ask(f"/fail/{NO_UTF8}", FAILED, 500,
                   log=r"asked to fail by /fail/\udcff"),)),
    Guest("python-wsgi", "Python, WSGI", (
        Ask("/api?q=17", re.compile(r'^\{"found": \[\{"id": 17, '),
            headers=("X-App: wsgi",)),
        Ask("/product/7", re.compile("number 7, price 10.50")),
        Ask("/echo", "SHOUT", method="POST", data=b"shout"),
        Ask("/dice", re.compile("^[0-9a-f]{16}\n$")),
        Ask("/product/%B2", "no such page\n", 404),
        Ask("/product/" + "1" * 5000, "no such page\n", 404),
        Ask("/nowhere", "no such page\n", 404)), 512),
    _hello("wasm-hello", "WebAssembly (wasm3)", 24,
           "Hello from WebAssembly! 5050\n", log="unreachable executed",
           more=(Ask("/headers", "",
                     headers=("X-Which: 1", "X-Which: 2")),)),
    Guest("sqlite", "C, SQLite", (
        Ask("/q?SELECT+part,count(*)+n+FROM+stock+WHERE+size=7+GROUP+BY+part"
            "+LIMIT+2",
            '[{"part":"bearing","n":25},\n{"part":"belt","n":25}]\n'),
        Ask("/q?DELETE+FROM+stock", "[]\n"),
        Ask("/q?SELECT+count(*)+n+FROM+stock", '[{"n":10000}]\n'),
        Ask("/q?SELECT+9e999+a,-9e999+b,x'00ff'+c,x''+d,char(65,0,66)+e",
            '[{"a":9.0e+999,"b":-9.0e+999,"c":"00ff","d":"",'
            '"e":"A\\u0000B"}]\n'),
        Ask("/q?SELEKT", re.compile("syntax error"), 400)), 256),
    Guest("compute", "C, SHA-256 and matrices", (
        Ask("/sha256?n=64", hashlib.sha256(bytes(
            (i * 31 >> 3) & 255 for i in range(65536))).hexdigest() + "\n"),
        Ask("/matrix?n=256&with=avx2", "4.10169e+06\n"),
        Ask("/matrix?n=256&with=avx512",
            re.compile("4.10169e|no AVX-512"), None)), 512),
    Guest("simdjson", "C++, simdjson", (
        Ask("/minify", '{"a":[1,2,{"b":"x y"}],"c":null}', method="POST",
            data=_JSON),
        Ask("/validate", '{"valid":true}\n', method="POST", data=_JSON),
        Ask("/get?p=/a/2/b", '"x y"\n', method="POST", data=_JSON),
        Ask("/validate", re.compile("error"), 400, method="POST",
            data=_JSON[:-2])), 32),
    Guest("compress", "C, zstd, Brotli, gzip", (
        Ask("/", None, method="POST", data=_TEXT, arg="gzip, zstd, br",
            headers=("Content-Encoding: zstd", "Vary: Accept-Encoding")),
        Ask("/", None, method="POST", data=_TEXT, arg="gzip;q=0.5, br",
            headers=("Content-Encoding: br",)),
        Ask("/?level=9", None, method="POST", data=_TEXT, arg="gzip",
            headers=("Content-Encoding: gzip",)),
        Ask("/", _TEXT.decode(), method="POST", data=_TEXT,
            arg="identity"),
        Ask("/", _TEXT.decode(), method="POST", data=_TEXT,
            arg="gzip;q=0.5, identity"),
        Ask("/", None, method="POST", data=_TEXT, arg="identity, gzip",
            headers=("Content-Encoding: gzip",))), 512),
)

assert json.loads(_JSON)
