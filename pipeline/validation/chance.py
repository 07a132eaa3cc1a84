"""What chance alone makes of few events: how far a night's figures may lie from what a limit says of the source."""

from math import log, sqrt

RARE = 1e-4
"""A night is refused only for what chance would bring less often than this to a source that is as ever."""

MANY, DEVIATIONS = 1e5, 3.72
"""Above so many, a Poisson law is a normal one, and RARE cases lie so many standard deviations from the mean."""


def fewest(expected: float) -> int:
    """The least count that a Poisson law of this mean gives but for RARE cases."""
    from scipy.special import pdtr, pdtrik

    if expected > MANY:
        return int(expected - DEVIATIONS * sqrt(expected))
    if expected <= 0 or pdtr(0, expected) > RARE:
        return 0
    return int(pdtrik(RARE, expected))


def most(expected: float) -> int:
    """The largest count that a Poisson law of this mean gives but for RARE cases."""
    from scipy.special import pdtrik

    if expected > MANY:
        return int(expected + DEVIATIONS * sqrt(expected)) + 1
    return int(pdtrik(1 - RARE, expected)) + 1 if expected > 0 else 0


def silence(a_day: float) -> float:
    """The days without an event that a source of so many events a day has but in RARE cases; infinite for none."""
    return -log(RARE) / a_day if a_day > 0 else float("inf")


def share_noise(events: float) -> float:
    """By how much a share, or half the distance between two mixes, moves among so many events but in RARE cases
    (McDiarmid's inequality).
    """
    return sqrt(-log(RARE) / (2 * max(events, 1)))
