"""The suppression list: who was forgotten stays out when the source sends them again.

It holds no id but a keyed digest of each (HMAC-SHA-256): ids can be enumerated, so that a plain digest would tell who
is on the list. The key is a secret of its own; its own digest stands first, so that another key is noticed.
"""

import hmac
import re
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.runtime.errors import RecurError
from pipeline.runtime.parquet import Mask, remove_rows
from pipeline.runtime.paths import StateFolder, atomically
from pipeline.runtime.secret_files import secret

KEY_CHECK = "the key of this list"
TOKENS = re.compile(r"""[^\s,;|"':{}\[\]<>=]+""")  # of a line that could not be taken apart


class Suppression:
    """The list as it is when this is made."""

    def __init__(self, state: StateFolder) -> None:
        self._state, self._file = state, state.path / "suppressed" / "customers"
        lines = self._file.read_text("utf-8").split() if self._file.exists() else []
        if lines and lines[0] != self._digest(KEY_CHECK):
            raise RecurError(
                f"the key {state.path / 'secrets' / 'erasure'} is not that of {self._file}: restore it, or who was "
                "forgotten would come back"
            )
        self._digests = set(lines[1:])
        self._answers: dict[str, bool] = {}

    def names(self, customer_id: str | None) -> bool:
        """Whether the customer is on the list."""
        if not self._digests or not customer_id:
            return False
        if (answer := self._answers.get(customer_id)) is None:
            answer = self._answers[customer_id] = self._digest(customer_id.strip()) in self._digests
        return answer

    def add(self, customer_id: str) -> bool:
        """Puts the customer on the list; whether they were not on it."""
        if self.names(customer_id):
            return False
        self._write(self._digests | {self._digest(customer_id.strip())})
        return True

    def remove(self, customer_id: str) -> bool:
        """Takes the customer off the list; whether they were on it."""
        if not self.names(customer_id):
            return False
        self._write(self._digests - {self._digest(customer_id.strip())})
        return True

    def remove_from(self, path: Path) -> int:
        """Removes the rows about those on the list from a Parquet file of a source's rows; how many there were."""
        return remove_rows(path, self._about) if self._digests else 0

    def _about(self, table: pa.Table) -> Mask:
        column = table["customer_id"]
        listed = [name for name in pc.unique(column).to_pylist() if self.names(name)]
        about = pc.is_in(column, pa.array(listed, column.type))
        if "unreadable" in table.schema.names:
            lines = [
                bool(line) and any(map(self.names, TOKENS.findall(line))) for line in table["unreadable"].to_pylist()
            ]
            about = pc.or_(about, pa.chunked_array([pa.array(lines, pa.bool_())]))
        return about

    def _digest(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()

    @cached_property
    def _key(self) -> bytes:
        return secret(self._state, "erasure").encode()

    def _write(self, digests: set[str]) -> None:
        with atomically(self._file) as temporary:
            temporary.write_text("\n".join([self._digest(KEY_CHECK), *sorted(digests)]) + "\n", "utf-8")
        self._digests, self._answers = digests, {}
