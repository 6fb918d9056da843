# SPDX-License-Identifier: BSD-2-Clause
"""Programs that take long to boot: Varnish does not lose its patience."""

import json
from pathlib import Path
from typing import Any

import pytest

from kvmctl.deploy import boots
from kvmctl.errors import ExitCode, VarnishError
from kvmctl.varnish import stats
from kvmctl.varnish.private import PrivateVarnish
from support.compiled import compiled
from support.fleet import fleet_of
from support.node import Node

_SLOW = """\
#include <unistd.h>
#include "kvm_api.h"
static void on_get(const char *url, const char *arg)
{
	(void)url;
	(void)arg;
	respond_text(200, "up");
}
int main(void)
{
	usleep(1500000);
	set_backend_get(on_get);
	wait_for_requests();
}
"""


@pytest.mark.kvm
def test_all_boot_at_the_same_time(kvmctl: Any, tmp_path: Path) -> None:
    """Together they take longer than the manager waits for its child."""
    program = compiled(tmp_path, "slow", _SLOW)
    with PrivateVarnish(parameters={"cli_timeout": "8"}) as varnish:
        node = Node(varnish, kvmctl, tmp_path)
        rows = "".join(f'[programs.p{i}]\nfile = "{program}"\n'
                       'max_boot_time = 3.9\nconcurrency = 1\n'
                       for i in range(6))
        node.site.write_text(f'[site]\nname = "it"\n{rows}[[routes]]\n'
                             'path = "/"\nprogram = "p5"\ncache = false\n')
        before = stats.counters(varnish.node, "MGT.child_*")
        assert before["MGT.child_start"] == 1
        node.deploy()
        assert node.ask() == "up"
        assert stats.counters(varnish.node, "MGT.child_*") == before


@pytest.mark.kvm
def test_one_that_does_not_boot_fails_all(kvmctl: Any, tmp_path: Path) -> None:
    """Also where it has failed while another one was waited for."""
    program = compiled(tmp_path, "slow", _SLOW)
    with PrivateVarnish() as varnish:
        node = Node(varnish, kvmctl, tmp_path)
        node.write("hello")
        first = node.deploy()
        node.site.write_text(
            '[site]\nname = "it"\n'
            f'[programs.a]\nfile = "{program}"\n'
            f'[programs.b]\nfile = "{node.program("hostile-boot")}"\n'
            'main_arguments = ["crash"]\n'
            '[[routes]]\npath = "/"\nprogram = "a"\n')
        assert node("deploy") == ExitCode.VARNISH
        assert "null pointer" in node.kvmctl.err
        assert varnish.admin.active() == first
        assert varnish.admin.panics() is None


def test_what_takes_too_long_is_not_loaded(kvmctl: Any,
                                           tmp_path: Path) -> None:
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        state = fleet.fakes[0].state
        fleet.write()
        assert fleet("deploy") == ExitCode.OK
        serving = state.active
        state.parameters["cli_timeout"] = 16        # as max_boot_time is
        state.asked.clear()
        fleet.write("b")
        assert fleet("deploy") == ExitCode.VARNISH
        assert "waits 16 s" in kvmctl.err and "16 s for hello" in kvmctl.err
        assert "cli_timeout=17" in kvmctl.err
        assert "vcl.load" not in state.asked and state.active == serving
        assert fleet("deploy", "--canary", "1%") == ExitCode.VARNISH
        # So it is for one that is kept, and loaded no more.
        state.parameters["cli_timeout"] = 17
        assert fleet("deploy") == ExitCode.OK, kvmctl.err
        del state.vcls[serving]
        state.parameters["cli_timeout"] = 10
        assert fleet("rollback") == ExitCode.VARNISH
        assert "max_boot_time" in kvmctl.err


@pytest.mark.parametrize("library, limit", [
    ({}, 0.0), ({"a": {}}, 16.1), ({"a": {}, "b": {}, "c": {}}, 32.1),
    ({"a": {"max_boot_time": 5}, "b": {"max_boot_time": 1}}, 6.1)])
def test_two_boots_at_most(library: dict[str, Any], limit: float) -> None:
    boots.fit(json.loads(json.dumps(library)), limit, "it")
    if library:
        with pytest.raises(VarnishError, match="max_boot_time"):
            boots.fit(library, limit - 0.1, "it")
