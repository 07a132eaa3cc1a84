"""CSV that leaves the pages is guarded as on the command line: what a spreadsheet would run gets a ' before it."""

import csv
import io
from typing import Any
from urllib.parse import parse_qs

from pipeline.serving.pages.application import Application, header, refuse
from pipeline.serving.spreadsheets import harmless


def without_formulas(app: Application) -> Application:
    """`app`, whose CSV is rewritten row by row. Datasette sends it as text/csv, or as text/plain to be looked at."""

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not _asks_for_csv(scope):
            await app(scope, receive, send)
            return
        if "_trace" in parse_qs(_query(scope)):
            await refuse(send, 400, "CSV has no trace.")
            return
        waiting, is_csv = "", False

        async def rewriting(message: Any) -> None:
            nonlocal waiting, is_csv
            if message["type"] == "http.response.start":
                is_csv = header(message, b"content-type").startswith((b"text/csv", b"text/plain"))
            elif is_csv:
                waiting += message.get("body", b"").decode("utf-8", "replace")
                ended = not message.get("more_body", False)
                # A row is whole where its quotes are closed.
                whole = ended or (waiting.endswith("\n") and waiting.count('"') % 2 == 0)
                message = {**message, "body": _rewritten(waiting).encode() if whole else b""}
                waiting = "" if whole else waiting
            await send(message)

        await app(scope, receive, rewriting)

    return guard


def _asks_for_csv(scope: Any) -> bool:
    return str(scope["path"]).endswith(".csv") or "csv" in parse_qs(_query(scope)).get("_format", [])


def _query(scope: Any) -> str:
    return bytes(scope.get("query_string", b"")).decode("latin-1")


def _rewritten(text: str) -> str:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(
        [harmless(value) for value in row] for row in csv.reader(io.StringIO(text, newline=""))
    )
    return written.getvalue()
