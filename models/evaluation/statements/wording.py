"""Phrases that the sentences of all statements share."""

from models.evaluation.intervals import CustomerWeights
from models.evaluation.statements.differences import Difference


def limits(difference: Difference) -> str:
    """The 95 % interval, signed."""
    assert difference.low is not None
    assert difference.high is not None
    return f"95 % interval {difference.low:+.4f} to {difference.high:+.4f}"


def tested(weights: CustomerWeights) -> str:
    """What a statement rests on."""
    examples = f"{len(weights.unit):,} test examples of {weights.customers:,} customers"
    windows = f" in {weights.windows} windows" if weights.windows > 1 else ""
    return f"{examples}{windows}, {weights.seeds} seeds each" if weights.seeds > 1 else f"{examples}{windows}"


def caveats(difference: Difference, favoured: str, weights: CustomerWeights) -> str:
    """What a reader must know beside the figures: windows that disagree, and chance of training that was not seen."""
    sentences = ""
    if difference.disagrees:
        figures = ", ".join("none" if value is None else f"{value:+.4f}" for value in difference.windows)
        sentences += f" The windows disagree in sign: {figures} (positive favours {favoured})."
    if weights.seeds == 1:
        sentences += " Every model was fitted with one seed, so the interval leaves out the chance in training."
    return sentences
