"""The result of one check of `recur check`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CheckResult:
    """`wrong` stops the pipeline, `doubtful` is for a person to judge."""

    state: Literal["right", "doubtful", "wrong"]
    what: str
    words: str
