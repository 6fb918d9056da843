# SPDX-License-Identifier: BSD-2-Clause
"""Varnish: its command line interface, and private instances."""
