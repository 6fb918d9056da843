# SPDX-License-Identifier: BSD-2-Clause
"""VCL from templates."""

from kvmctl.vcl.render import render

__all__ = ["render"]
