"""The commands `recur backup` and `recur restore`. What they need is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.session import quietly


def backup(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder, outside of paths.var.")],
) -> None:
    """Copy all stores into a folder, consistently, while nights go on.

    Waits for the steps at work. The copy holds secrets and customers: keep it as private as paths.var.
    """
    from pipeline.cli.console import working
    from pipeline.cli.upkeep.backup import backup as back_up

    with quietly(context) as (settings, console):
        with working(console, f"copying to {folder}, between two steps"):
            made = back_up(settings, folder)
        console.print(f"{len(made['files']):,} files, up to the night {made['last_night']}, are copied to {folder}")
        for store in made["elsewhere"]:
            console.print(f"Not in it: {store}. Copy it now with the database's own tools: docs/operations.md")


def restore(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `recur backup` made.")],
) -> None:
    """Put a backup where the configuration keeps its stores.

    Every file is verified; nothing that is there already is touched.
    """
    from pipeline.cli.console import working
    from pipeline.cli.upkeep.restore import restore as put_back

    with quietly(context) as (settings, console):
        with working(console, f"restoring {folder}"):
            content = put_back(settings, folder)
        console.print(
            f"the state of {content['made_at']}, up to the night {content['last_night']}, is in {settings.var}"
        )
        console.print("Forget again who was forgotten since; `recur run` goes on from there.")
