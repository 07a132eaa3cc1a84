"""BG/NBD and Pareto/NBD on the CDNOW sample, against the estimates that their authors published.

2,357 customers who first bought in the first quarter of 1997, their purchases until 1997-09-30, times in weeks: Fader,
Hardie and Lee (2005), table 2, and Fader and Hardie, "A note on deriving the Pareto/NBD model" (2005). The package
lifetimes ships the file.
"""

from datetime import date
from pathlib import Path

import numpy as np

from models.conventional.bg_nbd import BGNBD
from models.conventional.buy_till_you_die import BuyTillYouDie, PurchaseHistory
from models.conventional.pareto_nbd import ParetoNBD
from pipeline.runtime.errors import RecurError
from pipeline.sources.bundled import package_folder
from pipeline.sources.cdnow import INSTALL, PACKAGE

FILE = Path("datasets") / "CDNOW_sample.txt"
END = date(1997, 9, 30)
CUSTOMERS = 2_357
PUBLISHED: dict[type[BuyTillYouDie], tuple[tuple[float, ...], float]] = {  # parameters and log likelihood
    BGNBD: ((0.243, 4.414, 0.793, 2.426), -9582.4),
    ParetoNBD: ((0.553, 10.578, 0.606, 11.669), -9595.0),
}
MISSING = f"skipped: the package {PACKAGE}, which holds the sample, is not installed: run {INSTALL}"
AS_PRINTED = 0.0005  # estimates are published with three decimals, log likelihoods with one


def main() -> bool:
    try:
        file = package_folder(PACKAGE, MISSING) / FILE
    except RecurError as missing:
        print(missing)
        return True
    customers = sample(file)
    fine = len(customers.age) == CUSTOMERS
    print(f"{len(customers.age):,} customers")
    for kind, (published, likelihood) in PUBLISHED.items():
        estimates = kind.estimated(customers)
        found = float(kind.log_likelihood(list(estimates.values()), customers).sum())
        away = max(abs(mine - theirs) for mine, theirs in zip(estimates.values(), published, strict=True))
        shown = "  ".join(f"{name} {value:.3f}" for name, value in estimates.items())
        print(f"{kind.__name__:10s} {shown}  log likelihood {found:.1f}, largest difference {away:.4f}", flush=True)
        fine = fine and away <= AS_PRINTED and abs(found - likelihood) <= 0.05
    return fine


def sample(file: Path) -> PurchaseHistory:
    """In weeks; several purchases of a day are one."""
    days: dict[str, set[date]] = {}
    for line in file.read_text("ascii").splitlines():
        _, customer, day, *_ = line.split()
        if (when := date(int(day[:4]), int(day[4:6]), int(day[6:]))) <= END:
            days.setdefault(customer, set()).add(when)
    rows = [(len(own) - 1, (max(own) - min(own)).days / 7, (END - min(own)).days / 7) for own in days.values()]
    return PurchaseHistory(*np.array(rows, np.float64).T)
