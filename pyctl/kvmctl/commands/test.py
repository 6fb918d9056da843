# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl test."""

import os.path
import re
from dataclasses import dataclass
from pathlib import Path

from kvmctl import files
from kvmctl import site as sites
from kvmctl.document import pattern
from kvmctl.environment import Environment
from kvmctl.errors import KvmctlError, ManifestError, UsageError
from kvmctl.guest import manifest
from kvmctl.trial import cases, junit, runner
from kvmctl.trial.program import prepare
from kvmctl.trial.runner import Result


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    only: str | None
    junit: Path | None
    out: Path


def _projects(path: Path) -> dict[Path, list[Path]]:
    """Directories of programs, and their files of tests."""
    if os.path.isfile(path) and path.suffix == ".toml" and path.name not in (
            "guest.toml", "edge.toml"):
        return {files.real(path).parent.parent: [path]}
    directory = path.parent if os.path.isfile(path) else path
    if path.name != "edge.toml" and (directory / "guest.toml").exists():
        guests = [directory]
    elif (directory / "edge.toml").exists():
        site = sites.load(directory / "edge.toml")
        guests = [p.guest for p in site.programs if p.guest is not None]
    else:
        guests = [manifest.file(directory).parent]
    return {g: sorted((g / "tests").glob("*.toml")) for g in guests}


def _report(env: Environment, result: Result) -> None:
    if env.as_json:
        return
    word = (env.style("ok  ", "32", env.stdout) if result.good
            else env.style("FAIL", "31", env.stdout))
    exits = f"{result.exits} exit{'' if result.exits == 1 else 's'}"
    pages = f"{result.pages_written} page{'' if result.pages_written == 1 else 's'}"
    env.result(f"{word}  {result.name:40} {exits:>9} {pages:>12} "
               f"{result.seconds * 1e6:10.1f} us")
    if not result.good:
        env.result(f"      {result.file}:{result.line}")
        for text in (*result.wrong, *result.log.splitlines()):
            env.result(f"      {text}")


def _wanted(only: str | None) -> "re.Pattern[str]":
    try:
        return pattern(only or "")
    except ValueError as e:
        raise UsageError(f"\"{only}\" is no regular expression: {e}"
                         ) from None


def run(env: Environment, paths: tuple[Path, ...], options: Options) -> None:
    """Shows how each went; fails when one did."""
    wanted, results = _wanted(options.only), []
    found: dict[Path, list[Path]] = {}
    for path in paths or (Path(),):
        for project, tests in _projects(path).items():
            found.setdefault(project, []).extend(tests)
    for project, tests in found.items():
        loaded = [cases.load(path) for path in tests]
        name, settings = prepare(env, project, options.out)
        for file in loaded:
            if not env.as_json and sum(map(len, found.values())) > 1:
                env.result(f"{name}: {file.path}")
            results += runner.run(
                file, name, settings, lambda n: bool(wanted.search(n)),
                lambda r: _report(env, r))
    if not results:
        where = ", ".join(str(p / "tests") for p in found)
        raise ManifestError(
            f"no test is called \"{options.only}\"" if options.only
            else f"there is no test: write {where}/*.toml, as "
            "pyctl/REFERENCE.md tells")
    if options.junit is not None:
        with files.problems(KvmctlError, "cannot write the results"):
            files.write_whole(options.junit, junit.document(results))
    bad = sum(not r.good for r in results)
    if env.as_json:
        env.result_json([r.to_json() for r in results])
    if bad:
        raise KvmctlError(f"{bad} of {len(results)} tests failed")
    env.note(f"{len(results)} tests passed" if len(results) > 1
             else "1 test passed")
