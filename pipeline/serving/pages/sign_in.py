"""Sign-in for pages that leave loopback: one password, from the environment alone, by the browser's own dialogue."""

import base64
import binascii
import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any

VARIABLE = "RECUR_PAGES_PASSWORD"
OPEN = "/-/versions.json"  # for health checks: it holds nothing of a customer
Application = Callable[[Any, Any, Any], Awaitable[None]]


def password() -> str | None:
    """The password that the environment sets; None where it sets none."""
    return os.environ.get(VARIABLE) or None


def guarded(app: Application) -> Application:
    """`app`, whose pages but `OPEN` answer 401 without the password (any user name); `app` itself where none is set."""
    if (expected := password()) is None:
        return app

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] == OPEN or _has_password(scope["headers"], expected):
            await app(scope, receive, send)
            return
        headers = [(b"www-authenticate", b'Basic realm="Recur", charset="UTF-8"'), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"Sign in with the password of these pages."})

    return guard


def _has_password(headers: list[tuple[bytes, bytes]], expected: str) -> bool:
    kind, _, encoded = dict(headers).get(b"authorization", b"").partition(b" ")
    try:
        sent = base64.b64decode(encoded, validate=True).partition(b":")[2]
    except binascii.Error:
        return False
    return kind.lower() == b"basic" and hmac.compare_digest(sent, expected.encode())
