"""Datasette's plugin: the dashboard at `/`, a customer at `/customer?customer_id=…`, and links to the latter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from datasette import handle_exception, hookimpl
from datasette.utils.asgi import Request, Response
from markupsafe import Markup

from pipeline.serving.pages import reading, shown
from pipeline.serving.pages.application import Application
from pipeline.serving.pages.charts import percent
from pipeline.serving.pages.copy import keep_up_to_date
from pipeline.serving.pages.limits import WatchedThreads, limit
from pipeline.serving.pages.protection import protected

CHANGES = (
    ('<select name="_filter_column', '<select aria-label="filter by column" name="_filter_column'),
    ('<select name="_filter_op', '<select aria-label="how to compare" name="_filter_op'),
    ('<input type="text" name="_filter_value', '<input type="text" aria-label="with the value" name="_filter_value'),
    ('<select name="_sort"', '<select aria-label="sort by" name="_sort"'),
    ('<textarea id="sql-editor"', '<textarea aria-label="SQL" id="sql-editor"'),
    ('<pre id="sql-query"', '<pre tabindex="0" role="region" aria-label="SQL" id="sql-query"'),
    ('<div class="table-wrapper">', '<div class="table-wrapper" tabindex="0" role="region" aria-label="rows">'),
    ("<h3", "<h2"),
    ("</h3>", "</h2>"),
)
"""What Datasette's own pages lack for those who do not see them: names of fields and of scrolling parts, and headings
in order.
"""


@hookimpl
def register_routes() -> list[tuple[str, Any]]:
    return [(r"/$", dashboard), (r"/customer$", customer)]


@hookimpl
def asgi_wrapper() -> Callable[[Application], Application]:
    return protected


@hookimpl
def startup(datasette: Any) -> None:
    handle_exception.rich = None  # it would write every wrong address and statement into the log, with all variables
    datasette.executor = WatchedThreads(datasette.setting("num_sql_threads"))
    keep_up_to_date(Path(datasette.get_database().path))


@hookimpl
def prepare_connection(conn: Any) -> None:
    limit(conn)


@hookimpl
def extra_template_vars(datasette: Any) -> dict[str, Any]:
    return {
        "database_name": datasette.get_database().name,
        "accessible": accessible,
        "percent": percent,
        "points": shown.points,
    }


@hookimpl
def render_cell(value: Any, column: str, datasette: Any) -> Markup | None:
    """A customer's id, wherever it stands, leads to the customer's page; a fraction is shown with four figures."""
    if column == "customer_id" and value is not None:
        path = f"{datasette.urls.path('/customer')}?{urlencode({'customer_id': value})}"
        return Markup('<a href="{path}">{value}</a>').format(path=path, value=value)
    if isinstance(value, float):
        return Markup('<span title="{value}">{short}</span>').format(value=value, short=f"{value:.4g}")
    return None


async def dashboard(datasette: Any, request: Request) -> Response:
    read = await datasette.get_database().execute_fn(reading.dashboard)
    return Response.html(await datasette.render_template("dashboard.html", shown.dashboard(read), request=request))


async def customer(datasette: Any, request: Request) -> Response:
    customer_id = (request.args.get("customer_id") or "").strip()
    read = await datasette.get_database().execute_fn(lambda connection: reading.customer(connection, customer_id))
    variables = shown.customer(customer_id, read)
    return Response.html(await datasette.render_template("customer.html", variables, request=request))


def accessible(html: Markup) -> Markup:
    """`html` as Datasette made it, with `CHANGES`: markup for markup, so nothing is escaped again."""
    text = str(html)
    for before, after in CHANGES:
        text = text.replace(before, after)
    return Markup(text)
