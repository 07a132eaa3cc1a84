"""What libraries print and log goes into a file; the screen is left to what a person wants to read.

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
def chatter_into(log: Path) -> Iterator[TextIO]:
    """Within the block, standard output and error append to `log`; yields the screen, as a stream to write to."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    before = sys.stdout, sys.stderr
    screen = _screen(sys.stdout)
    descriptors = {number: os.dup(number) for number in (1, 2)}
    file = log.open("a", encoding="utf-8", buffering=1)
    _kept_open.append(file)  # libraries keep the stream that they found and write to it until the process ends
    try:
        for number in descriptors:
            os.dup2(file.fileno(), number)
        sys.stdout = sys.stderr = file
        yield screen
    finally:
        screen.flush()
        sys.stdout, sys.stderr = before
        for number, saved in descriptors.items():
            os.dup2(saved, number)
            os.close(saved)


def _screen(stream: TextIO) -> TextIO:
    """Where `stream` leads now: a copy of its file descriptor, or the stream itself where it has none."""
    try:
        return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, buffering=1)
    except io.UnsupportedOperation:
        return stream
