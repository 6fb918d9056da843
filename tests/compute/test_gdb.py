# SPDX-License-Identifier: BSD-2-Clause
"""Programs that GDB debugs: its own words for what it sees and does."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from support.compiled import compiled
from support.debugged import Peer, Request, gdb
from support.paths import guest
from support.port import free_port
from support.wait import until
from kvmctl.engine.library import Engine, Program
from kvmctl.errors import GuestError

pytestmark = pytest.mark.kvm

_PROGRAM = r"""
#include "kvm_api.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long total;
static volatile int spins = 1;
static volatile double factor = 1.5;

__attribute__((noinline)) static long
add(long a, long b)
{
	long sum = a + b;

	total += sum;			/* first line */
	return (sum);
}

__attribute__((noinline)) static long
product(double by)
{
	return ((long)(by * factor));
}

static void *
other(void *arg)
{
	*(long *)arg = add(10, 20);
	return (arg);
}

static void
threads(void)
{
	pthread_t t[2];
	long n[2];

	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, other, &n[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

static void
on_get(const char *url, const char *arg)
{
	char text[64];
	long n;

	(void)arg;
	if (strcmp(url, "/breakpoint") == 0)
		sys_breakpoint();
	if (strcmp(url, "/crash") == 0)
		*(volatile int *)8 = 1;
	if (strcmp(url, "/spin") == 0) {
		sys_breakpoint();
		while (spins)
			;
	}
	if (strcmp(url, "/sleep") == 0) {
		sys_breakpoint();
		sleep(1);
	}
	if (strcmp(url, "/late") == 0) {
		sys_breakpoint();
		for (;;)
			;
	}
	if (strcmp(url, "/threads") == 0) {
		sys_breakpoint();
		threads();
	}
	if (strcmp(url, "/call") == 0) {
		sys_breakpoint();
		syscall(SYS_getppid);
	}
	n = add(2, 3);
	n += add(n, 4);
	snprintf(text, sizeof text, "%ld %ld %ld", n, total, product(2));
	respond_text(200, text);
}

int
main(void)
{
	set_backend_get(on_get);
	if (getenv("TRAP") != NULL)
		__builtin_trap();
	if (sys_is_debug())
		total = 0;
	wait_for_requests();
}
"""
_ANSWER = "14 14 3"

Log = list[Any]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("debugged")


@pytest.fixture(scope="session")
def file(directory: Path) -> str:
    return compiled(directory, "it", _PROGRAM)


def defined(engine: Engine, file: str, debug: bool = True,
            **settings: object) -> Program:
    program = engine.define("it", {
        "filename": file, "concurrency": 1, "max_request_time": 2,
        "allow_debug": True, "debug_wait": 20} | settings)
    program.start(debug)
    return program


def clean(program: Program) -> None:
    """The next request is as if there had been no debugger."""
    for _ in range(2):
        assert program.request().body == _ANSWER.encode()


def test_breakpoints_and_backtraces(engine: Engine, log: Log,
                                    file: str) -> None:
    program = defined(engine, file)
    r = Request(program, log, "/breakpoint")
    said = gdb(r.port(), file, "backtrace", "break add", "continue",
               "backtrace", "info args", "next", "next", "print sum",
               "print total", "finish", "continue", "print a", "delete",
               "continue")
    assert re.search(r"#[01] .*on_get \(url=.* \"/breakpoint\"", said)
    assert re.search(r"Breakpoint 1, add \(a=.*2, b=.*3\) at", said)
    assert re.search(r"#1 .* in on_get \(url=", said)
    assert "a = 2\nb = 3\n" in said
    assert "$1 = 5\n$2 = 5\n" in said
    assert "Value returned is $3 = 5" in said
    assert "$4 = 5" in said
    assert "exited normally" in said
    assert r.body == _ANSWER
    clean(program)


def test_registers_and_memory(engine: Engine, log: Log, file: str) -> None:
    program = defined(engine, file)
    r = Request(program, log, "/breakpoint")
    said = gdb(
        r.port(), file, "break product", "continue",
        "print $xmm0.v2_double[0]", "set var $xmm0.v2_double[0] = 20",
        "print $mxcsr", "print $fctrl", "print $eflags & 2",
        "print/x $cs", "print $fs_base != 0", "print $orig_rax",
        "set var $r11 = 0x1122334455667788", "print/x $r11",
        "set var factor = 3", "print factor",
        "set var $st0 = 1.25", "print $st0",
        "x/2i $pc", "print *(char *)8", "print *(long *)0xffffffff80003000",
        "set var *(long *)0xffffffff80003000 = 1",
        "print add(20, 22)", "delete", "continue")
    for words in ("$1 = 2\n", "$2 = 8064\n", "$3 = 895\n", "$4 = 2\n",
                  "$5 = 0x33\n", "$6 = 1\n", "$7 = -1\n",
                  "$8 = 0x1122334455667788\n", "$9 = 3\n", "$10 = 1.25\n",
                  "Cannot access memory at address 0x8\n",
                  "Cannot access memory at address 0xffffffff80003000\n",
                  "$11 = 42\n"):
        assert words in said, said
    # The total has the debugger's own call in it.
    assert r.body == "14 56 60"
    clean(program)


def test_steps(engine: Engine, log: Log, file: str) -> None:
    """Over a host call, a system call, into and out of functions."""
    program = defined(engine, file)
    r = Request(program, log, "/call")
    said = gdb(r.port(), file, "break syscall", "continue",
               *["stepi"] * 40, "info symbol $pc", "finish", "print $rax",
               "break add", "continue", "step", "step", "info source",
               "delete", "break respond_text", "continue", *["stepi"] * 60,
               "continue")
    assert "Breakpoint 1, " in said
    assert "first line" in said
    assert "exited normally" in said, said
    assert "SIGTRAP" not in said.split("Breakpoint 1, ")[1], said
    assert r.body == _ANSWER
    clean(program)


def test_interrupt_a_loop(engine: Engine, log: Log, file: str) -> None:
    program = defined(engine, file)
    r = Request(program, log, "/spin")
    with Peer(r.port()) as peer:
        assert peer.ask("qSupported:swbreak+") is not None
        peer.send("vCont;c:1")
        time.sleep(3)           # longer than the request may take
        peer.raw(b"\x03")
        assert peer.receive() == "T02thread:1;"
        peer.send("D")
        assert peer.receive() == "OK"
    r.ended()
    assert "ran longer than 2 s" in r.error
    clean(program)


def test_interrupt_a_sleep(engine: Engine, log: Log, file: str) -> None:
    program = defined(engine, file)
    r = Request(program, log, "/sleep")
    with Peer(r.port()) as peer:
        assert peer.ask("?") == "T05thread:1;"
        # Until it is in the middle of a system call: RAX is not to be set.
        said: str | None = "OK"
        while said == "OK":
            peer.send("c")
            time.sleep(0.005)
            peer.raw(b"\x03")
            assert peer.receive() == "T02thread:1;"
            registers = peer.ask("g")
            assert registers is not None and len(registers) == 2 * 560
            said = peer.ask("P0=" + registers[:16])
        assert said == "E16"
        peer.send("c")
        assert peer.receive() == "W00"
        assert peer.receive() is None
    assert r.body == _ANSWER
    clean(program)


def test_threads(engine: Engine, log: Log, file: str) -> None:
    program = defined(engine, file)
    r = Request(program, log, "/threads")
    said = gdb(r.port(), file, "break add if a == 10", "continue",
               "info threads", "thread apply all backtrace 2", "continue",
               "info threads", "delete", "stepi", "continue")
    assert said.count("Breakpoint 1, add (a=") == 2
    assert "waits for a futex" in said and "has the vCPU" in said
    assert re.search(r"Thread 1 .*:\n.*\n.* in (__)?pthread_(join|.*)", said)
    assert re.search(r"#1 .* in other \(arg=", said)
    assert "exited normally" in said
    assert r.body == "14 74 3"
    clean(program)


def test_detach_and_kill(engine: Engine, log: Log, file: str) -> None:
    program = defined(engine, file)
    r = Request(program, log, "/breakpoint")
    assert "detached" in gdb(r.port(), file, "break add", "detach")
    assert r.body == _ANSWER
    clean(program)
    # GDB that ends leaves a process that it did not start alone.
    r = Request(program, log, "/breakpoint")
    gdb(r.port(), file, "break add", "continue")
    assert r.body == _ANSWER
    r = Request(program, log, "/breakpoint")
    assert "killed" in gdb(r.port(), file, "break add", "continue", "kill")
    r.ended()
    assert "ended by the debugger" in r.error
    clean(program)


def test_a_crash_is_looked_at(engine: Engine, log: Log, file: str) -> None:
    """Without start(debug): the setting alone."""
    program = defined(engine, file, False, remote_debug_on_exception=True)
    r = Request(program, log, "/crash")
    said = gdb(r.port(), file, "info symbol $pc", "backtrace 1", "print url",
               "continue")
    assert "SIGSEGV" in said and "on_get + " in said
    assert '"/crash"' in said
    assert "Program terminated with signal SIGSEGV" in said
    r.ended()
    assert "write to address 0x8 (a null pointer) in on_get" in r.error
    clean(program)
    # Detached from, it takes its way, too.
    r = Request(program, log, "/crash")
    gdb(r.port(), file, "detach")
    assert "null pointer" in r.ended().error
    # The breakpoint of a program that is not debugged does nothing.
    assert program.request("GET", "/breakpoint").body == _ANSWER.encode()


def test_a_crash_is_mended(engine: Engine, log: Log, file: str) -> None:
    """A debugger that is there may change what faulted, and go on."""
    program = defined(engine, file, debug_requests=True)
    line = 1 + _PROGRAM[:_PROGRAM.index("n = add(2, 3)")].count("\n")
    r = Request(program, log, "/crash")
    said = gdb(r.port(), file, "continue", f"jump {line}")
    assert "SIGSEGV" in said
    assert r.body == _ANSWER
    r = Request(program, log, "/crash")
    said = gdb(r.port(), file, "continue", "signal SIGSEGV")
    assert "Program terminated with signal SIGSEGV" in said
    assert "null pointer" in r.ended().error


def test_time_does_not_run(engine: Engine, log: Log, file: str) -> None:
    """... while a debugger is there; what was left runs afterwards."""
    program = defined(engine, file, max_request_time=0.5)
    r = Request(program, log, "/breakpoint")
    port = r.port()
    time.sleep(1)
    with Peer(port) as peer:
        assert peer.ask("?") == "T05thread:1;"
        time.sleep(1)
        assert peer.ask("D") == "OK"
    assert r.body == _ANSWER
    r = Request(program, log, "/late")
    with Peer(r.port()) as peer:
        assert peer.ask("D") == "OK"
        start = time.monotonic()
    assert "ran longer than 0.5 s" in r.ended().error
    assert time.monotonic() - start < 5


def test_nobody_comes(engine: Engine, log: Log, file: str) -> None:
    program = defined(engine, file, debug_wait=0.3, max_request_time=0.2)
    r = Request(program, log, "/breakpoint")
    assert r.body == _ANSWER
    assert "no debugger came" in r.words()


def test_requests_stop_at_their_start(engine: Engine, log: Log,
                                      file: str) -> None:
    program = defined(engine, file, debug_requests=True)
    for _ in range(2):
        r = Request(program, log)
        said = gdb(r.port(), file, "print url", "info symbol $pc",
                   "backtrace", "print (long)$sp % 16", "break add", "continue",
                   "delete", "continue")
        assert "on_get in section .text" in said
        assert "$2 = 8" in said
        # Nothing is told that is not there.
        assert re.search(r"#0 .* on_get .*\n#1 +0xffffffff8.*\n(#2 .*0+ .*\n)?"
                         r"\$2", said), said
        assert "Breakpoint 1, add" in said
        assert "exited normally" in said
        assert r.body == _ANSWER


def test_main_is_debugged(engine: Engine, log: Log, directory: Path) -> None:
    """A breakpoint at boot; those that stay do not get into the master."""
    file = compiled(directory, "boots", _PROGRAM.replace(
        "set_backend_get(on_get);", "sys_breakpoint(); "
        "set_backend_get(on_get);"))
    program = engine.define("boots", {"filename": file, "allow_debug": True,
                                      "max_boot_time": 1})
    r = Request(program, log, do="start")
    said = gdb(r.port(), file, "backtrace", "break add", "break on_get",
               "print main", "next", "continue")
    assert "main () at" in said
    assert "exited normally" in said
    r.ended()
    assert r.error == ""
    clean(program)


def test_a_boot_that_fails(engine: Engine, log: Log, directory: Path) -> None:
    file = compiled(directory, "fails", _PROGRAM.replace(
        "set_backend_get(on_get);", "_exit((int)add(3, 4));"))
    program = engine.define("fails", {
        "filename": file, "allow_debug": True, "max_boot_time": 0.5,
        "remote_debug_on_exception": True})
    r = Request(program, log, do="start")
    port = r.port()
    time.sleep(1)               # longer than the boot may take
    said = gdb(port, file, "backtrace", "continue")
    assert re.search(r"#[12] .* main \(\) at", said), said
    assert "signal SIGABRT" in said
    assert "ended before it waited for requests" in r.ended().error


def test_a_server(engine: Engine, log: Log) -> None:
    """A program with sockets stops where its thread gets the request."""
    file = str(guest("c-server"))
    program = engine.define("c-server", {
        "filename": file, "allow_debug": True, "debug_requests": True,
        "concurrency": 1})
    program.start(debug=True)
    for _ in range(2):
        r = Request(program, log)
        said = gdb(r.port(), file, "backtrace", "stepi", "stepi", "break read",
                   "continue", "delete", "continue")
        assert "exited normally" in said
        assert r.ended().answer is not None, r.error


@pytest.mark.parametrize("flags", [("-static-pie", "-fPIE"),
                                   ("-pie", "-fPIE")])
def test_position_independent(engine: Engine, log: Log, directory: Path,
                              flags: tuple[str, ...]) -> None:
    file = compiled(directory, flags[0], _PROGRAM, *flags, static=False)
    libraries = [] if flags[0] == "-static-pie" else [
        {"virtual": p, "real": p, "prefix": True}
        for p in ("/lib", "/lib64", "/usr/lib") if Path(p).is_dir()]
    program = defined(engine, file, allowed_paths=libraries)
    r = Request(program, log, "/breakpoint")
    said = gdb(r.port(), file, "backtrace", "break add", "continue",
               "backtrace", "delete", "continue")
    assert re.search(r"#[01] .*on_get \(url=", said), said
    assert re.search(r"Breakpoint 1, add \(a=.*2, b=.*3\) at", said)
    assert r.body == _ANSWER
    clean(program)


def test_one_debugger_at_a_time(engine: Engine, log: Log, file: str) -> None:
    program = defined(engine, file, concurrency=2)
    r = Request(program, log, "/breakpoint")
    with Peer(r.port()) as peer:
        assert peer.ask("?") == "T05thread:1;"
        # The port is closed, and another request goes on.
        with pytest.raises(ConnectionRefusedError):
            Peer(r.port())
        other = Request(program, log, "/breakpoint")
        assert other.body == _ANSWER
        assert "another one is being debugged" in other.words()
        assert peer.ask("D") == "OK"
    assert r.body == _ANSWER


def _listeners() -> list[tuple[str, int]]:
    """Addresses and ports on which this process listens."""
    found, ours = [], set()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            ours.add(os.readlink(fd))
        except OSError:
            continue
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(name).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in ours:
                address, port = words[1].split(":")
                found.append((address, int(port, 16)))
    return found


def test_only_loopback(engine: Engine, log: Log, file: str) -> None:
    program = defined(engine, file)
    r = Request(program, log, "/breakpoint")
    port = r.port()
    assert [a for a, p in _listeners() if p == port] == ["0100007F"]
    with Peer(port) as peer:
        assert peer.ask("D") == "OK"
    assert r.body == _ANSWER


def test_a_port_of_ones_own(engine: Engine, log: Log, file: str) -> None:
    port = free_port()
    program = defined(engine, file, debug_port=port)
    for _ in range(3):
        r = Request(program, log, "/breakpoint")
        assert r.port() == port
        with Peer(port) as peer:
            assert peer.ask("k") is None
        assert "ended by the debugger" in r.ended().error
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        program = defined(engine, file, debug_port=taken.getsockname()[1])
        r = Request(program, log, "/breakpoint")
        assert r.body == _ANSWER
        assert "Address already in use" in r.words()


@pytest.mark.parametrize("settings, debug", [
    ({"allow_debug": False, "remote_debug_on_exception": True,
      "debug_requests": True}, True),
    ({"debug_requests": True}, False)])
def test_not_without_permission(engine: Engine, log: Log, file: str,
                                settings: dict[str, object],
                                debug: bool) -> None:
    program = defined(engine, file, debug, **settings)
    assert program.request("GET", "/breakpoint").body == _ANSWER.encode()
    with pytest.raises(GuestError, match="null pointer"):
        program.request("GET", "/crash")
    assert "target remote" not in "".join(text for _, _, text in log)
    assert _listeners() == []
    told = "breakpoints do nothing" in "".join(text for _, _, text in log)
    assert told == debug


def test_kvmctl_run(file: str, tmp_path: Path) -> None:
    """kvmctl run --gdb tells what to type, and that works."""
    log = tmp_path / "log"
    with log.open("w") as err:
        run = subprocess.Popen(
            [sys.executable, "-m", "kvmctl", "run", file, "/url", "--gdb"],
            stdout=subprocess.PIPE, stderr=err, text=True)
    try:
        until(lambda: "target remote" in log.read_text(), 60)
        found = re.search(r'gdb -ex "target remote :(\d+)" (\S+)',
                          log.read_text())
        assert found is not None and found.group(2) == file, log.read_text()
        said = gdb(int(found.group(1)), file, "print url", "continue")
        assert '"/url"' in said
        assert run.communicate(timeout=60)[0] == _ANSWER
        assert run.returncode == 0
    finally:
        run.kill()
        run.wait()


@pytest.mark.parametrize("attached", [False, True])
def test_cold_waits_for_no_debugger(engine: Engine, log: Log, file: str,
                                    attached: bool) -> None:
    """Neither for one to come to a boot, nor for what it may want."""
    program = engine.define("it", {
        "filename": file, "concurrency": 1, "allow_debug": True,
        "debug_wait": 600, "remote_debug_on_exception": True,
        "environment": ["TRAP=1"]})
    failed: list[str] = []

    def boot() -> None:
        with pytest.raises(GuestError) as e:
            program.start()
        failed.append(str(e.value))

    thread = threading.Thread(target=boot, daemon=True)
    thread.start()
    until(lambda: "waits 600 s for a debugger" in str(log))
    if attached:
        port = re.search(r"target remote :(\d+)", str(log))
        assert port is not None
        with Peer(int(port[1])) as peer:
            assert peer.ask("qSupported:swbreak+") is not None
            engine.set_warm(False)
    else:
        engine.set_warm(False)
    thread.join(20)
    assert failed == ["it: its VCL became cold while it booted"]
