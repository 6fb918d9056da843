# SPDX-License-Identifier: BSD-2-Clause
"""`make languages`: the guests of tests/languages, built, asked, measured.

Writes build/languages.json and build/languages.md. A request is asked of one
warm fork, without Varnish; times are medians. native_us is the same executable
as an ordinary process (native_run.c), less what an empty handler takes there,
both the best of several rounds: right within a microsecond or two. It is null
where the program cannot be asked again and again without a reset.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from kvmctl.engine import Engine                        # noqa: E402
from kvmctl.errors import KvmctlError                   # noqa: E402
from languages.cases import AGENT, GUESTS, Guest        # noqa: E402
from support.paths import settings                      # noqa: E402

BUILD = ROOT / "build"
NATIVE_RUN = BUILD / "bench" / "native_run"
BOOTS, WARM, REQUESTS, NATIVE_ROUNDS, NATIVE_REQUESTS = 3, 50, 300, 10, 100
#: The handler that does nothing but answer: what the tracer itself takes.
EMPTY = "hello-musl"


def native(name: str, guest: Guest) -> dict[str, float] | None:
    """Microseconds to start and per request, tracer included."""
    ask = guest.asks[0]
    rounds = []
    for _ in range(NATIVE_ROUNDS):
        done = subprocess.run(
            [NATIVE_RUN, BUILD / "guests" / name / name, str(NATIVE_REQUESTS),
             ask.url, ask.method, ask.data.decode(), "", ask.arg],
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return None
        rounds.append(json.loads(done.stdout))
    if rounds[0]["status"] != ask.status:
        return None
    return {key: min(r[key] for r in rounds)
            for key in ("start_us", "request_us")}


def virtual(guest: Guest) -> dict[str, Any]:
    """The same in virtual machines. Raises KvmctlError."""
    ask = guest.asks[0]
    boots, times, pages, exits = [], [], [], []
    for _ in range(BOOTS):
        with Engine() as engine:
            program = engine.define(guest.name, settings(guest.name))
            begun = time.perf_counter()
            program.start()
            boots.append((time.perf_counter() - begun) * 1e3)
            if len(boots) < BOOTS:
                continue
            for n in range(WARM + REQUESTS):
                answer = program.request(
                    ask.method, ask.url, ask.arg, [f"User-Agent: {AGENT}"],
                    ask.data)
                wrong = ask.wrong(answer.status, answer.body)
                if wrong is not None:
                    raise KvmctlError(wrong)
                if n >= WARM:
                    times.append((answer.seconds + answer.reset_seconds)
                                 * 1e6)
                    pages.append(answer.pages_written)
                    exits.append(answer.exits)
    return {"boot_ms": round(statistics.median(boots), 1),
            "pages_per_request": int(statistics.median(pages)),
            "exits_per_request": int(statistics.median(exits)),
            "request_us": round(statistics.median(times), 1)}


def measure(guest: Guest, empty: Guest) -> dict[str, Any]:
    executable = BUILD / "guests" / guest.name / guest.name
    row: dict[str, Any] = {
        "language": guest.language, "guest": guest.name,
        "size_kib": executable.stat().st_size // 1024, "boot_ms": None,
        "native_start_ms": None, "pages_per_request": None,
        "exits_per_request": None, "request_us": None, "native_us": None,
        "ok": True}
    try:
        row |= virtual(guest)
    except KvmctlError as e:
        row |= {"ok": False, "error": str(e)}
    floor, found = native(EMPTY, empty), native(guest.name, guest)
    if floor is not None and found is not None:
        row["native_start_ms"] = round(found["start_us"] / 1e3, 2)
        row["native_us"] = round(max(
            0.0, found["request_us"] - floor["request_us"]), 1)
    return row


def markdown(rows: list[dict[str, Any]]) -> str:
    columns = {
        "language": "language", "guest": "guest", "size_kib": "size KiB",
        "native_start_ms": "start, process (ms)", "boot_ms": "boot, VM (ms)",
        "native_us": "request, process (us)",
        "request_us": "request, VM (us)", "pages_per_request": "pages written",
        "exits_per_request": "exits"}
    lines = ["| " + " | ".join(columns.values()) + " |",
             "|---|---|" + "--:|" * (len(columns) - 2)]
    for row in rows:
        cells = ["-" if row[c] is None else str(row[c]) for c in columns]
        cells[1] = f"[{row['guest']}]({row['guest']}/README.md)"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    empty = next(g for g in GUESTS if g.name == EMPTY)
    rows = []
    for guest in GUESTS:
        row = measure(guest, empty)
        rows.append(row)
        print(f"{row['guest']:16} {row['request_us']} us in a VM, "
              f"{row['native_us']} us in a process"
              if row["ok"] else f"{row['guest']:16} {row['error']}",
              file=sys.stderr)
    (BUILD / "languages.json").write_text(json.dumps(rows, indent=2) + "\n")
    (BUILD / "languages.md").write_text(markdown(rows))
    print(BUILD / "languages.md")
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
