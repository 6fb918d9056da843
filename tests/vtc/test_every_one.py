# SPDX-License-Identifier: BSD-2-Clause
"""Every VCL function, and every call of guests, has a VTC file of its name."""

import re
from pathlib import Path

import pytest

from support.paths import ROOT

HERE = Path(__file__).parent

#: The second names of calls: with the number of wait_for_requests_paused().
ALSO = ["wait_for_socket_events_paused"]


def functions() -> list[str]:
    manual = (ROOT / "vmod" / "varnish" / "vmod_tinykvm.vcc").read_text()
    return re.findall(r"^\$Function \w+ (\w+)\(", manual, re.M)


def numbers(header: Path, prefix: str) -> dict[str, int]:
    """HC_LOG or KVM_LOG: its number."""
    return {name: int(number, 16) for name, number in re.findall(
        rf"^\t({prefix}_\w+)\s*= (0x[0-9A-Fa-f]+)", header.read_text(), re.M)}


def calls() -> list[str]:
    """By the names of the published header, those that the host knows."""
    header = ROOT / "guests" / "sdk" / "kvm_api.h"
    known = numbers(ROOT / "vmod" / "compute" / "guest_abi.h", "HC")
    names = {}
    for function, body in re.findall(
            r"^(\w+)\([^{;]*\)\n\{\n(.*?)^\}", header.read_text(),
            re.M | re.S):
        for constant in re.findall(r"\bKVM_[A-Z_]+\b", body):
            names.setdefault(constant, function)
    by_number = {number: names.get(constant, constant)
                 for constant, number in numbers(header, "KVM").items()}
    # It has no function: a handler's return makes it.
    by_number[known["HC_RETURN"]] = "return"
    return [by_number[number] for number in known.values()] + ALSO


def test_there_are_some() -> None:
    assert {"library", "live_update_file"} <= set(functions())
    assert {"register_func", "storage_callv", "sys_fetch_method", "return",
            "wait_for_requests_paused"} <= set(calls())


@pytest.mark.parametrize("name", functions())
def test_a_function_has_its_file(name: str) -> None:
    assert (HERE / "functions" / f"{name}.vtc").is_file()


@pytest.mark.parametrize("name", sorted(calls()))
def test_a_call_has_its_file(name: str) -> None:
    assert (HERE / "calls" / f"{name}.vtc").is_file()


def test_no_file_is_of_nothing() -> None:
    for folder, names in (("functions", functions()), ("calls", calls())):
        found = {path.stem for path in (HERE / folder).glob("*.vtc")}
        assert found <= {*names}
