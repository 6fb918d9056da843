# SPDX-License-Identifier: BSD-2-Clause
"""`kvmctl serve`: a site in a Varnish of its own, anew at every change."""
