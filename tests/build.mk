# Programs of the tests and the benchmark. SPDX-License-Identifier: BSD-2-Clause

TEST_C		:= $(wildcard tests/core/test_*.c tests/compute/test_*.c)
TEST_PROGRAMS	= $(patsubst tests/%.c,$(B)/tests/%,$(TEST_C))

.PHONY: test-programs bench-programs
test-programs: $(TEST_PROGRAMS) $(B)/tests/guest $(B)/tests/file_guest \
    $(B)/tests/file_guest_native $(B)/tests/racer

# The guest of tests/core speaks to its tests only, not the guest API.
$(B)/tests/guest: tests/core/guest.c tests/core/guest_threads.c \
    tests/core/guest_memory.c tests/core/guest_ops.h
	@mkdir -p $(@D)
	@echo "  GUEST   $@"
	@$(CC) -std=gnu11 -O2 -g -static -Wall -Wextra -Werror \
	    -Wno-infinite-recursion -pthread -o $@ $(filter %.c,$^)

$(B)/tests/racer: tests/compute/racer.c guests/sdk/kvm_api.h
	@mkdir -p $(@D)
	@echo "  GUEST   $@"
	@$(CC) -std=gnu11 -O2 -g -static -Wall -Wextra -Werror \
	    -Wno-stringop-overread -Wno-array-bounds -Iguests/sdk -o $@ $<

# What it does with files, it also does natively: the results are compared.
FILE_GUEST_C	= tests/core/file_guest.c tests/core/file_scenarios.c \
	tests/core/event_scenarios.c
FILE_GUEST_CC	= $(CC) -std=gnu11 -O2 -g -static -Wall -Wextra -Werror \
	-Wno-stringop-overflow -Wno-stringop-overread -Wno-nonnull

$(B)/tests/file_guest: $(FILE_GUEST_C) $(wildcard tests/core/file_*.h)
	@mkdir -p $(@D)
	@echo "  GUEST   $@"
	@$(FILE_GUEST_CC) -o $@ $(FILE_GUEST_C)

$(B)/tests/file_guest_native: $(FILE_GUEST_C) $(wildcard tests/core/file_*.h)
	@mkdir -p $(@D)
	@$(FILE_GUEST_CC) -DNATIVE -o $@ $(FILE_GUEST_C)

$(B)/tests/core/test_%: tests/core/test_%.c tests/core/vm.c tests/core/file_vm.c \
    $(wildcard tests/core/*.h) $(B)/lib/libtkcompute_pic.a
	@mkdir -p $(@D)
	@echo "  TEST    $@"
	@$(CC) $(filter-out -MMD -MP -fPIC,$(CFLAGS_COMMON)) -Ivmod/core \
	    -Itests/core -o $@ $< tests/core/vm.c tests/core/file_vm.c \
	    $(B)/lib/libtkcompute_pic.a $(COMPUTE_LIBS)

$(B)/tests/compute/test_gdb_packets: $(wildcard vmod/compute/gdb*.[ch])

$(B)/tests/compute/test_%: tests/compute/test_%.c tests/core/harness.h \
    $(B)/lib/libtkcompute_pic.a
	@mkdir -p $(@D)
	@echo "  TEST    $@"
	@$(CC) $(filter-out -MMD -MP -fPIC,$(CFLAGS_COMMON)) -Ivmod/compute \
	    -Ivmod/core -Itests/core -o $@ $< \
	    $(B)/lib/libtkcompute_pic.a $(COMPUTE_LIBS)

# The benchmark: core measured in C, and guests/bench natively.
bench-programs: $(B)/bench/native_run $(B)/bench/core_bench $(B)/bench/native $(B)/tests/guest

$(B)/bench/core_bench: tests/bench/core_bench.c tests/core/vm.c \
    $(wildcard tests/core/*.h) $(B)/lib/libtkcompute_pic.a
	@mkdir -p $(@D)
	@$(CC) $(filter-out -MMD -MP -fPIC,$(CFLAGS_COMMON)) -Ivmod/core \
	    -Itests/core $(LDFLAGS_COMMON) -o $@ $< tests/core/vm.c \
	    $(B)/lib/libtkcompute_pic.a $(COMPUTE_LIBS)

$(B)/bench/native: guests/bench/bench.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O2 -static -Iguests/sdk -DNATIVE -o $@ $<

# Any guest, natively: the same file.
$(B)/bench/native_run: tests/bench/native_run.c guests/sdk/kvm_api.h
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O2 -Wall -Wextra -Iguests/sdk -o $@ $<

# The tests of core, compute and VMOD once more, all built with sanitizers.
# They are loaded first into whatever loads a library of ours: Python, varnishd.
# What Python and Varnish never free is no leak of ours; Python and the core
# handle SIGSEGV themselves.
CHECKED	= -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer
PRELOAD	= $(shell $(CC) -print-file-name=libasan.so) \
	$(shell $(CC) -print-file-name=libubsan.so)
# A debugged program is stopped where a sanitizer would look at it; the test of
# failures has an allocator of its own; a sanitizer keeps what was freed.
UNCHECKED = --ignore tests/compute/test_gdb.py \
	--ignore tests/compute/test_gdb_peers.py \
	--ignore tests/compute/test_failures.c \
	--deselect tests/compute/test_live_update.py::test_updates_leave_nothing \
	--deselect tests/compute/test_storage.py::test_reloads_leave_nothing \
	--deselect tests/compute/test_websocket.py::test_those_who_are_closed_hold_nothing

.PHONY: checked checked-build
checked-build:
	@$(MAKE) --no-print-directory B=$(B)/checked VENV=$(VENV) \
	    CFLAGS_EXTRA="$(CHECKED)" LDFLAGS_EXTRA="$(CHECKED)" \
	    lib vmod test-programs

# CHECKED_TESTS="tests/core tests/vtc/calls" make checked
checked: guests checked-build test-programs
	@ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:handle_segv=0 \
	    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	    KVMCTL_ENGINE=$(CURDIR)/$(B)/checked/lib/libtkcompute.so \
	    KVMCTL_VMODS=$(CURDIR)/$(B)/checked/vmods \
	    TK_PROGRAMS=$(CURDIR)/$(B)/checked/tests LD_PRELOAD="$(PRELOAD)" \
	    $(PY) -m pytest -m "not long" $(UNCHECKED) $(PYTEST_OPTIONS) \
	    $(or $(CHECKED_TESTS),tests/core tests/compute tests/vtc)

# What is read before it was written, which those sanitizers do not see. These are
# the C tests that open no files of a guest: valgrind 3.19 does not know openat2().
# no_code_from_writable_files opens one.
VALGRIND = valgrind --quiet --error-exitcode=9 --exit-on-first-error=yes
VALGRIND_TESTS = tests/compute/test_gdb_packets.c $(addprefix tests/core/test_,\
	address_space.c debug.c elf.c faults.c guest_threads.c kept.c linux.c \
	memory.c reset.c tables.c threads.c)

.PHONY: valgrind
valgrind: test-programs guests
	@TK_UNDER="$(VALGRIND)" $(PY) -m pytest -m "not long" \
	    -k "not no_code_from_writable_files" \
	    $(or $(PYTEST_OPTIONS),$(VALGRIND_TESTS))
