"""`recur quarantine`: what validation set aside and why, and again after a fix."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.session import quietly, settings_of

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
    from pipeline.cli.console import open_console, print_table
    from pipeline.validation.quarantine import quarantined

    summaries = quarantined(settings_of(context), reason, night, examples)
    rows = [(s.night, s.source, s.reason, s.rows, "\n".join(s.examples)) for s in summaries]
    if rows:
        print_table(open_console(), ["night", "source", "reason", "rows", "examples"], rows)
    else:
        print("Nothing is in quarantine.")


@quarantine_app.command("replay")
def quarantine_replay(context: typer.Context) -> None:
    """Validate it once more, and load what passes today's rules.

    Ends with the customers whose scores changed.
    """
    from pipeline.cli.console import formatted, working
    from pipeline.cli.replay import replay

    with quietly(context) as (settings, console):
        with working(console, "replaying the quarantine"), settings.state.writing():
            brought_back, changes = replay(settings)
        if not brought_back:
            console.print("Nothing was in quarantine.")
            return
        for night, rows in brought_back.items():
            console.print(f"{formatted(night)}: {formatted(rows)} rows brought back")
        if changes is None:
            console.print("No champion may score the last loaded night, so no scores were compared.")
        elif any(brought_back.values()):
            _print_changes(console, changes)


def _print_changes(console: "Console", changes: "list[Change]") -> None:
    from pipeline.cli.console import formatted, print_table

    console.print(f"{formatted(len(changes))} customers' scores changed as of the last loaded night")
    largest = sorted(changes, key=lambda change: (-abs((change.after or 0) - (change.before or 0)), change.customer_id))
    rows = [
        (change.customer_id, *("not eligible" if value is None else f"{value:.4f}" for value in change[1:]))
        for change in largest[:CHANGES_SHOWN]
    ]
    if rows:
        print_table(console, ["customer", "churn before", "churn after"], rows)
        console.print("The predictions are as they were published: `recur score` publishes the last night again.")
