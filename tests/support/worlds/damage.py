"""Four ways in which a file is harmed."""

import shutil
from pathlib import Path

DAMAGES = ("deleted", "emptied", "truncated", "one bit")


def harm(file: Path, damage: str, at: float = 0.5) -> None:
    """Damages `file`; `at` is where, as a share of it: the bit that is flipped, or where it is cut. A folder can only
    be deleted.
    """
    if damage == "deleted":
        shutil.rmtree(file) if file.is_dir() else file.unlink()
        return
    content = bytearray(file.read_bytes())
    place = min(int(at * len(content)), len(content) - 1)
    if damage == "emptied":
        content = bytearray()
    elif damage == "truncated":
        content = content[:place]
    elif content:
        content[place] ^= 1 << place % 8
    file.write_bytes(content)
