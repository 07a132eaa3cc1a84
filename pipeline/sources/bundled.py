"""Data sets that a package ships as files. The package is found and never imported; DuckDB queries its files."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb

from pipeline.runtime.engine import literal, session
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder


def package_folder(package: str, advice: str) -> Path:
    """The folder of an installed package. Raises RecurError with `advice` where it is not installed."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RecurError(advice)
    return Path(spec.submodule_search_locations[0])


@dataclass(frozen=True)
class BundledFiles:
    """The file or folder at `path`; `fix` is what to do where it cannot be read."""

    path: Path
    fix: str
    state: StateFolder

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises RecurError where the files cannot be read."""
        with session(self.state) as connection:
            try:
                return connection.execute(sql).fetchall()
            except duckdb.Error as error:
                raise RecurError(f"{self.path} cannot be read: {str(error).splitlines()[0]}: {self.fix}") from None

    def copy(self, rows: str, path: Path) -> int:
        """Writes the rows of a query as Parquet to `path` and returns how many there are."""
        [(written,)] = self.query(f"copy ({rows}) to {literal(path)} (format parquet)")
        return int(written)
