"""The command `recur`. Each command loads the configuration, then what it needs, then calls one function.

Nothing heavy is imported here, so that `recur --help` answers at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline.cli.exit_status import ended_after, exit_status
from pipeline.cli.quarantine_commands import quarantine_app
from pipeline.cli.session import date_of, quietly, settings_of
from pipeline.cli.upkeep.commands import backup, restore
from pipeline.runtime.errors import RecurError

app = typer.Typer(
    name="recur",
    help="What will each customer do next? Predictions from the sequence of what they did, every night.",
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(quarantine_app, name="quarantine")
app.command()(backup)
app.command()(restore)

GRACE_SECONDS = 2.0  # in which the database ends a statement by itself

Until = Annotated[str | None, typer.Option("--until", metavar="DATE", help="The last cutoff, as 2017-12-04.")]
Cutoff = Annotated[
    str | None,
    typer.Option("--cutoff", metavar="DATE", help="The cutoff, as 2017-12-04; else the last loaded night's."),
]
CustomerId = Annotated[str, typer.Argument(metavar="CUSTOMER_ID", help="The customer, as the source calls them.")]


@app.callback()
def recur(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="The configuration; else RECUR_CONFIG, else recur.toml here."),
    ] = None,
) -> None:
    context.obj = config
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def run(context: typer.Context, until: Until = None) -> None:
    """Run the DAGs in process for every night not yet done.

    In order, up to the source's last closed day; ends with the report. A second run does only what is new.
    """
    from pipeline.cli.main_job import run as run_nights

    settings = settings_of(context)
    moment = date_of(until)
    run_nights(settings, moment.date() if moment else None)


@app.command()
def ingest(context: typer.Context, until: Until = None) -> None:
    """Extract, validate and load the nights not yet loaded."""
    from pipeline.cli import single_steps

    with quietly(context) as (settings, console):
        single_steps.ingest(settings, console, date_of(until))


@app.command()
def train(context: typer.Context, cutoff: Cutoff = None) -> None:
    """Train every model as of a cutoff, compare and promote.

    The best on validation becomes champion if the gate allows.
    """
    from pipeline.cli import single_steps

    with quietly(context) as (settings, console):
        single_steps.train(settings, console, date_of(cutoff))


@app.command()
def score(context: typer.Context, cutoff: Cutoff = None) -> None:
    """Score a night with the champion, and publish it."""
    from pipeline.cli import single_steps

    with quietly(context) as (settings, console):
        single_steps.score(settings, console, date_of(cutoff))


@app.command()
def review(context: typer.Context, cutoff: Cutoff = None) -> None:
    """Hold predictions whose horizon has closed against reality."""
    from pipeline.cli import single_steps

    with quietly(context) as (settings, console):
        single_steps.review(settings, console, date_of(cutoff))


@app.command()
def query(
    context: typer.Context,
    sql: Annotated[
        str | None, typer.Argument(metavar="SQL", help="One SELECT; without it, the views are listed.")
    ] = None,
    form: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="How to print the rows.")] = "table",
) -> None:
    """Ask the predictions in SQL.

    Only the views can be read, and nothing can be written; time and rows are limited ([serving] query_seconds and
    query_rows). In CSV, a text that a spreadsheet would run as a formula
    begins with '; JSON has it as it is. Without SQL, the views and their columns are listed.
    """
    from pipeline.cli.console import open_console, print_table, print_views
    from pipeline.cli.output import write_csv, write_json
    from pipeline.serving.database import open_predictions
    from pipeline.serving.query import Limits
    from pipeline.serving.query import query as run_query
    from pipeline.serving.views import VIEWS

    settings = settings_of(context)
    if sql is None:
        columns = ["view", "column", "meaning"]
        rows: list[tuple[Any, ...]] = [(name, *pair) for name, view in VIEWS.items() for pair in view.columns.items()]
    else:
        limits = Limits(settings.serving.query_seconds, settings.serving.query_rows)
        line = f"the SQL cannot be run: a function in it takes longer than {limits.seconds:g} seconds"
        with ended_after(limits.seconds + GRACE_SECONDS, line):
            columns, rows = run_query(open_predictions(settings.predictions, settings.root), sql, limits)
    if form == "csv":
        write_csv(sys.stdout, columns, rows)
    elif form == "json":
        write_json(sys.stdout, columns, rows)
    elif sql is None:
        print_views(open_console(), VIEWS)
    else:
        print_table(open_console(), columns, rows)


@app.command()
def compare(
    context: typer.Context,
    form: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print the comparison.")] = "table",
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FILE", help="Also write every test row to FILE, as Parquet."),
    ] = None,
) -> None:
    """Show the last comparison of the models and its verdict."""
    import json

    from pipeline.cli.closing_report import print_comparison
    from pipeline.cli.console import open_console
    from pipeline.cli.output import copy_to
    from pipeline.steps.compare import last_comparison, last_predictions

    settings = settings_of(context)
    if predictions is not None:
        copy_to(last_predictions(settings.state), predictions)
    if form == "json":
        print(json.dumps(last_comparison(settings.state), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_comparison(last_comparison(settings.state), open_console())


@app.command()
def explain(context: typer.Context, customer_id: CustomerId) -> None:
    """Show one customer's score, history and reasons."""
    from pipeline.cli.closing_report import print_explanation
    from pipeline.cli.console import working
    from pipeline.scoring.explain import explain as explain_one

    with quietly(context) as (settings, console):
        with working(console, f"asking the champion about {customer_id}"), settings.state.writing():
            explanation = explain_one(settings, customer_id)
        print_explanation(console, explanation)


@app.command()
def forget(
    context: typer.Context,
    customer_id: CustomerId,
    readmit: Annotated[
        bool, typer.Option("--readmit", help="Instead take a forgotten customer's rows again from now on.")
    ] = False,
) -> None:
    """Erase one customer from all that the pipeline holds.

    Waits for the steps at work. What the source still sends of the customer is left out, until --readmit.
    """
    from pipeline.cli.console import working
    from pipeline.cli.forget import forget as forget_one
    from pipeline.cli.forget import readmit as readmit_one
    from pipeline.cli.upkeep.backup import backups_that_may_be_there

    with quietly(context) as (settings, console):
        if readmit:
            readmit_one(settings.state, customer_id)
            console.print(f"customer {customer_id} is readmitted: the source's rows of theirs are taken again")
            return
        with working(console, f"forgetting {customer_id}, once the steps at work have ended"):
            removed = forget_one(settings, customer_id)
        erased = ", ".join(f"{rows:,} from {place}" for place, rows in removed.items() if rows)
        if not erased:
            raise RecurError(f"customer {customer_id} is nowhere in what the pipeline holds: check the id")
        console.print(f"customer {customer_id} is forgotten: {erased}. Models already trained keep what they learned.")
        if backups := backups_that_may_be_there(settings.state):
            where = ", ".join(backups)
            console.print(f"Backups still hold them: {where}. Remove these, or forget again after a restore.")


@app.command()
def promote(
    context: typer.Context,
    version: Annotated[
        int | None,
        typer.Argument(metavar="[VERSION]", help="A registered version; else the newest.", show_default=False),
    ] = None,
) -> None:
    """Make a registered version the champion by hand."""
    from pipeline.steps.promote import promote_version
    from pipeline.training.registry import open_registry

    with quietly(context) as (settings, console):
        registry = open_registry(settings)
        if version is None:
            registered = registry.numbers()
            if not registered:
                raise RecurError("no model is registered yet: run `recur train` first")
            version = registered[-1]
        champion = promote_version(registry, version)
        console.print(f"the champion is {champion.label}; `recur score` publishes its scores")


@app.command()
def rollback(context: typer.Context) -> None:
    """Make the champion before the present one champion again."""
    from pipeline.training.registry import open_registry

    with quietly(context) as (settings, console):
        champion = open_registry(settings).roll_back()
        console.print(f"the champion is {champion.label} again; `recur score` publishes its scores")


@app.command()
def check(
    context: typer.Context,
    leaks: Annotated[bool, typer.Option("--leaks", help="Also look for the future in the loaded events.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read every byte that the pipeline reads again; run it between nights.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="As --deep, and make again what can be made again.")] = False,
    published_within: Annotated[
        float | None,
        typer.Option(metavar="HOURS", min=0, help="Also require that a night was published so many hours ago at most."),
    ] = None,
) -> None:
    """Check configuration, connections, permissions and leaks.

    Says what is wrong and how to fix it; exits with 1 where something is.
    """
    from pipeline.cli.checks import check as check_all
    from pipeline.cli.checks import print_results
    from pipeline.cli.upkeep.deep_checks import deep_checks

    with quietly(context) as (settings, console):
        deeper = deep_checks(settings, repair) if deep or repair else []  # first, since it repairs
        results = [*check_all(settings, leaks, published_within), *deeper]
        print_results(console, results)
    if any(result.state == "wrong" for result in results):
        raise typer.Exit(1)


@app.command()
def up(
    context: typer.Context,
    airflow_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Airflow's port; else 8080, or a free one.")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="MLflow's port; else 5000, or a free one.")
    ] = None,
    datasette_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="The analysts' page's port; else 8001, or a free one.")
    ] = None,
) -> None:
    """Serve Airflow, MLflow and the analysts' page on loopback."""
    from pipeline.cli.services.up import up as serve

    serve(settings_of(context), {"airflow": airflow_port, "mlflow": mlflow_port, "datasette": datasette_port})


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs a command and exits with 0, with 1 for a failed job, with 2 for unusable arguments or
    configuration. What went wrong is one line on standard error.
    """
    sys.exit(_status(arguments))


def _status(arguments: Sequence[str] | None) -> int:
    return exit_status(lambda: app(args=arguments, prog_name="recur", standalone_mode=False), arguments)


if __name__ == "__main__":
    main()
