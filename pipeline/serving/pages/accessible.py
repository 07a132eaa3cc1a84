"""What Datasette's own pages lack for those who do not see them: names of fields and of scrolling parts, and headings
in order.
"""

from markupsafe import Markup

CHANGES = (
    ('<select name="_filter_column', '<select aria-label="filter by column" name="_filter_column'),
    ('<select name="_filter_op', '<select aria-label="how to compare" name="_filter_op'),
    ('<input type="text" name="_filter_value', '<input type="text" aria-label="with the value" name="_filter_value'),
    ('<select name="_sort"', '<select aria-label="sort by" name="_sort"'),
    ('<textarea id="sql-editor"', '<textarea aria-label="SQL" id="sql-editor"'),
    ('<pre id="sql-query"', '<pre tabindex="0" role="region" aria-label="SQL" id="sql-query"'),
    ('<div class="table-wrapper">', '<div class="table-wrapper" tabindex="0" role="region" aria-label="rows">'),
    ("<h3", "<h2"),
    ("</h3>", "</h2>"),
)


def accessible(html: Markup) -> Markup:
    """`html` as Datasette made it, with `CHANGES`: markup for markup, so nothing is escaped again."""
    text = str(html)
    for before, after in CHANGES:
        text = text.replace(before, after)
    return Markup(text)
