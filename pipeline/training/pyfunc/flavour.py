"""MLflow's description of a version's artefact (`MLmodel`): that it is a python_function, by which of our modules it is
loaded, what it reads and gives, and an example to try it with.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.aggregates.definitions import told_apart
from features.dataset import Dataset, Sequences
from features.question import Question
from models.base import Model
from pipeline.sources.contract import Kind
from pipeline.training.pyfunc.loader import EVENTS, Predictor, example_of

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models.signature import ModelSignature

LOADER = "pipeline.training.pyfunc.loader"
EXAMPLE = "input_example.json"
OF_EVERY_EVENT = ("amount", "quantity", "event_type")


def write_flavour(folder: Path, model: Model, question: Question, data: Dataset, run_id: str) -> None:
    """Writes `MLmodel`, the input example and EVENTS into `folder`, for a fitted `model` that learned from examples
    such as `data`.
    """
    import mlflow.pyfunc
    from mlflow.models import Model as Description

    sequences = data.sequences
    attributes: dict[str, Kind] = {name: "numeric" for name in sequences.numeric if name not in OF_EVERY_EVENT}
    attributes |= {name: "categorical" for name in sequences.categorical if name not in OF_EVERY_EVENT}
    example = example_of(_usual_activity(sequences, question), attributes)
    values = told_apart(data.aggregates.columns, sequences.categorical)
    content = {"question": question.model_dump(mode="json"), "attributes": attributes, "told_apart": values}
    (folder / EVENTS).write_text(json.dumps(content, indent=2), "utf-8")
    (folder / EXAMPLE).write_text(example.to_json(orient="split", index=False, date_format="iso"), "utf-8")
    answer = Predictor(model, question, attributes, values).predict(example)
    description = Description(
        artifact_path="model",
        run_id=run_id,
        signature=_signature(example, answer, attributes),
        saved_input_example_info={"artifact_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split"},
    )
    mlflow.pyfunc.add_to_model(description, loader_module=LOADER)
    description.save(str(folder / "MLmodel"))


def _usual_activity(sequences: Sequences, question: Question) -> str | None:
    """The most frequent event type that makes a customer eligible; None where events have none."""
    if question.activity:
        return question.activity[0]
    codes, names = sequences.categorical["event_type"]
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    none = {*question.ends_with, *question.treatments}
    types = [str(names[code]) for code in np.argsort(-counts, kind="stable") if str(names[code]) not in none]
    return types[0] if types else None


def _signature(example: "pd.DataFrame", answer: "pd.DataFrame", attributes: dict[str, Kind]) -> "ModelSignature":
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    kinds = {"customer_id": DataType.string, "event_time": DataType.datetime, "event_type": DataType.string}
    kinds |= {name: DataType.string for name, kind in attributes.items() if kind == "categorical"}
    read: list[ColSpec | TensorSpec] = [
        ColSpec(kinds.get(name, DataType.double), name, required=name in ("customer_id", "event_time"))
        for name in map(str, example.columns)
    ]
    answered: list[ColSpec | TensorSpec] = [
        ColSpec(kinds.get(name, DataType.double), name) for name in map(str, answer.columns)
    ]
    return ModelSignature(Schema(read), Schema(answered), ParamSchema([ParamSpec("cutoff", DataType.string, "")]))
