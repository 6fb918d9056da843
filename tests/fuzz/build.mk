# The fuzzers: everything once more, by clang, with its sanitizers.
# SPDX-License-Identifier: BSD-2-Clause

FUZZ_C		:= $(wildcard tests/fuzz/fuzz_*.c)
FUZZERS		= $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_C))
FUZZ_CC		= clang -std=gnu11 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer \
	-Wall -Wextra -Werror -Wno-gnu-variable-sized-type-not-at-end -MMD -MP
FUZZ_SANITIZE	= address,undefined
FUZZ_OBJ	= $(patsubst $(B)/obj/%,$(B)/fuzz/obj/%,\
	$(filter-out %_stubs.o,$(CORE_OBJ)) $(COMPUTE_OBJ))

.PHONY: fuzzers
fuzzers: $(FUZZERS) $(B)/fuzz/caller $(B)/fuzz/seed_elf

$(B)/fuzz/obj/vmod/core/linux/table.o: $(B)/gen/syscall_names.inc

$(B)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	@$(FUZZ_CC) -fsanitize=fuzzer-no-link,$(FUZZ_SANITIZE) \
	    -fno-sanitize-recover=all -Ivmod/core -I$(B)/gen -c $< -o $@

# An archive: fuzz_gdb has a machine of its own for the stub.
$(B)/fuzz/libtk.a: $(FUZZ_OBJ) $(B)/obj/vmod/core/guest_kernel_stubs.o
	@rm -f $@ && ar rcs $@ $^

$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(B)/fuzz/libtk.a tests/fuzz/fuzz.h
	@mkdir -p $(@D)
	@echo "  FUZZER  $@"
	@$(FUZZ_CC) -fsanitize=fuzzer,$(FUZZ_SANITIZE) \
	    -fno-sanitize-recover=all -Ivmod/compute -Ivmod/core \
	    -Itests/compute -o $@ $< \
	    $(B)/fuzz/libtk.a $(COMPUTE_LIBS)

$(B)/fuzz/caller: tests/fuzz/caller.c tests/fuzz/call.h guests/sdk/kvm_api.h
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g -static -Wall -Wextra -Werror \
	    -Wno-array-bounds -Iguests/sdk -o $@ $<

# The smallest program that can be: what mutations of it are like.
$(B)/fuzz/seed_elf: tests/fuzz/seed_elf.S
	@mkdir -p $(@D)
	@$(CC) -static -nostdlib -Wl,--build-id=none -Wl,-z,max-page-size=4096 \
	    -s -o $@ $<

-include $(FUZZ_OBJ:.o=.d)
