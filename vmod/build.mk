# libtinykvm (core) and libtkcompute (compute). SPDX-License-Identifier: BSD-2-Clause

# What makes a mistake of ours harder to use; tests/bench/hardening.py builds
# without it, to say what it costs. -fcf-protection is not here: neither varnishd
# nor the libarchive that is linked in has it, and one without is none.
HARDENING	= -fstack-protector-strong -fstack-clash-protection \
	-D_FORTIFY_SOURCE=3
LD_HARDENING	= -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack

CFLAGS_COMMON	= -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror \
	-Wstrict-prototypes -Wmissing-prototypes -Wshadow -Wpointer-arith \
	-fPIC $(HARDENING) \
	-MMD -MP $(CFLAGS_EXTRA)
# nodelete: the watchdog thread outlives whoever loaded the library.
LDFLAGS_COMMON	= $(LD_HARDENING) -Wl,-z,nodelete $(LDFLAGS_EXTRA)

CORE_SRC	:= $(wildcard vmod/core/*.c vmod/core/linux/*.c)
CORE_OBJ	:= $(CORE_SRC:%.c=$(B)/obj/%.o) $(B)/obj/vmod/core/guest_kernel_stubs.o
COMPUTE_SRC	:= $(wildcard vmod/compute/*.c vmod/compute/sockets/*.c)
COMPUTE_OBJ	:= $(COMPUTE_SRC:%.c=$(B)/obj/%.o)

# The guest's vDSO: a shared object of its own, embedded as bytes.
$(B)/gen/vdso.so: vmod/core/vdso/vdso.c vmod/core/vdso/vdso.lds vmod/core/clock_page.h
	@mkdir -p $(@D)
	@$(CC) -O2 -fPIC -shared -nostdlib -ffreestanding -fno-stack-protector \
	    -fno-asynchronous-unwind-tables -fcf-protection=none \
	    -Wall -Wextra -Werror -Wl,-T,vmod/core/vdso/vdso.lds \
	    -Wl,--hash-style=both -Wl,-soname,linux-vdso.so.1 \
	    -Wl,--build-id=none -Wl,-z,max-page-size=4096 -s $< -o $@

$(B)/obj/vmod/core/guest_kernel_stubs.o: vmod/core/guest_kernel.S \
    vmod/core/guest_layout.h $(B)/gen/vdso.so
	@mkdir -p $(@D)
	@$(CC) -DTK_VDSO_IMAGE='"$(B)/gen/vdso.so"' -c $< -o $@

# Names of system calls, from the kernel's own header.
$(B)/gen/syscall_names.inc:
	@mkdir -p $(@D)
	@echo '#include <asm/unistd_64.h>' | $(CC) -E -dM - | \
	    sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9]*\)$$/[\2] = "\1",/p' > $@

$(B)/obj/vmod/core/linux/table.o: $(B)/gen/syscall_names.inc

$(B)/obj/vmod/core/%.o: vmod/core/%.c vmod/build.mk
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(CFLAGS_COMMON) -I$(B)/gen -c $< -o $@

$(B)/obj/vmod/compute/%.o: vmod/compute/%.c vmod/build.mk
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(CFLAGS_COMMON) -Ivmod/core -c $< -o $@

$(B)/lib/libtinykvm.a: $(CORE_OBJ)
	@mkdir -p $(@D)
	@rm -f $@ && ar rcs $@ $^

$(B)/lib/libtkcompute_pic.a: $(CORE_OBJ) $(COMPUTE_OBJ)
	@mkdir -p $(@D)
	@rm -f $@ && ar rcs $@ $^

-include $(CORE_OBJ:.o=.d) $(COMPUTE_OBJ:.o=.d)

# For kvmctl: the whole engine with the two headers that it reads.
# libarchive and zlib are linked in, and not seen from outside: varnishd exports
# a zlib of its own, which a shared libarchive would find first and not agree
# with.
ARCHIVE_LIBS	= -l:libarchive.a -l:libz.a -llzma -lbz2 -lzstd -lnettle
COMPUTE_LIBS	= -ljansson -lpcre2-8 -lhttp_parser -lcurl $(ARCHIVE_LIBS) \
	-lwslay -lcrypto -lm -lpthread
$(B)/lib/libtkcompute.so: $(CORE_OBJ) $(COMPUTE_OBJ) vmod/compute/compute.map \
    vmod/compute/compute.h vmod/compute/host.h
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	@$(CC) -shared $(LDFLAGS_COMMON) -Wl,-z,defs -Wl,--version-script=vmod/compute/compute.map \
	    -o $@ $(CORE_OBJ) $(COMPUTE_OBJ) $(COMPUTE_LIBS)
	@cp vmod/compute/compute.h vmod/compute/host.h $(@D)
