# SPDX-License-Identifier: BSD-2-Clause
"""guests/chat as its README says: WebSocket clients through Varnish."""

import json
import re

import pytest
from websockets.sync.client import connect

from kvmctl.varnish import stats
from support.live import Live, configure
from support.paths import SOURCES, settings
from support.port import free_port
from support.wait import until

pytestmark = pytest.mark.kvm


def test_websocket_through_varnish(live: Live) -> None:
    text = (SOURCES / "chat" / "README.md").read_text()
    json_text, vcl = (re.search(pattern, text, re.M | re.S) for pattern in (
        r'^ {4}"chat": \{.*?^ {4}\}', r"^ {4}backend chat .*\Z"))
    assert json_text is not None and vcl is not None
    written = json.loads("{" + json_text[0] + "}")["chat"]
    ws = free_port()
    program = written | settings("chat") | {
        "server": {"port": free_port()},
        "websocket_server": written["websocket_server"] | {"port": ws}}
    live.use(vcl[0].replace("7001", str(ws)) + "\nsub vcl_init {\n"
             + configure("chat", program) + "}\n")
    name = str(live.varnish.node.name)
    until(lambda: bool(stats.programs(name)["it"]["chat"]["boots"]))
    with connect(live.varnish.url.replace("http", "ws") + "/room?7",
                 compression=None) as a:
        assert a.recv() == "/room?7"
        a.send("through Varnish")
        assert a.recv() == "through Varnish"
    until(lambda: stats.programs(name)["it"]["chat"]["sockets_open"] == 0)
    assert stats.programs(name)["it"]["chat"]["socket_clients"] == 1
