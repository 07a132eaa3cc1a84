"""Datasette over the predictions, for the network of compose.yaml; its published port is on the host's loopback."""

import os

from pipeline.config.settings import load_settings
from pipeline.serving.database import open_predictions
from pipeline.serving.datasette import command

settings = load_settings()
predictions = open_predictions(settings.predictions, settings.root)
served = command(predictions, settings.state, port=8001, host="0.0.0.0", behind_loopback=True)
os.execv(served[0], served)
