"""The role of PostgreSQL, `recur_reader`, under which analysts' SQL runs: it may read the views, and nothing else."""

from collections.abc import Iterable

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from pipeline.runtime.errors import RecurError
from pipeline.serving.views import READER

SERVER_RIGHTS = ("pg_read_server_files", "pg_write_server_files", "pg_execute_server_program")
"""Rights over the server's files and programs; a superuser has them all."""


def grant_to_readers(connection: Connection, views: Iterable[str]) -> None:
    """Makes the role where it is missing, lets it read the `views` alone, and lets this connection's role take it on.
    Raises RecurError, which says what an administrator has to run, where this connection may not.
    """
    schema = connection.scalar(text("select quote_ident(current_schema())"))
    statements = [] if _exists(connection) else [f"create role {READER} nologin"]
    if statements or not connection.scalar(text(f"select pg_has_role('{READER}', 'set')")):
        statements.append(f"grant {READER} to current_user")
    statements += [
        f"revoke all on all tables in schema {schema} from {READER}",
        f"grant usage on schema {schema} to {READER}",
        *(f"grant select on {view} to {READER}" for view in views),
    ]
    try:
        with connection.begin_nested():
            for statement in statements:
                connection.exec_driver_sql(statement)
    except DBAPIError as error:
        user = connection.scalar(text("select quote_ident(current_user)"))
        raise RecurError(
            f"the role {READER}, which reads the views, cannot be made ({_words(error)}): let an administrator run "
            f"`create role {READER} nologin; grant {READER} to {user}`"
        ) from None


def server_rights(connection: Connection) -> list[str]:
    """The rights over the server itself that this connection's own role has, and that its readers could get at."""
    return [
        right
        for right in SERVER_RIGHTS
        if connection.scalar(text("select pg_has_role(session_user, :right, 'member')"), {"right": right})
    ]


def _exists(connection: Connection) -> bool:
    return bool(connection.scalar(text("select count(*) from pg_roles where rolname = :name"), {"name": READER}))


def _words(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
