"""Splits by time: which cutoffs train, validate, calibrate and test, no slice reaching into the horizon of the one
before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from features.question import Question

SLICE = 4  # cutoffs of a test slice where the span allows as many; of the two slices before it where it is long
FEW = 2  # cutoffs of validation and of calibration elsewhere: each purge between slices costs training a horizon
AMPLE = 4  # training cutoffs for each test cutoff from which the span is long


@dataclass(frozen=True)
class Split:
    """Ascending cutoffs. The horizon of every cutoff of a slice ends by the first cutoff of the next: training,
    validation, calibration, test. Where the span is too short for that, calibration is the latest part of validation.
    """

    train: tuple[datetime, ...]
    valid: tuple[datetime, ...]
    calibrate: tuple[datetime, ...]
    test: tuple[datetime, ...]

    @property
    def shares(self) -> bool:
        """Whether calibration has no slice of its own, but is the latest part of validation."""
        return self.calibrate[-1] == self.valid[-1]


def rolling_origin(cutoffs: Sequence[datetime], question: Question, windows: int) -> tuple[Split, ...]:
    """Up to `windows` splits, oldest first, each tested on a later period than the one before.

    The test periods, from the first test cutoff until the last one's primary horizon closes, are disjoint. Where the
    span does not allow as many, there are fewer, the latest always; raises ValueError, as `split`, where it does not
    allow that.
    """
    splits = [split(cutoffs, question)]
    while len(splits) < windows:
        try:
            splits.insert(0, split(_closed_by(cutoffs, splits[0].test[0], question), question))
        except ValueError:
            break
    return tuple(splits)


def split(cutoffs: Sequence[datetime], question: Question) -> Split:
    """The latest slices of up to four cutoffs each for test, calibration and validation, the rest before for training.

    Validation and calibration have two cutoffs each where training would else have few, then one; then the test is
    shortened, until at least as many cutoffs are left for training. At the very last calibration gives up a slice of
    its own. At least the first training cutoff closes its longest horizon before validation, so that every horizon can
    be learnt. Raises ValueError where even then too few are left; `question.askable_from` says as of when they are not.
    """
    for size in range(SLICE, 0, -1):
        for side, enough in ((SLICE, AMPLE * SLICE), (FEW, size), (1, size)):
            found = _of_four(cutoffs, question, size, min(side, size))
            if found and _is_enough(found, question, enough):
                return found
    for size in range(SLICE, 0, -1):
        found = _of_three(cutoffs, question, size)
        if found and _is_enough(found, question, size):
            return found
    raise ValueError(
        f"the history allows {len(cutoffs)} cutoffs, too few for a training, a validation and a test slice that are a "
        f"horizon apart ({question.reach} days, and {question.longest_reach} after the first)"
    )


def require_purged(parts: Split, question: Question) -> None:
    """Raises ValueError, with the latest cutoff that would do, where one is too close to the next slice."""
    slices = [("training", parts.train), ("validation", parts.valid)]
    slices += [] if parts.shares else [("calibration", parts.calibrate)]
    for (name, cutoffs), (following, later) in pairwise([*slices, ("test", parts.test)]):
        latest = min(later) - timedelta(days=question.reach)
        if max(cutoffs) > latest:
            raise ValueError(
                f"the {name} cutoff {max(cutoffs).date()} is too close to the {following} slice, which begins on "
                f"{min(later).date()}: its horizon closes only after {question.reach} days; {latest.date()} would do"
            )


def remarks(splits: Sequence[Split], windows: int) -> list[str]:
    """What a reader should know of the splits, in words: fewer windows than asked, calibration without a slice."""
    said = []
    if len(splits) < windows:
        said.append(f"the history allows {len(splits)} of {windows} windows")
    if shared := [str(split.test[0].date()) for split in splits if split.shares]:
        said.append(
            f"the history before {' and '.join(shared)} is too short for a calibration slice of its own: "
            "calibration uses the latest part of validation"
        )
    return said


def _is_enough(found: Split, question: Question, cutoffs: int) -> bool:
    closes = found.train and found.train[0] + timedelta(days=question.longest_reach) <= found.valid[0]
    return bool(closes) and len(found.train) >= cutoffs


def _of_four(cutoffs: Sequence[datetime], question: Question, size: int, side: int) -> Split | None:
    test = tuple(cutoffs[-size:])
    calibrate = _closed_by(cutoffs, test[0], question)[-side:] if test else ()
    valid = _closed_by(cutoffs, calibrate[0], question)[-side:] if calibrate else ()
    return Split(_closed_by(cutoffs, valid[0], question), valid, calibrate, test) if valid else None


def _of_three(cutoffs: Sequence[datetime], question: Question, size: int) -> Split | None:
    test = tuple(cutoffs[-size:])
    valid = _closed_by(cutoffs, test[0], question)[-size:] if test else ()
    return Split(_closed_by(cutoffs, valid[0], question), valid, valid[size // 2 :], test) if valid else None


def _closed_by(cutoffs: Sequence[datetime], moment: datetime, question: Question) -> tuple[datetime, ...]:
    """The cutoffs whose primary horizon ends by `moment`."""
    reach = timedelta(days=question.reach)
    return tuple(cutoff for cutoff in cutoffs if cutoff + reach <= moment)
