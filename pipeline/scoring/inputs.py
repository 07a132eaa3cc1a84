"""What scoring works from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Self

from features.question import Question
from features.spec import FeatureSpec
from pipeline.config.settings import Settings
from pipeline.datasets.engine import Engine, open_engine
from pipeline.event_store.store import EventStore, open_store
from pipeline.runtime.paths import StateFolder


@dataclass(frozen=True)
class ScoringInputs:
    """Events, the champion's question, the folder of carried state, and the engine for whole histories."""

    store: EventStore
    question: Question
    state: StateFolder
    engine: Callable[[], Engine]

    @classmethod
    def open(cls, settings: Settings) -> Self:
        engine = partial(open_engine, settings.run.engine, settings.spark, settings.state)
        return cls(open_store(settings), settings.question, settings.state, engine)

    @cached_property
    def spec(self) -> FeatureSpec:
        return self.store.spec(self.question)
