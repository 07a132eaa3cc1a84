"""Where MLflow's database says that files lie: absolute addresses, which a copy of the state must not keep."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.runtime.errors import RecurError
from pipeline.training.tracking import ANYWHERE, EXPERIMENT

ARTEFACTS = "mlartifacts"


def relocate(database: Path, before: Path | str, after: Path | str) -> int:
    """In every text of MLflow's SQLite `database`, replaces the state folder `before`, as a path or as an address, by
    `after`. The database is rewritten, so that no free page keeps the earlier text. Gives how many values changed.
    """
    changed = 0
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        for table, column in _texts(connection):
            for old, new in _forms(before, after):
                changed += connection.execute(
                    f'update "{table}" set "{column}" = replace("{column}", ?, ?) where instr("{column}", ?)',
                    (old, new, old),
                ).rowcount
        connection.execute("commit")
        if changed:
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")
    return changed


def strays(database: Path, var: Path) -> list[Path | str]:
    """The folders, other than `var`, as whose artefacts MLflow's SQLite `database` keeps those of its runs: where the
    state lay before it was moved or copied, or `ANYWHERE` where the file was taken out of a backup.
    """
    query = (
        "select artifact_location from experiments where name = :name union select artifact_uri from runs "
        "join experiments using (experiment_id) where experiments.name = :name and runs.lifecycle_stage = 'active'"
    )
    if not database.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            if ("experiments", "name") not in _texts(connection):
                return []
            addresses = [address for (address,) in connection.execute(query, {"name": EXPERIMENT}) if address]
    except sqlite3.Error as error:
        raise RecurError(f"{database} cannot be read ({error}): put it back from a backup") from None
    paths = [Path(unquote(urlsplit(address).path)) for address in addresses if address.startswith(("file:", "/"))]
    folders = {path for path in paths if not path.is_relative_to(var)}
    nowhere = [ANYWHERE] if any(address.startswith(f"{ANYWHERE}-") for address in addresses) else []
    return [*nowhere, *sorted({Path(str(path).split(f"/{ARTEFACTS}")[0]) for path in folders})]


def _forms(before: Path | str, after: Path | str) -> list[tuple[str, str]]:
    """The address first: a path without special characters is a part of it."""
    return list(zip(_addresses(before), _addresses(after), strict=True))


def _addresses(folder: Path | str) -> tuple[str, str]:
    """With a slash at the end, so that a folder of a longer name is none of its."""
    if isinstance(folder, Path):
        return f"{folder.as_uri()}/", f"{folder}/"
    return f"{folder}-address:/", f"{folder}-path:/"


def _texts(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = connection.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
    return [
        (table, column)
        for (table,) in tables.fetchall()
        for _, column, kind, *_ in connection.execute(f'pragma table_info("{table}")')
        if not kind or "CHAR" in kind.upper() or "TEXT" in kind.upper()
    ]
