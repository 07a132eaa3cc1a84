"""What a trained model brings to the comparison."""

from dataclasses import dataclass

from numpy.typing import ArrayLike

from models.base import Family


@dataclass(frozen=True, eq=False)
class Result:
    """One model's run. `test_digest` is the digest of the test examples that it predicted, and
    `test_probability [examples]` are its churn probabilities for them at the primary horizon, in their order.
    `valid_log_loss` is what it is chosen by; None where validation could not be scored. Seconds are wall seconds.
    `information` is the digest of all that it could know and `budget` what it could spend, in words: both are the same
    for every model of a comparison. `test_purchases` and `test_spend` are its expectations, None where it has none.
    """

    name: str
    family: Family
    run_id: str
    test_digest: str
    valid_log_loss: float | None
    test_probability: ArrayLike
    fit_seconds: float
    predict_customers_per_second: float
    information: str = ""
    budget: str = ""
    test_purchases: ArrayLike | None = None
    test_spend: ArrayLike | None = None
