"""An ASGI application, which answers a request, and what the guards around the pages have in common."""

from collections.abc import Awaitable, Callable
from typing import Any

Application = Callable[[Any, Any, Any], Awaitable[None]]


def header(message: Any, name: bytes) -> bytes:
    """The header `name` (in lower case) of a request's scope, or of a response's start; empty where there is none."""
    return next((bytes(value) for key, value in message.get("headers", ()) if key.lower() == name), b"")


async def refuse(send: Any, status: int, words: str, *headers: tuple[bytes, bytes]) -> None:
    """Answers with `words` alone."""
    plain = [(b"content-type", b"text/plain; charset=utf-8"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": plain})
    await send({"type": "http.response.body", "body": words.encode()})
