"""`recur quarantine`: what validation set aside and why, and again after a fix."""

import typer

from pipeline.session import at_work, settings_of

quarantine_app = typer.Typer(help="What validation set aside and why, and again after a fix.", rich_markup_mode=None)


@quarantine_app.command("list")
def quarantine_list(context: typer.Context) -> None:
    """List what was set aside, by night and reason."""
    from pipeline.quarantine import summary
    from pipeline.screen import console, table

    rows = summary(settings_of(context))
    if rows:
        table(console(), ["night", "reason", "rows", "example"], rows)
    else:
        print("Nothing is in quarantine.")


@quarantine_app.command("replay")
def quarantine_replay(context: typer.Context) -> None:
    """Validate it once more, and load what passes today's rules."""
    from pipeline.quarantine import replay
    from pipeline.screen import figure, working

    with at_work(context) as (settings, screen):
        with working(screen, "replaying the quarantine"):
            brought_back = replay(settings)
        if not brought_back:
            screen.print("Nothing was in quarantine.")
        for night, outcome in brought_back.items():
            screen.print(f"{figure(night)}: {figure(outcome)} rows brought back")
