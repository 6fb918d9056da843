# SPDX-License-Identifier: BSD-2-Clause
"""One module per command."""
