"""Tables of the documentation whose rows tests run."""

from tests.support.plain_reading import ROOT


def rows_of_table(document: str, heading: str) -> list[tuple[str, ...]]:
    """The rows of the first table below `## heading` in docs/`document`, without its head. A cell in backquotes is what
    stands between them, blanks included.
    """
    text = (ROOT / "docs" / document).read_text("utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [tuple(map(_cell, line.strip("|").split("|"))) for line in lines[2:]]


def _cell(text: str) -> str:
    text = text.strip()
    return text[1:-1] if text.startswith("`") else text
