# SPDX-License-Identifier: BSD-2-Clause
"""Freezes the standard library of the Python that runs this.

    python3.11 -I -S freeze.py DIRECTORY

writes into DIRECTORY one file of bytecode per module, and stdlib.S with the
table kvm_frozen_stdlib (struct _frozen of cpython/import.h) of them all. Runs
alone, outside of kvmctl: bytecode is for one version of Python.
"""

import marshal
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

#: Nothing that a program without files, terminal and tests can use.
LEFT_OUT = {
    "__pycache__", "antigravity", "ctypes", "curses", "dbm", "ensurepip",
    "idlelib", "lib2to3", "lib-dynload", "msilib", "pydoc_data", "test",
    "this", "tkinter", "turtle", "turtledemo", "venv", "sitecustomize",
    "_bootsubprocess", "pydoc", "pdb", "distutils", "setuptools", "pip",
    "_distutils_hack", "__phello__",
}


def modules(root: Path) -> Iterator[tuple[str, Path, bool]]:
    """(dotted name, file, is a package) of each module, sorted."""
    for path in sorted(root.rglob("*.py")):
        parts = list(path.relative_to(root).with_suffix("").parts)
        if (LEFT_OUT & set(parts) or parts[0].startswith("config-")
                or not all(p.isidentifier() for p in parts)
                or "dist-packages" in path.parts
                or "site-packages" in path.parts):
            continue
        package = parts[-1] == "__init__"
        if package:
            parts.pop()
        yield ".".join(parts), path, package


def main(directory: Path) -> None:
    root = Path(sysconfig.get_path("stdlib"))
    text = ["\t.section .rodata\n"]
    table = []
    for n, (name, path, package) in enumerate(modules(root)):
        try:
            # One way for tracebacks to name a file that is not there.
            code = compile(path.read_bytes(), f"<frozen {name}>", "exec",
                           dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError):
            continue                    # files that show bad syntax
        (directory / f"{n}.bin").write_bytes(marshal.dumps(code))
        text.append(f'name{n}:\t.asciz "{name}"\n\t.balign 16\n'
                    f'data{n}:\t.incbin "{n}.bin"\nend{n}:\n')
        table.append(f"\t.quad name{n}, data{n}\n\t.long end{n} - data{n}, "
                     f"{int(package)}\n\t.quad 0\n")
    text += ["\t.balign 8\n\t.globl kvm_frozen_stdlib\n"
             "kvm_frozen_stdlib:\n", *table, "\t.fill 32, 1, 0\n",
             '\t.section .note.GNU-stack,"",@progbits\n']
    (directory / "stdlib.S").write_text("".join(text))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
