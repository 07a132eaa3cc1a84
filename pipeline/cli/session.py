"""What every command begins with: its configuration, its dates, and a console that libraries leave alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from pipeline.runtime.nights import parse_cutoff

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config.settings import Settings


def settings_of(context: typer.Context) -> "Settings":
    """The configuration that `--config` names; its state, from now on, is for this user alone. Raises
    ConfigurationError.
    """
    from pipeline.config.settings import load_settings
    from pipeline.runtime.secret_files import make_private

    settings = load_settings(context.find_root().obj)
    make_private(settings.var)
    return settings


def date_of(text: str | None) -> datetime | None:
    """A cutoff as it was written on the command line. Raises ConfigurationError."""
    return None if text is None else parse_cutoff(text)


@contextmanager
def quietly(context: typer.Context) -> Iterator[tuple["Settings", "Console"]]:
    """The settings and the console, while what libraries print goes into a log."""
    settings = settings_of(context)

    from pipeline.cli.console import open_console
    from pipeline.cli.log_redirect import redirect_output

    with redirect_output(settings.state.logs / "recur.log") as stream:
        yield settings, open_console(stream)
