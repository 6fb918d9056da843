# SPDX-License-Identifier: BSD-2-Clause
"""No program finds another's vector registers, or its rounding, at its boot."""

from pathlib import Path

import pytest

from kvmctl.engine import Engine
from support.compiled import compiled

pytestmark = pytest.mark.kvm

_LEAVES = """
#include "kvm_api.h"
static void leave(void)
{
	unsigned all = 0;			/* every exception unmasked */
	short x87 = 0x0340;
	long secret = 0x5ec2e75ec2e7;

	__asm__ volatile ("ldmxcsr %0; fldcw %1; movq %2, %%xmm15" ::
	    "m" (all), "m" (x87), "r" (secret));
}
static void on_request(const struct kvm_request *r)
{
	(void)r;
	leave();
	sys_backend_response(200, "a/b", 3, "done", 4, NULL);
}
int main(void) { leave(); kvm_serve(on_request); }
"""

# Looks before any library can write into the registers.
_LOOKS = """
#include "kvm_api.h"
long seen[2];
unsigned mxcsr;
unsigned short x87;
static char text[40];
static void put(char *p, unsigned long v, int n)
{
	while (n-- > 0) { p[n] = "0123456789abcdef"[v & 15]; v >>= 4; }
}
static void on_request(const struct kvm_request *r)
{
	(void)r;
	put(text, (unsigned long)(seen[0] | seen[1]), 16);
	text[16] = ' ';
	put(text + 17, mxcsr, 4);
	text[21] = ' ';
	put(text + 22, x87, 4);
	sys_backend_response(200, "a/b", 3, text, 26, NULL);
}
void begin(void) { kvm_serve(on_request); }
__asm__(".globl _start\\n_start: movups %xmm15, seen(%rip)\\n"
    "stmxcsr mxcsr(%rip)\\nfnstcw x87(%rip)\\n"
    "xor %ebp, %ebp\\nand $-16, %rsp\\ncall begin\\n");
"""


def test_vector_registers_are_new_at_boot(tmp_path: Path) -> None:
    leaves = compiled(tmp_path, "leaves", _LEAVES)
    looks = compiled(
        tmp_path, "looks", _LOOKS, "-nostdlib", "-fno-stack-protector",
        "-fno-tree-loop-distribute-patterns")
    for _ in range(3):
        with Engine() as engine:
            program = engine.define("leaves", {"filename": leaves})
            assert program.request().body == b"done"
        # Its machines are free now, and the next program gets one.
        with Engine() as engine:
            program = engine.define("looks", {"filename": looks})
            assert program.request().body == b"0" * 16 + b" 1f80 037f"
