"""Writes what the documentation takes from the code and from measured results: docs/reference.md, and README's table.

`make docs` runs it. README's first table comes from docs/results/complete_journey.json, which is the output of
`recur compare --format json` after the main job; its second from benchmarks/results/real-data.json, which
`make bench NAME=real-data` writes; the two of worlds whose truth is known from docs/results/planted_worlds.json and
docs/results/lags.json, which `python -m tests.checks.evidence.planted_worlds --write` writes; that of worlds without
time from docs/results/null_worlds.json, which `python -m tests.checks.evidence.null_worlds --write` writes. That of
trials by hand comes from docs/results/development_trials.json, which is counted from docs/LOG.md by hand.
"""

import ast
import json
import sys
from collections.abc import Iterable, Iterator
from math import isnan, nan
from pathlib import Path
from statistics import fmean
from typing import Any

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
RESULTS = DOCS / "results" / "complete_journey.json"
REAL_DATA = DOCS.parent / "benchmarks" / "results" / "real-data.json"
PLANTED, LAGS = DOCS / "results" / "planted_worlds.json", DOCS / "results" / "lags.json"
NULL = DOCS / "results" / "null_worlds.json"
BY_HAND = DOCS / "results" / "development_trials.json"
TRIED_BY_HAND = (
    "**Tried by hand** ([each trial](docs/results/development_trials.json), counted from [the log](docs/LOG.md)): "
    "variants of each model judged on real sets during development, beside the tuning trials that a comparison counts "
    "(`spent` in its JSON), so that one can judge how much each side was worked on; those of all models add to each."
)
WHERE_THE_TRUTH_IS_KNOWN = (
    "**Where the truth is known** ([worlds](tests/support/worlds/planted_worlds.py) whose every customer's "
    "true probability of churn is given): the share of what can be gained over the base rate that each model gains, "
    "over all repeats, in how many of them the verdict said `recurrent`, and in how many the contribution said `adds`."
)
WHERE_NOTHING_IS_IN_TIME = (
    "**Where nothing is in time** ([worlds](tests/support/worlds/null_worlds.py) whose true probabilities follow from "
    "counts, recency, age or the calendar): how often a decision came, and how often it was false, that is, without "
    "the sign of the expected difference of those very fits under the true probabilities."
)
OF_EACH_CELL = "And by how many steps back each cell remembers what decides, where all after it means nothing (once):"
BEGIN, END = "<!-- results: written by make docs -->", "<!-- end of results -->"


def main() -> None:
    (DOCS / "reference.md").write_text(reference(), "utf-8")
    README.write_text(with_results(README.read_text("utf-8")), "utf-8")


def with_results(readme: str) -> str:
    """`readme` with the comparison's table and the verdicts between its two markers."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    files = (RESULTS, REAL_DATA, BY_HAND, PLANTED, LAGS, NULL)
    comparison, sets, trials, worlds, lags, null = (json.loads(file.read_text("utf-8")) for file in files)
    by_hand = ["", TRIED_BY_HAND, "", *development_trials(trials)]
    where_known = ["", WHERE_THE_TRUTH_IS_KNOWN, "", *planted(worlds), "", OF_EACH_CELL, "", *planted(lags), ""]
    where_known += [WHERE_NOTHING_IS_IN_TIME, "", *without_time(null), ""]
    lines = [*results(comparison), "", *real_data(sets), *by_hand, *where_known]
    return "\n".join([before + BEGIN, "", *lines, END]) + after


def real_data(benchmark: dict[str, Any]) -> Iterator[str]:
    """The comparisons on every real set as Markdown: log loss with its 95 % interval, a column a set, and verdicts."""
    titles = {"complete_journey": "Complete Journey", "cdnow": "CDNOW", "online_retail": "Online Retail II"}
    titles["git_commits"], sets = "Commits of three repositories", benchmark["comparisons"]
    losses = {
        name: {model["name"]: _interval(model["metrics"]["log_loss"]) for model in comparison["models"]}
        for name, comparison in sets.items()
    }
    families = {model["name"]: model["family"] for comparison in sets.values() for model in comparison["models"]}
    headings = [f"{titles[name]}, {comparison['question']['horizons'][0]} days" for name, comparison in sets.items()]
    rows = [[model, family, *(losses[name].get(model, "") for name in sets)] for model, family in families.items()]
    yield (
        f"**On {' and '.join(_windows_of(sets))}, each trained apart**, of three *development sets*: their tests were "
        f"printed often while this project was made (log loss; {_budget(sets)}):"
    )
    yield ""
    yield from _table(["model", "family", *headings], rows)
    for name, comparison in sets.items():
        yield ""
        yield f"**{titles[name]}.** " + " ".join(_statements(comparison))
    yield ""
    yield "Each statement's difference, over all windows and in each (positive favours recurrence):"
    yield ""
    most = max(len(comparison["windows"]) for comparison in sets.values())
    header = ["set", "statement", "difference", *(f"window {number + 1}" for number in range(most))]
    yield from _table(header, [[titles[name], *row] for name, each in sets.items() for row in _differences(each, most)])


def _statements(comparison: dict[str, Any]) -> list[str]:
    """The sentences of the verdict and, where its pools were run, of the contribution."""
    contribution = comparison.get("contribution", {})
    return [comparison["verdict"]["sentence"], *([contribution["sentence"]] if contribution.get("with") else [])]


def _differences(comparison: dict[str, Any], windows: int) -> Iterator[list[str]]:
    """A row a statement: what it is, its difference with its interval, and the difference in each window."""
    verdict, contribution = comparison["verdict"], comparison.get("contribution")
    if contribution is None:
        return
    apart = comparison["apart"]
    rows = {
        f"verdict, {verdict['best_recurrent']} against {verdict['best_conventional']}": verdict,
        "the same, intercept-adjusted": apart["verdict"]["intercept_adjusted_log_loss"],
        "the same, ROC AUC": apart["verdict"]["roc_auc"],
        f"mirror, {verdict['mirror']['best_recurrent']} against {verdict['mirror']['best_conventional']}": (
            verdict["mirror"]
        ),
    }
    if contribution["with"]:
        rows |= {
            f"contribution of {contribution['best_ranked']}": contribution,
            "contribution, intercept-adjusted": apart["contribution"]["intercept_adjusted_log_loss"],
            "contribution, ROC AUC": apart["contribution"]["roc_auc"],
            "its gain over its twin": contribution["twin"],
        }
    for title, figures in rows.items():
        if figures["difference"] is not None:
            interval = "" if figures["low"] is None else f" ({figures['low']:+.4f} to {figures['high']:+.4f})"
            by_window = [f"{value:+.4f}" if value is not None else "" for value in figures["windows"]]
            blanks = [""] * (windows - len(by_window))
            yield [title, f"{figures['difference']:+.4f}{interval}", *by_window, *blanks]


def _windows_of(sets: dict[str, Any]) -> list[str]:
    counts = list(dict.fromkeys(len(comparison["windows"]) for comparison in sets.values()))
    return [f"{count} forward window{'s' if count > 1 else ''}" for count in sorted(counts, reverse=True)]


def _budget(sets: dict[str, Any]) -> str:
    budgets = [comparison["budget"].split(", ") for comparison in sets.values()]
    return "; ".join(dict.fromkeys(", ".join(item for item in each if "windows" not in item) for each in budgets))


def results(comparison: dict[str, Any]) -> Iterator[str]:
    """The comparison as Markdown, best log loss first, every figure with its 95 % interval."""
    shown = {"log_loss": "log loss", "roc_auc": "ROC AUC", "calibration_error": "calibration error"}
    models = sorted(comparison["models"], key=lambda model: model["metrics"]["log_loss"]["value"])
    rows = [
        [
            model["name"],
            model["family"],
            *(_interval(model["metrics"][name]) for name in shown),
            f"{model['fit_seconds']:.0f}",
        ]
        for model in models
    ]
    yield from _table(["model", "family", *shown.values(), "seconds to fit"], rows)
    windows = ", ".join(
        f"{window['start'][:10]} to {window['end'][:10]} ({window['examples']:,} examples)"
        for window in comparison["windows"]
    )
    yield ""
    yield f"Test window: {windows}. In brackets 95 % intervals, resampled by customer."
    yield ""
    yield f"**Verdict.** {comparison['verdict']['sentence']}"
    for words in _statements(comparison)[1:]:
        yield ""
        yield f"**Contribution.** {words}"
    if comparison.get("left_out"):
        yield ""
        yield f"Left out of the main job: {'; '.join(comparison['left_out'])}."


def development_trials(trials: list[dict[str, Any]]) -> Iterator[str]:
    """By model, how many variants were tried by hand, and how many of these a test judged."""
    from models import MODELS

    def variants(some: list[dict[str, Any]]) -> str:
        return "at least " * any(each["at_least"] for each in some) + str(sum(each["variants"] for each in some))

    own = {name: [trial for trial in trials if trial["model"] == name] for name in (*MODELS, "all models")}
    on_a_test = {name: [trial for trial in some if "test" in trial["judged_on"]] for name, some in own.items()}
    rows = [[name, variants(some), variants(on_a_test[name])] for name, some in own.items()]
    yield from _table(["model", "variants tried by hand", "of these judged on a test"], rows)


def planted(worlds: dict[str, Any]) -> Iterator[str]:
    """Each model's mean share of what can be gained in a planted world, and how often the verdict was `recurrent` and
    the contribution `adds`.
    """
    models = list(dict.fromkeys(model for outcome in worlds.values() for model in outcome["shares"]))
    rows = []
    for world, outcome in worlds.items():
        means = (fmean(outcome["shares"].get(model, [nan])) for model in models)
        shares = ("" if isnan(mean) else f"{round(mean, 2) + 0:.2f}" for mean in means)  # no minus before 0.00
        said = (_said(outcome["decisions"], "recurrent"), _said(outcome.get("contributions", []), "adds"))
        rows.append([world.replace("-", " "), *shares, *said])
    yield from _table(["world", *models, "verdict `recurrent`", "contribution `adds`"], rows)


def without_time(sizes: dict[str, Any]) -> Iterator[str]:
    """How often each decision came in worlds without time, and how often it was false."""
    decisions = ("recurrent", "conventional", "adds", "harms")
    rows = [
        [
            f"{world.replace('-', ' ')}, {size} size",
            str(outcome["repeats"]),
            str(outcome["member_chosen"]),
            *(f"{outcome['decided'][name]} ({outcome['false'][name]} false)" for name in decisions),
        ]
        for size, worlds in sizes.items()
        for world, outcome in worlds.items()
    ]
    yield from _table(["world", "repeats", "member chosen", *(f"`{name}`" for name in decisions)], rows)


def _said(decisions: list[str], decision: str) -> str:
    return f"{decisions.count(decision)} of {len(decisions)}" if decisions else ""


def reference() -> str:
    """Every setting, model, feature, metric, rule, view, DAG and command, from where the code defines them."""
    return "\n".join(["# Reference", "", "Written by `make docs` from the code.", "", *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    from features.aggregates.definitions import definitions
    from features.question import Question
    from models import MODELS, model_class
    from models.evaluation.ablation import ABLATIONS
    from models.evaluation.details import DETAILS
    from models.evaluation.metrics import METRICS
    from models.evaluation.values import VALUE_METRICS
    from pipeline.config.settings import Settings
    from pipeline.serving.views import VIEWS
    from pipeline.validation.night_rules import night_rules
    from pipeline.validation.rules import CONFLICT, row_rules

    yield "## Configuration: `recur.toml`"
    for section, entry in Settings.model_fields.items():
        if section in ("root", "file"):
            continue
        kind: Any = entry.annotation
        yield from ["", f"### `[{section}]`", "", " ".join((kind.__doc__ or "").split()), ""]
        keys = [
            [f"`{key}`", _default(field.default), " ".join((field.description or "").split())]
            for key, field in kind.model_fields.items()
        ]
        yield from _table(["key", "default", "meaning"], keys)
    yield from ["", "## Models", ""]
    for name in MODELS:
        cls = model_class(name)
        words = cls.__doc__ if "__doc__" in vars(cls) and cls.__doc__ else sys.modules[cls.__module__].__doc__
        summary = " ".join((words or "").split("\n\n")[0].split())
        yield f"- **`{name}`** ({cls.family}; reads {' and '.join(cls.views)}): {summary}"
    yield from ["", "## Metrics", ""]
    yield from _table(["metric", "meaning"], [[f"`{name}`", words] for name, words in METRICS.items()])
    for introduction, names in (
        ("Beside them, in the report, in MLflow and in `details` of the comparison:", DETAILS),
        ("For expected purchases and spend, in `values`:", VALUE_METRICS),
        (
            "By how much log loss changes when a sequence model's histories are altered, in `log_loss_change`:",
            ABLATIONS,
        ),
    ):
        yield from ["", introduction, ""]
        yield from _table(["figure", "meaning"], [[f"`{name}`", words] for name, words in names.items()])
    yield from [
        "",
        "## Aggregates",
        "",
        "As of the cutoff; all lengths in days, windows `[cutoff - N days, cutoff)`.",
        "",
    ]
    question = Question(event_types=("return",), calendar=True)
    features = definitions(question.spec({"items": "numeric", "store": "categorical"}))
    yield from _table(["feature", "definition"], [[f"`{name}`", words] for name, words in features.items()])
    yield from [
        "",
        "What is shown for the attributes `items` and `store` is there for every attribute of a source. What is shown "
        "for the event type `return`, and `days_since_activity`, is there for the types that `[question]` names in "
        "`activity`, `ends_with` or `event_types`; the calendar of the cutoff where `[question] calendar` asks for it.",
        "",
    ]
    yield from [
        "## Row rules",
        "",
        "A row for which one of these holds is set aside with its reason; the first counts.",
        "",
    ]
    mapped = ["event_id", "customer_id", "event_time", "known_time", "event_type", "amount", "quantity"]
    rules = [*row_rules(mapped, {}, nobody=["0"]), CONFLICT]
    yield from _table(["reason", "meaning"], [[f"`{rule.code}`", rule.description] for rule in rules])
    yield from [
        "",
        "## Night rules",
        "",
        "A night that breaks one is refused, none of it is loaded. Shares of rows set aside count by column too. The "
        "last four stand where seven days of the last four weeks had events, and for what is not chance once in 10,000 "
        "nights; weekdays are held against their like, twice the longest silence and busiest day before are no news.",
        "",
    ]
    many = dict.fromkeys(("rows_read", "events_accepted", "baseline_a_day", "usual", "usual_low", "usual_high"), 1e12)
    none = dict.fromkeys(("mix_noise", "amount_absent_rise", "longest_silence", "busiest_day", "late"), 0.0)
    night = night_rules({**many, **none}, [], Settings().validation, True)
    yield from _table(["what", "limit by default"], [[rule.description, rule.limits()] for rule in night])
    yield from ["", "## Views"]
    for name, view in VIEWS.items():
        yield from ["", f"### `{name}`", "", view.description, ""]
        yield from _table(["column", "meaning"], [[f"`{column}`", words] for column, words in view.columns.items()])
    yield from ["", "## DAGs", ""]
    for file in sorted((DOCS.parent / "dags").glob("[a-z]*.py")):
        yield f"- **`{file.stem}`**: {' '.join(_docstring(file).split())}"
    yield from ["", "## Commands", ""]
    yield from _table(["command", "what it does"], _commands())


def _commands() -> Iterator[list[str]]:
    from typer.main import get_command

    from pipeline.cli.app import app

    def walk(command: Any, path: str) -> Iterator[list[str]]:
        for name, sub in sorted(getattr(command, "commands", {}).items()):
            if getattr(sub, "commands", None):
                yield from walk(sub, f"{path} {name}")
            else:
                arguments = " ".join(
                    (p.metavar or p.name or "").upper() for p in sub.params if p.param_type_name == "argument"
                )
                words = " ".join((sub.help or "").split("\f")[0].split())
                yield [f"`{path} {name}{' ' if arguments else ''}{arguments}`", words]

    return walk(get_command(app), "recur")


def _docstring(file: Path) -> str:
    return ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""


def _interval(metric: dict[str, float]) -> str:
    return f"{metric['value']:.4f} ({metric['low']:.4f} to {metric['high']:.4f})"


def _default(value: Any) -> str:
    return "" if value is None else f"`{json.dumps(value)}`"


def _table(header: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


if __name__ == "__main__":
    main()
