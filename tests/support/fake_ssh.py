# SPDX-License-Identifier: BSD-2-Clause
"""ssh to a machine that is this one: what kvmctl uses of it, and no more.

Every line is written to $FAKE_SSH_LOG. The destination `down` is not there, and the
connection to `cut` is lost after a hundred bytes of what is sent to a program.
"""

import os
import socket
import subprocess
import sys
import threading


def forward(where: str) -> int:
    """ssh -W: standard input and output are a connection."""
    host, _, port = where.rpartition(":")
    try:
        there = socket.create_connection((host.strip("[]"), int(port)), 10)
    except OSError as e:
        sys.stderr.write(f"channel 0: open failed: connect failed: {e}\n")
        return 255

    def out() -> None:
        while data := there.recv(65536):
            os.write(1, data)
        os._exit(0)

    threading.Thread(target=out, daemon=True).start()
    while data := os.read(0, 65536):
        there.sendall(data)
    there.shutdown(socket.SHUT_WR)
    return 0


def main() -> int:
    words = sys.argv[1:]
    with open(os.environ["FAKE_SSH_LOG"], "a") as log:
        log.write(repr(words) + "\n")
    dash = words.index("--")
    options, destination, command = (words[:dash], words[dash + 1],
                                     words[dash + 2:])
    if destination == "down":
        sys.stderr.write("ssh: connect to host down port 22: Connection "
                         "refused\n")
        return 255
    if "-W" in options:
        return forward(options[options.index("-W") + 1])
    if destination == "cut":
        sent = sys.stdin.buffer.read(100)
        done = subprocess.run(["sh", "-c", " ".join(command)], input=sent,
                              check=False)
        return 255 if len(sent) == 100 else done.returncode
    return subprocess.run(["sh", "-c", " ".join(command)],
                          check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
