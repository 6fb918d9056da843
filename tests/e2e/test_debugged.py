# SPDX-License-Identifier: BSD-2-Clause
"""A program inside a live varnishd under GDB."""

import threading
import time
from pathlib import Path

import pytest
import requests

from support.compiled import compiled
from support.debugged import Peer, gdb
from support.live import Live, configure
from support.port import free_port

pytestmark = pytest.mark.kvm

_PROGRAM = r"""
#include "kvm_api.h"
#include <stdio.h>
#include <string.h>

__attribute__((noinline)) static long
add(long a, long b)
{
	return (a + b);
}

static void
on_get(const char *url, const char *arg)
{
	char text[32];

	(void)arg;
	if (strcmp(url, "/breakpoint") == 0)
		sys_breakpoint();
	snprintf(text, sizeof text, "%ld", add(2, 3));
	respond_text(200, text);
}

int
main(void)
{
	set_backend_get(on_get);
	wait_for_requests();
}
"""


@pytest.mark.parametrize("allowed", [True, False])
def test_a_request_is_debugged(live: Live, tmp_path: Path,
                               allowed: bool) -> None:
    file = compiled(tmp_path, "it", _PROGRAM)
    port = free_port()
    live.use("sub vcl_init {" + configure("it", {
        "filename": file, "allow_debug": allowed, "debug_port": port,
        "debug_wait": 30, "concurrency": 2}) + """
            tinykvm.start("it", async = false, debug = true);
        }
        sub vcl_recv { return (pass); }
        sub vcl_backend_fetch {
            set bereq.backend = tinykvm.program("it", bereq.url);
        }""")
    if not allowed:
        assert live.ask("/breakpoint").text == "5"
        return
    answers: list[requests.Response] = []
    t = threading.Thread(
        target=lambda: answers.append(live.ask("/breakpoint")))
    t.start()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with Peer(port) as peer:
                assert peer.ask("vMustReplyEmpty") == ""
                # Others are served meanwhile.
                url = live.varnish.url + "/breakpoint"
                assert requests.get(url, timeout=20).text == "5"
                assert peer.ask("k") is None
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    t.join(20)
    assert answers[0].status_code >= 500
    answers.clear()
    t = threading.Thread(
        target=lambda: answers.append(live.ask("/breakpoint")))
    t.start()
    said = "refused"
    while "refused" in said and time.monotonic() < end + 20:
        said = gdb(port, file, "break add", "continue", "set var $rdi = 40",
                   "backtrace", "info threads", "continue")
    t.join(20)
    assert "exited normally" in said, said
    assert answers[0].text == "43"
    assert live.ask("/").text == "5"
