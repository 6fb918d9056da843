# SPDX-License-Identifier: BSD-2-Clause
"""Ports for servers that cannot take just any."""

import socket


def free_port() -> int:
    """One of 127.0.0.1 that the kernel chose, and nobody listens on yet."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
