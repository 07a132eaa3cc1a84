"""The evidence as pictures: matplotlib Figures, made without pyplot so that nothing global is left behind.

Every function takes churn `labels [examples]` and, by model name, churn probabilities `[examples]`, unless it says
otherwise, and raises what `metrics.checked` raises. Where a curve is undefined, its axes say why.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from models.evaluation.metrics import BINS, HIGHER_IS_BETTER, METRICS, Floats, calibration_bins, checked

Probabilities = Mapping[str, ArrayLike]
SIZE = (7.0, 6.0)
PANELS_A_ROW = 3
ONE_CLASS = "undefined: these examples hold one class only"
NOBODY_CHURNED = "undefined: nobody churned in these examples"
REFERENCE: dict[str, Any] = {"color": "0.6", "linestyle": "--", "linewidth": 1}


def roc(labels: ArrayLike, probabilities: Probabilities) -> Figure:
    """Share of churners found against share of stayers ranked as high."""
    figure, axes = _figure("ROC", "stayers ranked as high (false positive rate)", "churners found (true positive rate)")
    axes.plot([0, 1], [0, 1], label="no skill", **REFERENCE)
    for curve in _curves(axes, labels, probabilities, ONE_CLASS):
        stayers = len(curve.labels) - curve.churners[-1]
        if not stayers:
            _write(axes, ONE_CLASS)
            continue
        x, y = (curve.chosen - curve.churners) / stayers, curve.churners / curve.churners[-1]
        axes.plot(x, y, label=curve.name, color=_colour(curve.number))
    return _finished(figure, axes)


def precision_recall(labels: ArrayLike, probabilities: Probabilities) -> Figure:
    """Share of churners among those chosen against share of churners found."""
    figure, axes = _figure("Precision and recall", "churners found (recall)", "churners among those chosen (precision)")
    for curve in _curves(axes, labels, probabilities):
        if curve.number == 0:
            axes.axhline(curve.labels.mean(), label="no skill", **REFERENCE)
        x, y = curve.churners / curve.churners[-1], np.r_[1.0, curve.churners[1:] / curve.chosen[1:]]
        axes.plot(x, y, label=curve.name, color=_colour(curve.number))
    return _finished(figure, axes)


def calibration(labels: ArrayLike, probabilities: Probabilities) -> Figure:
    """Observed churn against predicted churn, in ten bins of equal size: the bins of the calibration error."""
    figure, axes = _figure("Calibration", "predicted probability of churn (bin mean)", "observed churn (bin mean)")
    axes.plot([0, 1], [0, 1], label="perfect", **REFERENCE)
    for number, (name, values) in enumerate(probabilities.items()):
        truth, probability = checked(labels, values)
        if not len(truth):
            _write(axes, "undefined: there are no examples")
            continue
        bins = calibration_bins(probability)
        sizes = np.bincount(bins, minlength=BINS)
        filled = sizes > 0
        predicted = np.bincount(bins, probability, BINS)[filled] / sizes[filled]
        observed = np.bincount(bins, truth, BINS)[filled] / sizes[filled]
        axes.plot(predicted, observed, label=name, color=_colour(number), marker="o", markersize=4)
    return _finished(figure, axes)


def gain(labels: ArrayLike, probabilities: Probabilities) -> Figure:
    """Share of churners found against share of customers approached, most at risk first."""
    figure, axes = _figure("Gain", "customers approached, most at risk first", "churners found")
    axes.plot([0, 1], [0, 1], label="at random", **REFERENCE)
    for curve in _curves(axes, labels, probabilities):
        if curve.number == 0:
            axes.plot([0, curve.labels.mean(), 1], [0, 1, 1], label="perfect", color="0.6", linestyle=":", linewidth=1)
        x, y = curve.chosen / len(curve.labels), curve.churners / curve.churners[-1]
        axes.plot(x, y, label=curve.name, color=_colour(curve.number))
    return _finished(figure, axes)


def training_curves(curves: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """One panel a measure, one line a model and network. `curves` maps a model's name to measure to value an epoch or
    round, as `Model.curves` holds them, those of its second network as `measure_2`; models without curves are left out.
    """
    measures = list(dict.fromkeys(measure for lines in curves.values() for measure in lines))
    panel_of = {measure: _first_network(measure, measures) for measure in measures}
    panels = list(dict.fromkeys(panel_of.values()))
    rows, columns = -(-len(panels) // PANELS_A_ROW) or 1, min(len(panels), PANELS_A_ROW) or 1
    figure = Figure(figsize=(5.0 * columns, 4.0 * rows))
    figure.subplots_adjust(left=0.75 / (5 * columns), right=1 - 0.2 / (5 * columns), hspace=0.35, wspace=0.2)
    axes_of = dict(zip(panels, figure.subplots(rows, columns, squeeze=False).flat, strict=False))
    for panel, axes in axes_of.items():
        axes.set(title=panel, xlabel="epoch or round")
    for number, (name, lines) in enumerate(curves.items()):
        for measure, curve in lines.items():
            panel, values = panel_of[measure], np.asarray(curve, dtype=np.float64)
            label = name if measure == panel else None
            axes_of[panel].plot(np.arange(1, len(values) + 1), values, label=label, color=_colour(number))
    for axes in axes_of.values():
        axes.legend(fontsize="small")
    for axes in figure.axes[len(panels) :]:
        axes.axis("off")
    if not panels:
        _write(figure.axes[0], "no model of this comparison learns in epochs or rounds")
    return figure


def horizons(observed: Mapping[int, float], predicted: Mapping[str, Mapping[int, float]]) -> Figure:
    """The share that churns within each horizon, in days: as observed, and the mean prediction of each model."""
    figure = Figure(figsize=SIZE)
    axes = figure.subplots()
    axes.set(title="Churn against the horizon", xlabel="horizon in days", ylabel="mean probability of churn")
    days = sorted(observed)
    axes.plot(days, [observed[day] for day in days], color="black", marker="s", linewidth=2, label="observed")
    for number, (name, means) in enumerate(predicted.items()):
        axes.plot(days, [means[day] for day in days], label=name, color=_colour(number), marker="o", markersize=4)
    axes.set_xticks(days)
    return _finished(figure, axes)


def ablations(document: Mapping[str, Any]) -> Figure:
    """By how much the log loss of each sequence model changes under each ablation, with 95 % intervals.
    `document` is the comparison as JSON, with `log_loss_change`.
    """
    models = [model for model in document["models"] if model["log_loss_change"]]
    names = list(dict.fromkeys(name for model in models for name in model["log_loss_change"]))
    figure = Figure(figsize=(8.0, 2.0 + 0.3 * max(len(models), 1) * max(len(names), 1)), layout="constrained")
    axes = figure.subplots()
    axes.set(title="Is it time?", xlabel="log loss when altered minus log loss as it is")
    axes.axvline(0, **REFERENCE)
    for number, model in enumerate(models):
        for name, change in model["log_loss_change"].items():
            y = names.index(name) + 0.8 * (number + 0.5) / len(models) - 0.4
            label = model["name"] if name == names[0] else None
            _with_limits(axes, change, y, color=_colour(number), label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    if not models:
        _write(axes, "no model of this comparison reads sequences")
    return _finished(figure, axes)


def comparison(document: Mapping[str, Any]) -> Figure:
    """Every metric of every model with its 95 % interval, best first, and the verdict, of `Comparison.to_json()`."""
    models = list(document["models"])
    figure = Figure(figsize=(13.0, 3.0 + 0.5 * len(models)), layout="constrained")
    colours = {model["name"]: _colour(number) for number, model in enumerate(models)}
    for axes, metric in zip(figure.subplots(2, 3).flat, METRICS, strict=True):
        figures = {model["name"]: model["metrics"][metric] for model in models}
        names = [name for name in figures if figures[name]["value"] is not None]
        names.sort(key=lambda name: (figures[name]["value"], name), reverse=metric in HIGHER_IS_BETTER)
        for y, name in enumerate(names):
            _with_limits(axes, figures[name], y, color=colours[name])
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_title(f"{metric} ({'higher' if metric in HIGHER_IS_BETTER else 'lower'} is better)", fontsize="medium")
        if not names:
            _write(axes, "undefined on these examples")
    figure.supxlabel(document["verdict"]["sentence"], fontsize="medium", wrap=True)
    return figure


@dataclass(frozen=True)
class _Curve:
    """One model's counts from 0, at every distinct probability from the highest down: chosen, and churners found."""

    number: int
    name: str
    chosen: Floats
    churners: Floats
    labels: Floats


def _curves(
    axes: Axes, labels: ArrayLike, probabilities: Probabilities, undefined: str = NOBODY_CHURNED
) -> Iterator[_Curve]:
    """Of each model; without a churner none, and the axes say that they are `undefined`."""
    for number, (name, values) in enumerate(probabilities.items()):
        truth, probability = checked(labels, values)
        if not truth.any():
            _write(axes, undefined)
            continue
        order = np.argsort(-probability, kind="stable")
        ends = np.flatnonzero(np.r_[np.diff(probability[order]) != 0, True])
        yield _Curve(number, name, np.r_[0.0, ends + 1], np.r_[0.0, np.cumsum(truth[order])[ends]], truth)


def _colour(number: int) -> Any:
    return colormaps["tab10"](number % 10)


def _first_network(measure: str, measures: list[str]) -> str:
    """The measure of a model's first network, where `measure` is that of another of its networks; else itself."""
    first, _, number = measure.rpartition("_")
    return first if number.isdecimal() and first in measures else measure


def _figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE)  # a layout that is worked out draws everything twice
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    return figure, axes


def _with_limits(axes: Axes, interval: Mapping[str, Any], y: float, color: Any, label: str | None = None) -> None:
    axes.plot(interval["value"], y, "o", color=color, label=label)
    if interval["low"] is not None:
        axes.plot([interval["low"], interval["high"]], [y, y], color=color)


def _write(axes: Axes, words: str) -> None:
    if not axes.texts:
        axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes)


def _finished(figure: Figure, axes: Axes) -> Figure:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
    return figure
