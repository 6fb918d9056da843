# SPDX-License-Identifier: BSD-2-Clause
"""Programs asked without Varnish: requests out of files, tests, figures."""
