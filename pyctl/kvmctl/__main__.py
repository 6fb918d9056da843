# SPDX-License-Identifier: BSD-2-Clause
from kvmctl.cli import main

main()
