"""Datasette over the predictions, for the network of compose.yaml: it does not start without a password."""

import os

from pipeline.config.settings import load_settings
from pipeline.serving.database import open_predictions
from pipeline.serving.datasette import command, environment

settings = load_settings()
predictions = open_predictions(settings.predictions, settings.root)
served = command(predictions, settings.state, port=8001, host="0.0.0.0")
os.execve(served[0], served, {**os.environ, **environment(predictions)})
