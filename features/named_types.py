"""The event types that the question names, held against those that there are."""

from collections.abc import Mapping

from features.question import Question

DECIDING = {
    "activity": "nobody is ever eligible",
    "comes_back_with": "everybody churns",
    "ends_with": "nobody churns",
}
"""Keys of the question of whose types one at least must occur, and what it comes to where none does."""
SHOWN = 10


def remarks_on_types(question: Question, there: Mapping[str, int]) -> list[str]:
    """What a reader should know of the types that the question names, in words; `there` counts the events of each type.
    Raises ValueError where no type of a key occurs that decides what churn is.
    """
    remarks = []
    for key in (*DECIDING, "event_types", "exclude_types"):
        names = getattr(question, key)
        absent = [name for name in names if name not in there]
        if not absent:
            continue
        named = ", ".join(map(repr, absent))
        words = f"question.{key} names {named}, and no event is of that type; there are {_listed(there)}"
        if key in DECIDING and len(absent) == len(names):
            raise ValueError(f"{words}: {DECIDING[key]}: name a type that occurs, or drop the key")
        remarks.append(words)
    return remarks


def _listed(there: Mapping[str, int]) -> str:
    most = sorted(there, key=lambda name: (-there[name], name))
    listed = ", ".join(f"{name} ({there[name]:,} events)" for name in most[:SHOWN])
    return f"{listed} and {len(most) - SHOWN} more" if len(most) > SHOWN else listed or "no events"
