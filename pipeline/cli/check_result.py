"""What a check tells a person of one thing that it looked at."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `wrong` stops the pipeline, `doubtful` is for a person to judge."""

    state: Literal["right", "doubtful", "wrong"]
    what: str
    words: str
