"""Splits by time: which cutoffs train, validate and test, no slice reaching into the horizon of the one before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from features.question import Question

SLICE = 4  # cutoffs of a validation or test slice where the span allows as many


@dataclass(frozen=True)
class Split:
    """Ascending cutoffs. The horizon of every training cutoff ends by the first validation cutoff, and that of every
    validation cutoff by the first test cutoff.
    """

    train: tuple[datetime, ...]
    valid: tuple[datetime, ...]
    test: tuple[datetime, ...]


def rolling_origin(cutoffs: Sequence[datetime], question: Question, windows: int) -> tuple[Split, ...]:
    """Up to `windows` splits, oldest first, each tested on a later period than the one before.

    The test periods, `[first test cutoff, last test cutoff + primary horizon)`, are disjoint. Where the span does not
    allow as many, there are fewer, the latest always; raises ValueError, as `split`, where it does not allow that.
    """
    horizon = timedelta(days=question.primary)
    splits = [split(cutoffs, question)]
    while len(splits) < windows:
        earlier = [cutoff for cutoff in cutoffs if cutoff + horizon <= splits[0].test[0]]
        try:
            splits.insert(0, split(earlier, question))
        except ValueError:
            break
    return tuple(splits)


def split(cutoffs: Sequence[datetime], question: Question) -> Split:
    """The latest slices of up to four cutoffs each for test and validation, the rest before them for training.

    Slices are shortened until at least as many cutoffs are left for training as for test. Raises ValueError, which
    says how many more days of history are needed, where even single cutoffs leave none.
    """
    horizon = timedelta(days=question.primary)
    for size in range(SLICE, 0, -1):
        test = tuple(cutoffs[-size:])
        valid = tuple(cutoff for cutoff in cutoffs if test and cutoff + horizon <= test[0])[-size:]
        train = tuple(cutoff for cutoff in cutoffs if valid and cutoff + horizon <= valid[0])
        if len(train) >= size:
            return Split(train, valid, test)
    step = timedelta(days=question.cutoff_every)
    # Each purge costs a horizon, rounded up to the grid.
    needed = 2 * -(-horizon // step) * step
    span = cutoffs[-1] - cutoffs[0] if cutoffs else -step
    missing = (needed - span) // timedelta(days=1)
    raise ValueError(
        f"the history allows {len(cutoffs)} cutoffs, too few for a training, a validation and a test slice a horizon "
        f"of {question.primary} days apart: bring at least {missing} more days, or shorten horizons or active_within"
    )
