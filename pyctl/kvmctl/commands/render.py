# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl render."""

from dataclasses import asdict
from pathlib import Path

from kvmctl import document as documents
from kvmctl import site as sites
from kvmctl import toml_lines
from kvmctl.document import place
from kvmctl.environment import Environment
from kvmctl.vcl import origin, render
from kvmctl.vcl.render import marked

_RELEASE = "shown by kvmctl render"


def run(env: Environment, path: Path, with_origin: bool = False) -> None:
    """The VCL, with a placeholder for the programs file of a release."""
    site = sites.load(path)
    library = (Path("/var/lib/tinykvm") / site.name / "programs.json"
               if site.programs else None)
    if not with_origin and not env.as_json:
        env.result_text(render(site, library, _RELEASE))
        return
    lines = origin.lines(marked(site, library, _RELEASE))
    places = {place(keys): line for keys, line in
              toml_lines.lines(documents.read(path).text).items()}
    if env.as_json:
        env.result_json([asdict(line) | {"edge": places.get(line.entry)}
                         for line in lines])
        return
    for line in lines:
        number = places.get(line.entry)
        edge = f"{path.name}:{number}" if number else ""
        env.result(f"{line.source:26} {edge:14} {line.text}".rstrip())
