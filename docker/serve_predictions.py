"""Datasette over the predictions, for the network of compose.yaml; its published port is on the host's loopback."""

import os

from pipeline.config.settings import load_settings
from pipeline.serving.datasette import command

served = command(load_settings(), port=8001, host="0.0.0.0", behind_loopback=True)
os.execv(served[0], served)
