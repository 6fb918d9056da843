# SPDX-License-Identifier: BSD-2-Clause
"""Results as JUnit's XML, which CI systems show."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from kvmctl.trial.runner import Result

#: What XML 1.0 cannot hold in any way.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def document(results: Sequence[Result]) -> bytes:
    """A <testsuite> for each file."""
    root = ElementTree.Element("testsuites")
    for file in dict.fromkeys(r.file for r in results):
        mine = [r for r in results if r.file == file]
        suite = ElementTree.SubElement(root, "testsuite", {
            "name": _clean(file), "tests": str(len(mine)), "errors": "0",
            "failures": str(sum(not r.good for r in mine)),
            "time": f"{sum(r.seconds for r in mine):.6f}"})
        for result in mine:
            case = ElementTree.SubElement(suite, "testcase", {
                "name": _clean(result.name), "classname": _clean(file),
                "file": _clean(file), "line": str(result.line),
                "time": f"{result.seconds:.6f}"})
            if not result.good:
                failure = ElementTree.SubElement(case, "failure", {
                    "message": _clean(result.wrong[0])})
                failure.text = _clean("\n".join(result.wrong))
            if result.log:
                ElementTree.SubElement(case, "system-out").text = _clean(
                    result.log)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return text + b"\n"
