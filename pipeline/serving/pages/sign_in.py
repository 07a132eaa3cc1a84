"""Sign-in to the pages: one password, from the environment alone, by the browser's own dialogue."""

import base64
import binascii
import hmac
import os
import time
from collections import deque
from typing import Any

from pipeline.serving.pages.application import Application, header, refuse

VARIABLE = "RECUR_PAGES_PASSWORD"
OPEN = "/-/versions.json"  # for health checks: it holds nothing of a customer
GUESSES, SECONDS, CLIENTS = 10, 60.0, 10_000


def password() -> str | None:
    """The password that the environment sets; None where it sets none."""
    return os.environ.get(VARIABLE) or None


def signed_in(app: Application) -> Application:
    """`app`, whose pages but `OPEN` answer 401 without the password (any user name); `app` itself where none is set.
    Who has guessed wrong `GUESSES` times within `SECONDS` is not heard until that long has passed.
    """
    if (expected := password()) is None:
        return app
    guesses = WrongGuesses()

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] == OPEN:
            await app(scope, receive, send)
            return
        client = str((scope.get("client") or ("",))[0])
        if wait := guesses.wait(client):
            words = f"Too many wrong passwords: try again in {wait} seconds."
            await refuse(send, 429, words, (b"retry-after", str(wait).encode()))
        elif _has_password(header(scope, b"authorization"), expected):
            # Nothing behind this guard needs it, and a log of an error may show the whole request.
            kept = [pair for pair in scope["headers"] if pair[0].lower() != b"authorization"]
            await app({**scope, "headers": kept}, receive, send)
        else:
            if header(scope, b"authorization"):
                guesses.add(client)
            asks = (b"www-authenticate", b'Basic realm="Recur", charset="UTF-8"')
            await refuse(send, 401, "Sign in with the password of these pages.", asks)

    return guard


class WrongGuesses:
    """The wrong passwords of late, by the address that sent them."""

    def __init__(self) -> None:
        self._moments: dict[str, deque[float]] = {}

    def wait(self, client: str) -> int:
        """For how many seconds `client` is not heard; 0 where it is."""
        moments = self._moments.get(client)
        if not moments or len(moments) < GUESSES:
            return 0
        left = moments[0] + SECONDS - time.monotonic()
        return int(left) + 1 if left > 0 else 0

    def add(self, client: str) -> None:
        if client not in self._moments and len(self._moments) >= CLIENTS:
            del self._moments[next(iter(self._moments))]  # the one that began longest ago
        self._moments.setdefault(client, deque(maxlen=GUESSES)).append(time.monotonic())


def _has_password(authorization: bytes, expected: str) -> bool:
    kind, _, encoded = authorization.partition(b" ")
    try:
        sent = base64.b64decode(encoded, validate=True).partition(b":")[2]
    except binascii.Error:
        return False
    return kind.lower() == b"basic" and hmac.compare_digest(sent, expected.encode())
