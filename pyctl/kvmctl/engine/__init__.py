# SPDX-License-Identifier: BSD-2-Clause
"""Programs run without Varnish: libtkcompute through cffi."""

from kvmctl.engine.library import Engine, Program, Response

__all__ = ["Engine", "Program", "Response"]
