# SPDX-License-Identifier: BSD-2-Clause
"""What a node does: rates, latencies, its log, figures for Prometheus."""
