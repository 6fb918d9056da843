# SPDX-License-Identifier: BSD-2-Clause
"""VCL of the user's own: DIRECTORY/SUB.vcl or SUB-WHAT.vcl, beside edge.toml.

`recv-cors.vcl` goes into vcl_recv, before what kvmctl makes; `top.vcl` and
`top-WHAT.vcl` stand outside of all subs. The order is that of the names.
"""

from pathlib import Path

from kvmctl import files
from kvmctl.document import suggestion
from kvmctl.errors import ManifestError
from kvmctl.vcl import escape, origin

SUBS = ("init", "recv", "pipe", "pass", "hash", "purge", "miss", "hit",
        "deliver", "synth", "backend_fetch", "backend_response",
        "backend_error", "fini")
TOP = "top"


def _place(path: Path) -> str:
    name = path.stem.partition("-")[0]
    if name not in (*SUBS, TOP):
        raise ManifestError(f"{path.parent}: there is no key \"{name}\""
                            + suggestion(name, (TOP, *SUBS)))
    return name


def found(directory: Path | None) -> list[Path]:
    """The snippets there are, in their order."""
    if directory is None or not directory.is_dir():
        return []
    files = sorted(directory.glob("*.vcl"))
    return sorted(files, key=lambda p: (_place(p) != TOP, p.name))


def text(directory: Path | None) -> str:
    """All of them as VCL, each line with a mark of where it is from."""
    out = []
    for path in found(directory):
        try:
            body = files.read(path).decode()
        except (OSError, UnicodeDecodeError) as e:
            raise ManifestError(f"cannot read {path}: {e}") from None
        shown = f"{path.parent.name}/{path.name}"
        rows = [origin.mark(shown, i) + origin.unmarked(row) for i, row in
                enumerate(body.rstrip("\n").split("\n"), 1)]
        place = _place(path)
        head = origin.mark(shown, 1)
        out.append(f"{head}# {escape.comment(shown)}")
        if place != TOP:
            rows = [f"{head}sub vcl_{place} {{", *rows, f"{head}}}"]
        out += [origin.KEEP.join(rows), ""]
    return "\n".join(out)
