"""Who is worth asking about."""

import numpy as np

from features.arrays import Floats, Integers, Mask
from features.time import SECONDS_A_DAY


def is_eligible(latest_activity: Integers | Floats, latest_end: Integers | Floats, cutoff: int, days: int) -> Mask:
    """[customers]: activity in `[cutoff - days, cutoff)`, and no end at or after the second of the latest.

    `latest_activity` and `latest_end` are each customer's latest before the cutoff, in seconds since 1970, NaN (or far
    in the past) where there is none; `cutoff` is in seconds.
    """
    return np.asarray((latest_activity >= cutoff - days * SECONDS_A_DAY) & ~(latest_end >= latest_activity))
