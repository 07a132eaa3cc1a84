"""Datasette's plugin: the dashboard at `/`, a customer at `/customer?customer_id=…`, and links to the latter."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from datasette import hookimpl
from datasette.utils.asgi import Request, Response
from markupsafe import Markup

from pipeline.serving.pages import reading, shown
from pipeline.serving.pages.accessible import accessible
from pipeline.serving.pages.charts import percent
from pipeline.serving.pages.sign_in import Application, guarded


@hookimpl
def register_routes() -> list[tuple[str, Any]]:
    return [(r"/$", dashboard), (r"/customer$", customer)]


@hookimpl
def asgi_wrapper() -> Callable[[Application], Application]:
    return guarded


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
