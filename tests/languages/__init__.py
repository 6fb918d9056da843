# SPDX-License-Identifier: BSD-2-Clause
"""Guests in many languages."""
