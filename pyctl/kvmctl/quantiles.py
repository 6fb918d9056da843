# SPDX-License-Identifier: BSD-2-Clause
"""Quantiles, by nearest rank: each is one of the values."""

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least a share q of all do not exceed.

    There is one value at least; q is 0 to 1.
    """
    ranked = sorted(values)
    return ranked[max(0, math.ceil(q * len(ranked)) - 1)]
