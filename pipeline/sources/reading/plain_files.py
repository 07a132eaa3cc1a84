"""A file as the engine reads it: unpacked, in UTF-8, from its header on, one object of JSON a line. What is none of
these is rewritten beside; what cannot be is named, with what to do.
"""

import gzip
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import duckdb

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import RecurError

ENDS_IN_GZ = ".gz"
SNIFFED, BATCH = 4096, 10_000
ZIP = b"PK\x03\x04"
SIGNATURES = {
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the sheet as CSV (UTF-8)",
    b"%PDF": "a PDF: export the rows as CSV",
    b"SQLite format 3\0": 'an SQLite database: set source.kind = "sql"',
    b"PAR1": 'a Parquet file: set source.kind = "parquet"',
    b"\xff\xfe": 'text in UTF-16: set source.encoding = "utf-16"',
    b"\xfe\xff": 'text in UTF-16: set source.encoding = "utf-16"',
}
"""What a file is that begins so, and what to do."""
PAGES = (b"<!doctype", b"<html", b"<?xml", b"<table")


class Form(NamedTuple):
    """How a file is written: its kind, its encoding, and the line of its header."""

    kind: str
    encoding: str = "utf-8"
    header_row: int = 1


@contextmanager
def plain(path: Path, folder: Path, form: Form) -> Iterator[Path]:
    """The file at `path` as the engine reads it, for as long as the block runs: itself, else rewritten in `folder`.
    Raises RecurError where it cannot be.
    """
    made: list[Path] = []
    try:
        if _begins_with(path, ZIP) and not _is_workbook(path):
            made.append(folder / "unpacked")
            made[-1] = path = _unpack(path, folder)
        header_row = form.header_row + (form.kind == "csv" and form.header_row == 1 and _names_its_delimiter(path))
        if form.encoding != "utf-8" or header_row > 1:
            made.append(folder / f"rewritten-{path.name.removesuffix(ENDS_IN_GZ)}")
            _rewrite_text(path, made[-1], form.encoding, header_row)
            path = made[-1]
        if form.kind == "json_lines" and (layout := _layout(path)) is not None:
            made.append(folder / f"rewritten-lines-{path.name.removesuffix(ENDS_IN_GZ)}")
            _rewrite_json(path, made[-1], layout)
            path = made[-1]
        yield path
    finally:
        for file in made:
            file.unlink(missing_ok=True)


def named(path: Path, kind: str) -> str | None:
    """What a file is that is none of its `kind`, with what to do; None where nothing shows that."""
    with path.open("rb") as file:
        head = file.read(SNIFFED)
    if kind == "parquet":
        return None
    if head.startswith(ZIP):
        return "an Excel workbook: save the sheet as CSV (UTF-8)"
    if head.startswith(b"\x1f\x8b"):
        return None if path.suffix == ENDS_IN_GZ else "compressed by gzip: let its name end in .gz"
    for begins, what in SIGNATURES.items():
        if head.startswith(begins):
            return what
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES):
        return "a page of HTML or XML: download the file itself, a sign-in or error page may have come in its place"
    if kind == "csv" and re.match(rb"\s*(\{\s*\"|\[\s*\{)", head.removeprefix(b"\xef\xbb\xbf")):
        return 'JSON: set source.kind = "json_lines"'
    if head[1::2].count(0) > len(head) / 4 > head[::2].count(0):
        return 'text in UTF-16: set source.encoding = "utf-16-le"'
    return None


def _rewrite_text(path: Path, target: Path, encoding: str, header_row: int) -> None:
    """Writes the text of a file to `target` in UTF-8, from the line `header_row` on. Bytes that are no UTF-8 where the
    file should be stay as they are. Raises RecurError where the file is not in `encoding`, or has too few lines.
    """
    opener: Any = gzip.open if path.suffix == ENDS_IN_GZ else open
    decoding, errors = ("utf-8-sig", "surrogateescape") if encoding == "utf-8" else (encoding, "strict")
    try:
        with (
            opener(path, "rt", encoding=decoding, errors=errors, newline="") as file,
            target.open("w", encoding="utf-8", errors=errors, newline="") as plain,
        ):
            for _ in range(header_row - 1):
                next(file)
            shutil.copyfileobj(file, plain, 1 << 20)
    except StopIteration:
        raise RecurError(f"{path} has fewer than {header_row} lines: set source.header_row to its header's") from None
    except UnicodeError as error:
        what = named(path, "csv") or f"not in {encoding} ({str(error).splitlines()[0]}): set source.encoding to its own"
        raise RecurError(f"{path} is {what}") from None
    except OSError as error:
        raise RecurError(f"{path} cannot be read: {error}: fix it, or set source.path") from None


def _begins_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _is_workbook(path: Path) -> bool:
    with path.open("rb") as file:
        return b"[Content_Types].xml" in file.read(SNIFFED) or path.suffix in (".xlsx", ".xlsm")


def _unpack(path: Path, folder: Path) -> Path:
    """Unpacks the only file in a zip archive into `folder`. Raises RecurError where it holds another number."""
    try:
        with ZipFile(path) as archive:
            members = [
                info
                for info in archive.infolist()
                if not info.is_dir() and not info.filename.startswith("__MACOSX/") and "/." not in f"/{info.filename}"
            ]
            if len(members) != 1:
                names = ", ".join(info.filename for info in members[:5]) or "none"
                raise RecurError(f"{path} is a zip archive of {len(members)} files ({names}): unpack it first")
            target = folder / f"unpacked-{Path(members[0].filename).name}"
            with archive.open(members[0]) as member, target.open("wb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
            return target
    except (BadZipFile, OSError, RuntimeError, NotImplementedError) as error:  # damaged, or behind a password
        raise RecurError(f"{path} is a zip archive that cannot be read: {error}: unpack it first") from None


def _head(path: Path) -> bytes:
    """The first bytes of a text file, b"" where they cannot be read, which its reader says then."""
    opener: Any = gzip.open if path.suffix == ENDS_IN_GZ else open
    try:
        with opener(path, "rb") as file:
            head: bytes = file.read(SNIFFED)
    except (OSError, EOFError):
        return b""
    return head.removeprefix(b"\xef\xbb\xbf")


def _names_its_delimiter(path: Path) -> bool:
    """Whether the first line is no header, but says to Excel what stands between columns."""
    return re.match(rb'"?sep=."?\r?\n', _head(path)) is not None


def _layout(path: Path) -> str | None:
    """How the engine calls the layout of a file of JSON that has not one object a line; None where it has."""
    head = _head(path).lstrip()
    if re.match(rb"\[\s*\{", head):
        return "array"
    return "unstructured" if re.match(rb"\{[ \t]*\r?\n", head) else None


def _rewrite_json(path: Path, target: Path, layout: str) -> None:
    """Writes the objects of a file of JSON to `target`, one a line. Raises RecurError where it is no JSON."""
    query = f"select json(json)::varchar from read_json_objects({literal(path)}, format = {literal(layout)})"
    with duckdb.connect() as connection, target.open("w", encoding="utf-8") as file:
        try:
            objects = connection.execute(query)
            while rows := objects.fetchmany(BATCH):
                file.writelines(f"{line}\n" for (line,) in rows)
        except duckdb.Error as error:
            raise RecurError(f"{path} cannot be read as JSON: {str(error).splitlines()[0]}: fix it") from None
