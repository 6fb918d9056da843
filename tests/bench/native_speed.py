# SPDX-License-Identifier: BSD-2-Clause
"""How fast is a guest's code, compared with the same file as a process?

    python tests/bench/native_speed.py      (after `make languages`)

The executable runs as a process under native_run.c and in a warm fork, in
turns; what an empty handler takes is subtracted from each. The ratio is that
of a pair, native time divided by the guest's: 1.0 is native speed. The pair
with the median ratio is shown. Writes build/bench/native.json and build/bench/native.md.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT / "tests"))

from kvmctl.engine import Engine                        # noqa: E402
from support.paths import settings                      # noqa: E402

BUILD = ROOT / "build"
NATIVE_RUN = BUILD / "bench" / "native_run"
EMPTY = "hello-musl"
PAIRS, WARM = 15, 10


@dataclass(frozen=True)
class Job:
    """A request that computes for milliseconds."""

    name: str
    guest: str
    url: str
    body: bytes = b""
    type: str = ""
    repeats: int = 10           # requests of one measurement


def jobs() -> list[Job]:
    records = [{"id": i, "name": f"record {i}", "tags": ["a", "b", "c"],
                "value": i * 1.5, "nested": {"x": [1, 2, 3], "y": None}}
               for i in range(20000)]
    products = [{"id": i, "name": f"A&B {i}", "price": i} for i in range(300)]
    photo = ROOT / "guests" / "thumbnail" / "photos" / "astronaut.png"
    return [
        Job("SHA-256 of 4 MiB", "compute", "/sha256?n=4096"),
        Job("matrix product, AVX2", "compute", "/matrix?n=512&with=avx2"),
        Job("matrix product, AVX-512", "compute", "/matrix?n=512&with=avx512"),
        Job("JSON minified by simdjson", "simdjson", "/minify",
            json.dumps(records, indent=1).encode(), "application/json"),
        Job("PNG to WebP", "thumbnail", "/?w=256", photo.read_bytes(),
            "image/png", 3),
        Job("page rendered by QuickJS", "quickjs-render", "/",
            json.dumps(products).encode(), "application/json"),
    ]


def as_process(guest: str, job: Job, count: int) -> float:
    """Microseconds of one request, the best of `count`, tracer included."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(job.body)
        body.flush()
        done = subprocess.run(
            [NATIVE_RUN, BUILD / "guests" / guest / guest, str(count),
             job.url, "POST" if job.body else "GET",
             f"@{body.name}" if job.body else "", job.type],
            capture_output=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.decode("utf-8", "replace"))
    return float(told["best_us"])


class Fork:
    """A warm fork of a guest."""

    def __init__(self, engine: Engine, guest: str) -> None:
        self._program = engine.define(guest, settings(guest))
        self._program.start()

    def best(self, job: Job, count: int) -> float:
        """Microseconds of one request, the best of `count`."""
        return min(self._program.request(
            "POST" if job.body else "GET", job.url, "", [], job.body,
            job.type).seconds for _ in range(count)) * 1e6


def measure(engine: Engine, job: Job, empty: Fork) -> dict[str, Any]:
    nothing = Job("", EMPTY, "/")
    fork = Fork(engine, job.guest)
    fork.best(job, WARM)
    pairs = []
    for _ in range(PAIRS):
        n = as_process(job.guest, job, job.repeats) - as_process(
            EMPTY, nothing, 50)
        g = fork.best(job, job.repeats) - empty.best(nothing, 50)
        pairs.append((n / g, n, g))
    # The pair in the middle: medians of each would be of different moments.
    ratio, n, g = sorted(pairs)[PAIRS // 2]
    return {"job": job.name, "guest": job.guest, "native_us": round(n, 1),
            "guest_us": round(g, 1), "ratio": round(ratio, 3)}


def main() -> int:
    rows = []
    with Engine() as engine:
        empty = Fork(engine, EMPTY)
        empty.best(Job("", EMPTY, "/"), 200)
        for job in jobs():
            rows.append(measure(engine, job, empty))
            print("{job:28} {native_us:10} us as a process, {guest_us:10} us "
                  "as a guest, ratio {ratio}".format(**rows[-1]))
    out = BUILD / "bench"
    out.mkdir(exist_ok=True)
    (out / "native.json").write_text(json.dumps(rows, indent=2) + "\n")
    lines = ["| job | process (us) | guest (us) | native / guest |",
             "|---|--:|--:|--:|"]
    lines += [f"| {r['job']} | {r['native_us']} | {r['guest_us']} | "
              f"{r['ratio']} |" for r in rows]
    (out / "native.md").write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
