# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl: the control plane of TinyKVM for Varnish."""

__version__ = "0.1.0"
