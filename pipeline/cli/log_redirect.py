"""Redirects what libraries print and log into a file, and leaves the console to what a person wants to read.

TensorFlow, LightGBM and Airflow write past Python's own streams, so the process's file descriptors are turned too.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_kept_open: list[TextIO] = []


@contextmanager
def redirect_output(log: Path) -> Iterator[TextIO]:
    """Within the block, standard output and error append to `log`; yields the console, as a stream to write to."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    before = sys.stdout, sys.stderr
    console = _copy(sys.stdout)
    descriptors = {number: os.dup(number) for number in (1, 2)}
    file = log.open("a", encoding="utf-8", buffering=1)
    _kept_open.append(file)  # libraries hold on to the stream and write to it until the process ends
    try:
        for number in descriptors:
            os.dup2(file.fileno(), number)
        sys.stdout = sys.stderr = file
        yield console
    finally:
        console.flush()
        sys.stdout, sys.stderr = before
        for number, saved in descriptors.items():
            os.dup2(saved, number)
            os.close(saved)


def _copy(stream: TextIO) -> TextIO:
    """A stream to where `stream` leads now: on a copy of its file descriptor, or itself where it has none."""
    try:
        return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, buffering=1)
    except io.UnsupportedOperation:
        return stream
