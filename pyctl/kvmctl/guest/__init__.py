# SPDX-License-Identifier: BSD-2-Clause
"""Guest programs: manifest, toolchains, what an executable contains."""
