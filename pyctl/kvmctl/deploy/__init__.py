# SPDX-License-Identifier: BSD-2-Clause
"""Releases: made, tried, switched to, taken back."""
