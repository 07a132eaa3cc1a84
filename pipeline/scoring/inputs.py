"""What scoring works from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

from ibis.backends.sql import SQLBackend

from features.question import Question
from pipeline.config.settings import Settings
from pipeline.event_store.store import EventStore, open_store
from pipeline.runtime.engine import connect
from pipeline.runtime.paths import StateFolder


@dataclass(frozen=True)
class ScoringInputs:
    """The events, the question that the champion answers, the folder of the carried state, and the engine that reads
    whole histories.
    """

    store: EventStore
    question: Question
    state: StateFolder
    connect: Callable[[], SQLBackend]

    @classmethod
    def open(cls, settings: Settings) -> Self:
        return cls(open_store(settings), settings.question, settings.state, partial(connect, settings))
