"""Texts that a spreadsheet would run as formulas: customers' ids come from other people."""

from typing import Any

_CALLS = {"(", "|", "!"}


def harmless(value: Any) -> Any:
    """`value`, or, where it is a text that a spreadsheet would run as a formula, the same with a ' before it. +49 151,
    -5 and @anna are left: only calls, pipes and references to other sheets do something.
    """
    if isinstance(value, str) and (
        value[:1] in ("=", "\t", "\r") or (value[:1] in ("+", "-", "@") and _CALLS & {*value})
    ):
        return f"'{value}"
    return value
