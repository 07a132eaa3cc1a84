"""Charts as inline SVG, made on the server: no script, no font and no request of its own.

A chart's SVG stretches with the page and holds shapes alone; the words stand around it in HTML, so that they keep their
size at any width. Every value has a tooltip, and a page puts the same figures in a table beside the chart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 1000.0, 300.0


@dataclass(frozen=True)
class Line:
    """A line's name, its CSS class, and its points: x and y, with y in the unit of its axis."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]


def lines(
    what: str,
    drawn: Sequence[Line],
    ticks: Sequence[tuple[float, str]],
    in_words: Callable[[float, float], str],
    top: float | None = None,
) -> Markup:
    """A chart of `drawn`, its y axis from 0 to `top` in shares of one, by default just above the highest point.

    `what` describes the chart in a sentence, for readers who cannot see it; `ticks` are the words under the x axis;
    `in_words` gives a point's tooltip. A chart without a point is empty text.
    """
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points]
    if not xs:
        return Markup("")
    left, right = min([*xs, *(x for x, _ in ticks)]), max([*xs, *(x for x, _ in ticks)])
    top = top or _just_above(max(ys))

    def on_canvas(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) if right > left else 0.5
        return round(20 + across * (WIDTH - 40), 1), round(HEIGHT - 8 - y / top * (HEIGHT - 16), 1)

    shapes = [
        Markup('<path class="grid" d="M0 {y}H{w}"/>').format(y=on_canvas(left, share * top)[1], w=WIDTH)
        for share in (0.0, 0.5, 1.0)
    ]
    for line in drawn:
        dots = [on_canvas(x, y) for x, y in line.points]
        path = "M" + "L".join(f"{x} {y}" for x, y in dots)
        shapes.append(Markup('<path class="line {style}" d="{path}"/>').format(style=line.style, path=path))
        shapes += [
            Markup('<path class="dot {style}" d="M{x} {y}h0"><title>{words}</title></path>').format(
                style=line.style, x=x, y=y, words=f"{line.name}: {in_words(*point)}"
            )
            for (x, y), point in zip(dots, line.points, strict=True)
        ]
    return Markup(
        '<div class="chart"><div class="y" aria-hidden="true"><span>{top}</span><span>{middle}</span><span>0</span>'
        '</div><svg role="img" aria-label="{what}" viewBox="0 0 {w} {h}" preserveAspectRatio="none">{shapes}</svg>'
        '<div class="x" aria-hidden="true">{ticks}</div></div>'
    ).format(
        top=percent(top),
        middle=percent(top / 2),
        what=what,
        w=WIDTH,
        h=HEIGHT,
        shapes=Markup("").join(shapes),
        ticks=Markup("").join(Markup("<span>{}</span>").format(words) for _, words in ticks),
    )


def interval(low: float | None, value: float, high: float | None, span: tuple[float, float], words: str) -> Markup:
    """One row of a chart of intervals: a bar from `low` to `high` and a dot at `value`, on an axis of `span`."""
    start, end = span

    def across(number: float) -> float:
        return round(2 + 96 * (number - start) / (end - start), 2) if end > start else 50.0

    bar = ""
    if low is not None and high is not None:
        bar = Markup('<path class="bar" d="M{low} 10H{high}"/>').format(low=across(low), high=across(high))
    return Markup(
        '<svg class="interval" role="img" aria-label="{words}" viewBox="0 0 100 20" preserveAspectRatio="none">{bar}'
        '<path class="dot" d="M{value} 10h0"><title>{words}</title></path></svg>'
    ).format(words=words, bar=bar, value=across(value))


def percent(share: float | None, digits: int | None = None) -> str:
    """A share in percent, by default with as many digits as tell small ones apart."""
    if share is None:
        return "-"
    hundredfold = 100 * share
    digits = digits if digits is not None else (0 if hundredfold >= 10 or hundredfold == round(hundredfold) else 1)
    return f"{hundredfold:.{digits}f} %"


def _just_above(highest: float) -> float:
    """The first of 1, 2, 4, 5, 10, 20, 40, 60, 80 and 100 % that is no less than `highest`."""
    return next((step for step in (0.01, 0.02, 0.04, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if step >= highest), 1.0)
