# Static analysis of core, compute and VMOD; one object after the other, again
# only when it or a header of it changed. SPDX-License-Identifier: BSD-2-Clause

ANALYZED	= $(CORE_SRC) $(COMPUTE_SRC) $(VMOD_SRC)
ANALYSIS	= $(ANALYZED:%.c=$(B)/analyze/%.gcc) \
	$(ANALYZED:%.c=$(B)/analyze/%.tidy)
SLOW_ANALYSIS	= $(ANALYZED:%.c=$(B)/analyze/%.clang)
ANALYZE_FLAGS	= -std=gnu11 -D_GNU_SOURCE -O2 -fPIC -Ivmod/core \
	-Ivmod/compute -I$(B)/gen $(VARNISHAPI_CFLAGS)

# What is left out, and why:
# two parameters of one type that stand side by side are no mistake (85 of 85);
# a product of int that becomes size_t: constants and indices of small tables
# (77 of 77), and of constants the compiler itself says when they overflow.
TIDY_CHECKS	= -*,bugprone-*,cert-*,-bugprone-easily-swappable-parameters,$\
	-bugprone-implicit-widening-of-multiplication-result
# memcpy_s() and its like are not in glibc; padding is no mistake.
CLANG_CHECKS	= -*,clang-analyzer-*,-clang-analyzer-optin.performance.*,$\
	-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling

.PHONY: analysis analyze
analysis: $(ANALYSIS)

analyze: $(ANALYSIS) $(SLOW_ANALYSIS)
	@$(PY) tests/analyze/findings.py

$(B)/analyze/%.gcc: %.c $(B)/gen/syscall_names.inc $(VMOD_GEN)
	@mkdir -p $(@D)
	@echo "  ANALYZE $<"
	@LC_ALL=C $(CC) $(ANALYZE_FLAGS) -fanalyzer \
	    -fdiagnostics-path-format=none -fno-diagnostics-show-caret \
	    -MMD -MP -MT $@ -MF $@.d -c $< -o /dev/null 2>$@ || \
	    { cat $@ >&2; exit 1; }

# After gcc's: that knows the headers.
$(B)/analyze/%.tidy: $(B)/analyze/%.gcc
	@clang-tidy --quiet "--checks=$(TIDY_CHECKS)" $*.c -- \
	    $(ANALYZE_FLAGS) >$@ 2>$@.log || { cat $@ $@.log >&2; exit 1; }

$(B)/analyze/%.clang: $(B)/analyze/%.gcc
	@echo "  CLANG   $*.c"
	@clang-tidy --quiet "--checks=$(CLANG_CHECKS)" $*.c -- \
	    $(ANALYZE_FLAGS) >$@ 2>$@.log || { cat $@ $@.log >&2; exit 1; }

-include $(ANALYZED:%.c=$(B)/analyze/%.gcc.d)
