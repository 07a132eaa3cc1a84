"""`recur quarantine`: what validation set aside and why, and again after a fix."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.session import at_work, settings_of

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.cli.replay import Change

quarantine_app = typer.Typer(help="What validation set aside and why, and again after a fix.", rich_markup_mode=None)

CHANGES_SHOWN = 20


@quarantine_app.command("list")
def quarantine_list(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option("--reason", metavar="REASON", help="This reason alone.")] = None,
    night: Annotated[str | None, typer.Option("--night", metavar="DATE", help="This night alone.")] = None,
    examples: Annotated[int, typer.Option("--examples", min=0, help="How many rows of each to show.")] = 1,
) -> None:
    """List what was set aside, by night, source and reason."""
    from pipeline.cli.console import console, table
    from pipeline.validation.quarantine import summary

    found = summary(settings_of(context), reason, night, examples)
    rows = [(one.night, one.source, one.reason, one.rows, "\n".join(one.examples)) for one in found]
    if rows:
        table(console(), ["night", "source", "reason", "rows", "examples"], rows)
    else:
        print("Nothing is in quarantine.")


@quarantine_app.command("replay")
def quarantine_replay(context: typer.Context) -> None:
    """Validate it once more, and load what passes today's rules.

    Ends with the customers whose scores changed.
    """
    from pipeline.cli.console import figure, working
    from pipeline.cli.replay import replay

    with at_work(context) as (settings, screen):
        with working(screen, "replaying the quarantine"):
            outcome = replay(settings)
        if not outcome.brought_back:
            screen.print("Nothing was in quarantine.")
            return
        for night, rows in outcome.brought_back.items():
            screen.print(f"{figure(night)}: {figure(rows)} rows brought back")
        if outcome.changes is None:
            screen.print("No champion may score the last loaded night, so no scores were compared.")
        elif any(outcome.brought_back.values()):
            _show(screen, outcome.changes)


def _show(screen: "Console", changes: "list[Change]") -> None:
    from pipeline.cli.console import figure, table

    screen.print(f"{figure(len(changes))} customers' scores changed as of the last loaded night")
    largest = sorted(changes, key=lambda one: (-abs((one.after or 0) - (one.before or 0)), one.customer_id))
    words = [
        (one.customer_id, *("not eligible" if value is None else f"{value:.4f}" for value in one[1:]))
        for one in largest[:CHANGES_SHOWN]
    ]
    if words:
        table(screen, ["customer", "churn before", "churn after"], words)
        screen.print("The predictions are as they were published: `recur score` publishes the last night again.")
