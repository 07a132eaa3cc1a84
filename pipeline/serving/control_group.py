"""The control group: customers on whose scores nobody acts, so that what acting does can be measured."""

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def control_group(customers: "pd.Series[str]", share: float, seed: int) -> "pd.Series[int]":
    """1 where a customer is in the control group, else 0; null throughout where `share` is 0.

    Rests on the id and the seed alone: the same customer is in it on every night and at every horizon, and a larger
    share only adds customers.
    """
    import pandas as pd

    if share == 0:
        return pd.Series(pd.NA, index=customers.index, dtype="Int64")
    chosen = {each: int(_position(each, seed) < share) for each in customers.unique()}
    return customers.map(chosen).astype("Int64")


def _position(customer_id: str, seed: int) -> float:
    """Uniform over customers, in [0, 1)."""
    return int.from_bytes(sha256(f"control {seed} {customer_id}".encode()).digest()[:6]) / 2**48
