"""Networks with random weights, where it matters what is computed and not how good it is."""

from typing import Any

import numpy as np

from features.dataset import Dataset
from models import model_class
from models.labels import VALUES, observed_labels
from models.networks.value_scale import ValueScale
from models.recurrent.sequence_model import SequenceModel


def untrained(name: str, data: Dataset, **parameters: Any) -> SequenceModel:
    """The recurrent model of that name, its scalers fitted on the labelled `data`, every weight moved at random."""
    model = model_class(name)(data.horizons, 5, **parameters)
    assert isinstance(model, SequenceModel)
    labels = observed_labels(data.labels)
    model._prepare(data)
    model.values = {name: ValueScale.fit(getattr(labels, name)) for name in VALUES}
    model._build([0.0] * len(data.horizons))
    random = np.random.default_rng(11)
    for network in model.networks:
        network.set_weights([weight + random.normal(scale=0.3, size=weight.shape) for weight in network.get_weights()])
    return model
