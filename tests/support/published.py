"""A world's predictions store, and SQL over its views."""

from typing import Any

from pipeline.config.settings import Settings
from pipeline.serving import query as queries
from pipeline.serving.database import PredictionsStore, open_predictions


def predictions_of(settings: Settings) -> PredictionsStore:
    return open_predictions(settings.predictions, settings.root)


def query(settings: Settings, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    return queries.query(predictions_of(settings), sql)
