"""What every request to the pages passes before Datasette sees it, and what every answer bears."""

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.serving.pages.application import Application, header, refuse
from pipeline.serving.pages.formulas import without_formulas
from pipeline.serving.pages.sign_in import signed_in

HOSTS = "RECUR_PAGES_HOSTS"
"""The variable with further names by which the pages are called, as that of the proxy before them; by commas."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
METHODS = ("GET", "HEAD")
AT_ONCE = 64
TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",  # an address may hold a customer's id
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "private, no-store",
}


def protected(app: Application) -> Application:
    """`app` behind all guards: known hosts, reading methods, an end of requests at once, sign-in, no formulas."""
    guarded = called_by_name(_reading(_few_at_once(signed_in(without_formulas(app)))), HOSTS)
    return with_headers(guarded, {**HEADERS, "content-security-policy": _content_security_policy()})


def called_by_name(app: Application, variable: str) -> Application:
    """Refuses a request for another host than loopback or one that the environment's `variable` names: a page elsewhere
    may have let its own name lead here (DNS rebinding).
    """
    more = (name.strip().lower() for name in os.environ.get(variable, "").split(","))
    names = {*LOOPBACK, *filter(None, more)}

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        called = re.sub(r":\d+$", "", header(scope, b"host").decode("latin-1").strip().lower())
        if scope["type"] == "http" and called not in names:
            await refuse(send, 421, f"These pages are not called so: name the host in {variable}.")
        else:
            await app(scope, receive, send)

    return guard


def _reading(app: Application) -> Application:
    async def guard(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] not in METHODS:
            await refuse(send, 405, "Nothing can be written here.", (b"allow", ", ".join(METHODS).encode()))
        else:
            await app(scope, receive, send)

    return guard


def _few_at_once(app: Application) -> Application:
    at_work = 0

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        nonlocal at_work
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        if at_work >= AT_ONCE:
            await refuse(send, 503, "Too many requests at once: try again.", (b"retry-after", b"2"))
            return
        at_work += 1
        try:
            await app(scope, receive, send)
        finally:
            at_work -= 1

    return guard


def with_headers(app: Application, own: Mapping[str, str]) -> Application:
    """Every answer of `app` bears the headers `own`, by their names in lower case, in the place of its own."""
    added = [(name.encode(), value.encode()) for name, value in own.items()]

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        async def bearing(message: Any) -> None:
            if message["type"] == "http.response.start":
                theirs = [pair for pair in message.get("headers", ()) if pair[0].lower().decode("latin-1") not in own]
                message = {**message, "headers": [*theirs, *added]}
            await send(message)

        await app(scope, receive, bearing if scope["type"] == "http" else send)

    return guard


def _content_security_policy() -> str:
    """Nothing from elsewhere, no frame around a page, and of scripts within a page those that the templates hold.
    Styles within a page stay allowed: Datasette writes the names of columns into them.
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in _inline_scripts())
    scripts = " ".join(["'self'", *sorted({f"'sha256-{digest}'" for digest in digests})])
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


def _inline_scripts() -> Iterator[str]:
    """Those of Datasette's templates and of ours in which nothing is filled in, and the one that says of facets."""
    import datasette

    yield "DATASETTE_ALLOW_FACET = true;"
    for folder in (Path(datasette.__file__).parent / "templates", TEMPLATES):
        for file in sorted(folder.glob("*.html")):
            for script in re.findall(r"<script>(.*?)</script>", file.read_text("utf-8"), re.DOTALL):
                if "{{" not in script and "{%" not in script:
                    yield script
