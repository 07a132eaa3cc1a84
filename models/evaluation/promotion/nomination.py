"""How often a recipe must be clearly ahead of the champion's before it takes its place.

A 95 % interval passes an equal recipe in one training of forty, and a year of monthly trainings asks twelve times. So a
recipe that is clearly ahead is nominated first, and is judged again in the next trainings, on later test examples,
whichever recipe is best on validation then: a choice among many on the very months of its first success would not be a
second opinion. Where every recipe is fitted with several seeds, two trainings in a row are enough. One seed's interval
leaves out the chance in training, which between a network and another model was two to three times that of customers
(CDNOW): an equal recipe is then ahead in one training of four, and it takes four. `make check NAME=promotion` simulates
the years.
"""

from dataclasses import dataclass

from features.arrays import Floats, Integers, Mask
from models.evaluation.intervals import CustomerWeights, Interval, mean

TRAININGS, WITH_ONE_SEED = 2, 4


@dataclass(frozen=True)
class Nomination:
    """The recipe `name` was clearly ahead of the recipe `champion` in `trainings` in a row, the latest as of `cutoff`,
    on test cutoffs up to `tested`. Moments are in microseconds since 1970 in UTC.
    """

    name: str
    champion: str
    trainings: int
    cutoff: int
    tested: int


@dataclass(frozen=True, eq=False)
class Contest:
    """One training's part in a change of recipe: as of `cutoff`, with the `test_cutoffs [rows]`, against the recipe
    `champion`, with the nomination that earlier trainings left. A change takes `needed` trainings in a row, at least
    the primary `horizon` apart. Moments and spans are in microseconds.
    """

    champion: str
    cutoff: int
    test_cutoffs: Integers
    horizon: int
    needed: int
    nomination: Nomination | None = None

    @property
    def open_nomination(self) -> Nomination | None:
        """The nomination, if it was made against this champion."""
        return self.nomination if self.nomination and self.nomination.champion == self.champion else None

    @property
    def nominee(self) -> str | None:
        """The recipe that is judged before any other: the nominated one, once there are later examples to judge by."""
        standing = self.open_nomination
        is_due = standing and self.cutoff - standing.cutoff >= self.horizon and self._later(standing).any()
        return standing.name if standing and is_due else None

    def lead(self, name: str, gains: Floats, weights: CustomerWeights) -> Interval:
        """The mean of `gains [rows]`, the champion's log loss minus that of `name`: a nominee's on the later rows."""
        if name != self.nominee or not self.open_nomination:
            return mean(gains, weights)
        rows = self._later(self.open_nomination)
        return mean(gains[rows], weights.within(rows))

    def trainings(self, name: str, lead: Interval) -> int:
        """In how many trainings in a row, this one included, `name` was clearly ahead; 0 where it is not."""
        if lead.low is None or lead.low <= 0:
            return 0
        standing = self.open_nomination
        earlier = standing.trainings if standing and standing.name == name else 0
        return earlier + 1 if self.nominee == name else max(earlier, 1)

    def after(self, name: str, trainings: int) -> Nomination | None:
        """What is left to the next training when `name` was judged and is not promoted. A nominee that is not ahead
        again is none any longer; a nomination that was not due stays as it is.
        """
        if self.open_nomination and not self.nominee:
            return self.open_nomination
        if not trainings:
            return None
        return Nomination(name, self.champion, trainings, self.cutoff, int(self.test_cutoffs.max()))

    def _later(self, nomination: Nomination) -> Mask:
        return self.test_cutoffs > nomination.tested


def trainings_needed(seeds: int) -> int:
    """The trainings in a row that a change of recipe takes where every recipe is fitted with so many seeds."""
    return TRAININGS if seeds > 1 else WITH_ONE_SEED
