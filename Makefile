# TinyKVM for Varnish. SPDX-License-Identifier: BSD-2-Clause
#
#	make demo	build all, serve real requests from a private Varnish
#	make test	all tests but those that take minutes
#	make test-long	those too
#	make serve	the demo's site on 127.0.0.1:8080 until Ctrl-C
#	make bench	figures, in build/bench
#	make soak	everything at once for a minute, or SECONDS_OF_SOAK
#	make fuzz	the fuzzers for SECONDS_OF_FUZZ, in build/fuzz
#	make checked	core, compute and VMOD tested under sanitizers
#	make analyze	the same looked through by gcc's and clang's analysers
#	make valgrind	C tests of them under valgrind
#	make languages	guests in all languages: built, asked, measured; the
#			table is build/languages.md
#	make install	the VMOD, the engine, kvmctl's files, manual pages
#	make clean
#
# Each does all the set-up that it needs: Debian packages through apt-get (as
# root), a virtual environment in build/venv, the build.

SHELL	= /bin/bash
B	= build
CC	= gcc
PYTHON	= python3
VENV	= $(B)/venv
PY	= $(VENV)/bin/python
DESTDIR	=
PREFIX	= /usr

.DEFAULT_GOAL = all
.DELETE_ON_ERROR:
.PHONY: all lib vmod guests setup packages demo serve for-tests test test-long \
    bench soak fuzz languages language-guests language-packages setup-languages \
    install clean check-types

# What each package is for: Varnish and its headers; the engine's libraries for
# JSON, regular expressions and the answers of servers in guests, for WebSocket
# frames (wslay), for HTTP and TLS (curl), for programs in archives (archive,
# and what it unpacks with: lzma, bz2, zstd, nettle) and their SHA-256 (ssl: the
# crypto library that curl loads anyway); the libraries of guests/thumbnail;
# musl; the load generator of `make bench`; what builds and documents.
PACKAGES = varnish libvarnishapi-dev libjansson-dev libpcre2-dev \
	libhttp-parser-dev libwslay-dev libcurl4-openssl-dev libarchive-dev \
	liblzma-dev libbz2-dev libzstd-dev nettle-dev libssl-dev \
	libwebp-dev libpng-dev libjpeg62-turbo-dev zlib1g-dev \
	musl-tools wrk gcc g++ make pkg-config python3-docutils python3-venv

# Compilers and static libraries of the guests in other languages; only `make
# languages` and the tests install them. A compiler from elsewhere will do.
LANGUAGE_PACKAGES = nim fp-compiler fp-units-rtl fp-units-base ocaml-nox \
	liblua5.4-dev libluajit-5.1-dev libpython3.11-dev libexpat1-dev \
	python3.11-minimal libsqlite3-dev libzstd-dev libbrotli-dev \
	libdeflate-dev libssl-dev \
	$(if $(shell command -v rustc),,rustc) \
	$(if $(shell command -v cargo),,cargo) \
	$(if $(shell command -v go),,golang-go) \
	$(if $(shell command -v npm),,npm)

# GDB: the tests debug guests with it; openssl makes their certificates; clang
# has the fuzzers and sanitizers, clang-tidy the static analysis; valgrind sees
# what is read before it was written; groff reads kvmctl's pages.
TEST_PACKAGES = gdb openssl groff-base clang libclang-rt-14-dev \
	clang-tidy valgrind

# The build proper runs in a second make, once the packages are there: its
# variables ask pkg-config.
ifeq ($(TK_SET_UP),)

# `make demo test` is one after the other.
.NOTPARALLEL:

all lib vmod guests demo serve bench check-types install: setup
	@$(MAKE) --no-print-directory TK_SET_UP=yes $@

test test-long languages language-guests soak fuzz checked analyze \
    valgrind: setup-languages
	@$(MAKE) --no-print-directory TK_SET_UP=yes $@

setup: packages $(VENV)/stamp

setup-languages: language-packages $(VENV)/stamp-languages

packages: WANTED = $(PACKAGES)
language-packages: packages
language-packages: WANTED = $(LANGUAGE_PACKAGES) $(TEST_PACKAGES)
packages language-packages:
	@mkdir -p $(B); \
	missing=$$(for p in $(WANTED); do \
	    dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | \
	    grep -qx installed || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "Installing Debian packages:" $$missing; \
		if [ $$(id -u) -ne 0 ]; then \
			echo "Not root. Install them first: sudo apt-get install" \
			    $$missing >&2; exit 1; \
		fi; \
		apt-get update -q >$(B)/apt.log 2>&1; \
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
		    --no-install-recommends $$missing >>$(B)/apt.log 2>&1 || \
		    { tail -20 $(B)/apt.log >&2; exit 1; }; \
	fi

$(VENV)/stamp: pyproject.toml | packages
	@echo "Setting up Python in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check \
	    -e '.[test,bench]'
	@touch $@

$(VENV)/stamp-languages: $(VENV)/stamp
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check \
	    -e '.[languages]'
	@touch $@

else

include vmod/build.mk
include vmod/varnish/build.mk
include tests/build.mk
include tests/fuzz/build.mk
include tests/analyze/build.mk

all: lib vmod guests

lib: $(B)/lib/libtkcompute.so $(B)/lib/libtkcompute_pic.a

ALL_GUESTS = $(patsubst %/guest.toml,%,$(wildcard guests/*/guest.toml \
	guests/*/*/guest.toml))
# Those that PACKAGES build.
GUESTS	= $(filter-out $(LANGUAGE_GUESTS),$(ALL_GUESTS))
LANGUAGE_GUESTS = $(addprefix guests/,compress compute go-gc go-hello go-server \
	lua-edge python-server \
	lua-hello luajit-compute luajit-hello nim-hello ocaml-hello \
	pascal-hello python-hello python-wsgi quickjs-hello quickjs-render \
	rust-hello rust-threads simdjson sqlite wasm-hello zig-hello)

guests:
	@$(PY) -m kvmctl build -o $(B)/guests $(GUESTS) >/dev/null

language-guests:
	@$(PY) -m kvmctl build -o $(B)/guests $(LANGUAGE_GUESTS) >/dev/null

demo: lib vmod
	@$(PY) -m kvmctl.demo

serve: lib vmod
	@exec $(PY) -m kvmctl.demo --serve

# All that the tests use, with all cores: compilers and analysers look at one
# file after the other.
for-tests: lib vmod guests language-guests test-programs bench-programs fuzzers \
    check-types analysis

test:
	@$(MAKE) -j$$(nproc) --no-print-directory TK_SET_UP=yes for-tests
	@$(PY) -m pytest -m "not long" $(PYTEST_OPTIONS)

# An hour for each: on a busy machine some need twenty minutes.
test-long: test
	@$(PY) -m pytest -m long -o faulthandler_timeout=3600 $(PYTEST_OPTIONS)

check-types:
	@$(PY) -m mypy --no-error-summary
	@$(PY) -m ruff check --quiet pyctl tests

# SECONDS_OF_SOAK=1800 make soak
soak: lib vmod guests language-guests
	@$(PY) tests/soak/soak.py

# SECONDS_OF_FUZZ=3600 make fuzz
fuzz: lib guests fuzzers
	@$(PY) tests/fuzz/fuzz.py

bench: lib vmod guests bench-programs
	@$(PY) tests/bench/bench.py

languages: lib vmod guests language-guests $(B)/bench/native_run
	@$(PY) tests/bench/languages.py
	@$(PY) tests/bench/native_speed.py

# kvmctl finds the rest of itself in $(PREFIX)/lib/tinykvm.
LIBDIR	= $(DESTDIR)$(PREFIX)/lib/tinykvm
install: lib vmod
	install -D -m 755 $(VMOD_SO) "$(DESTDIR)$(VMODDIR)/libvmod_tinykvm.so"
	install -D -m 644 $(VMOD_MAN) \
	    "$(DESTDIR)$(PREFIX)/share/man/man3/vmod_tinykvm.3"
	install -D -m 755 $(B)/lib/libtkcompute.so "$(LIBDIR)/libtkcompute.so"
	install -m 644 $(B)/lib/compute.h $(B)/lib/host.h "$(LIBDIR)"
	@rm -rf $(B)/man/kvmctl
	$(PY) -m kvmctl.man $(B)/man/kvmctl
	install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/man/man1" \
	    $(B)/man/kvmctl/*.1
	install -d "$(DESTDIR)$(PREFIX)/share/bash-completion/completions" \
	    "$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions" \
	    "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d"
	$(PY) -m kvmctl completion bash \
	    >"$(DESTDIR)$(PREFIX)/share/bash-completion/completions/kvmctl"
	$(PY) -m kvmctl completion zsh \
	    >"$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_kvmctl"
	$(PY) -m kvmctl completion fish \
	    >"$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/kvmctl.fish"
	install -d "$(LIBDIR)/sdk"
	cp -R --preserve=timestamps guests/sdk/. "$(LIBDIR)/sdk"
	install -D -m 644 -t "$(LIBDIR)/vcl" vcl/*.j2
	@echo "kvmctl itself: pip install ."

endif

clean:
	rm -rf $(B)
