"""The ten steps, each the function of its module's name. Their order stands here alone."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

NIGHTLY = ("extract", "validate", "load", "score", "publish", "review")
TRAINING = ("snapshot", "train", "compare", "promote")  # `train` once a model


def step(name: str) -> Callable[..., Any]:
    """The function of a step, imported now: steps are heavy."""
    function: Callable[..., Any] = getattr(import_module(f"pipeline.steps.{name}"), name)
    return function
