"""A ledger of repeats: one JSON object a line, appended as each is done, so that a run which was stopped goes on and
several processes fill one file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Ledger:
    """`key` names the fields by which a record is known; of two with the same key the later counts."""

    def __init__(self, file: Path, key: Sequence[str]) -> None:
        self.file, self.key = file, tuple(key)

    def read(self) -> dict[tuple[Any, ...], dict[str, Any]]:
        """Key -> record, in order of the keys. What a stopped process wrote half is left out."""
        lines = self.file.read_text("utf-8").splitlines(keepends=True) if self.file.exists() else []
        records = [json.loads(line) for line in lines if line.endswith("}\n")]
        by_key = {tuple(record[name] for name in self.key): record for record in records}
        return dict(sorted(by_key.items()))

    def add(self, record: dict[str, Any]) -> None:
        """Append in one write, whole or not at all as far as other processes see."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        unended = self.file.exists() and not self.file.read_bytes().endswith(b"\n") and self.file.stat().st_size > 0
        with self.file.open("ab", buffering=0) as file:
            file.write((b"\n" if unended else b"") + json.dumps(record).encode() + b"\n")
