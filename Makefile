# TinyKVM for Varnish. SPDX-License-Identifier: BSD-2-Clause
#
#	make demo	build all, serve real requests from a private Varnish
#	make test	all tests
#	make serve	the demo's site on 127.0.0.1:8080 until Ctrl-C
#	make bench	figures, in build/bench
#	make test-long	the tests that take minutes
#	make install	the VMOD, its manual page, the engine library
#	make clean
#
# Each does all the set-up that it needs: Debian packages through apt-get (as
# root), a virtual environment in build/venv, the build.

SHELL	= /bin/bash
B	= build
CC	= gcc
PYTHON	= python3

include vmod/build.mk
include vmod/varnish/build.mk

.PHONY: all lib vmod guests setup packages venv demo serve test test-long \
    bench install clean

all: lib vmod

lib: $(B)/lib/libtkcompute.so $(B)/lib/libtkcompute_pic.a

clean:
	rm -rf $(B)
