"""Whether a run can come to anything: what the source holds as it was read, a history to learn from, and in the end
something trained or served.
"""

from sqlalchemy import select

from features.askable import shortened
from features.named_types import remarks_on_types
from features.question import Question
from pipeline.config.sections import Validation
from pipeline.config.settings import Settings
from pipeline.event_store.objects import loaded_nights
from pipeline.runtime.engine import session
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY
from pipeline.serving import tables
from pipeline.serving.database import open_predictions
from pipeline.sources.columns.described import described
from pipeline.sources.columns.located import listed
from pipeline.sources.contract import EventSource, Span
from pipeline.training.snapshot import finished_trainings
from pipeline.validation.leaks import CheckResult
from pipeline.validation.night_rules import ROWS_ALWAYS_ALLOWED
from pipeline.validation.preview import Preview, preview
from pipeline.validation.rules import NOBODY

UNNAMED = ("customer_id_missing", "customer_id_placeholder")
"""Reasons that a source may have for many of its rows, as a till for the customers without a card."""


def source_checks(settings: Settings, source: EventSource) -> list[CheckResult]:
    """How each column of the source was read, what would be set aside, and whether the question can be asked of it."""
    span, values = source.span(), source.values()
    types: dict[str, int] | None = None
    results = []
    if values is not None:
        with session(settings.state) as connection:
            for column in described(connection, values, settings.source):
                results += [CheckResult("right", column.name, column.words)]
                results += [CheckResult("doubtful", column.name, doubt) for doubt in column.doubts]
            judged = preview(connection, values.rows, settings.source, values.columns, span.closed + DAY)
            if values.unmapped:
                results.append(CheckResult("right", "columns", f"not mapped: {listed(values.unmapped)}"))
        results.append(_set_aside(judged, settings.validation))
        types = judged.types
    return [*results, *_question(settings, span, types)]


def _set_aside(judged: Preview, limits: Validation) -> CheckResult:
    """As before a night of it is loaded, and without what only a night as a whole shows. Wrong where more would be set
    aside than a night may have.
    """
    words = f"{judged.rows:,} rows"
    reasons = [
        f"{each.rows:,} since {each.rule.description} ({each.rule.code})"
        + (f", as {each.example!r}" if each.example is not None else "")
        for each in judged.set_aside
    ]
    if not reasons:
        return CheckResult("right", "rows", f"{words}, none to be set aside")
    words = f"{words}; set aside: {'; '.join(reasons)}"
    expected = {NOBODY.code, *limits.expected_reasons}
    unexpected = [each for each in judged.set_aside if each.rule.code not in expected]
    if sum(each.rows for each in unexpected) > max(limits.max_quarantined_share * judged.rows, ROWS_ALWAYS_ALLOWED):
        words += (
            f": nights of which more than {limits.max_quarantined_share:.1%} are set aside are refused "
            "(validation.max_quarantined_share)"
        )
        if (code := unexpected[0].rule.code) in UNNAMED:
            words += f': where many rows are of nobody, set validation.expected_reasons = ["{code}"]'
        return CheckResult("wrong", "rows", words)
    return CheckResult("doubtful" if unexpected else "right", "rows", words)


def _question(settings: Settings, span: Span, types: dict[str, int] | None) -> list[CheckResult]:
    question = settings.question
    results = []
    if types is not None and (question.types or question.exclude_types):
        try:
            results = [CheckResult("doubtful", "question", remark) for remark in remarks_on_types(question, types)]
        except ValueError as error:
            results = [CheckResult("wrong", "question", str(error))]
    if settings.run.first_night is None and not loaded_nights(settings.events):
        try:
            require_askable(question, span)
        except RecurError as error:
            results.append(CheckResult("wrong", "question", str(error)))
    can = f"can be asked as of {question.askable_from(span.first_event).date()} or later"
    return results or [CheckResult("right", "question", can)]


def require_meaningful(checks: list[CheckResult]) -> None:
    """Raises RecurError where the question cannot be asked of the source, before any night is worked through."""
    for check in checks:
        if check.what == "question" and check.state == "wrong":
            raise RecurError(check.words)


def require_something(settings: Settings) -> None:
    """Raises RecurError, with the reason, where nothing could be trained and nothing is served."""
    predictions = open_predictions(settings.predictions, settings.root)
    if predictions.published_nights() or finished_trainings(settings.state, settings.question.digest):
        return
    step = tables.step_run.c
    why = select(step.message).where(step.step == "snapshot", step.status == "skipped")
    with predictions.reading() as connection:
        reason = connection.scalar(why.order_by(step.started_at.desc()).limit(1))
    nights = len(loaded_nights(settings.events))
    reason = reason or "no training was tried"
    raise RecurError(f"{nights} nights are loaded, but nothing could be trained, and nothing is served: {reason}")


def require_askable(question: Question, span: Span) -> None:
    """Raises RecurError where the source as a whole is too short for a training, before any night is worked through."""
    first, closed = span
    if (since := question.askable_from(first)) <= closed:
        return
    shorter = shortened(question, first, closed)
    advice = "no shorter question can be asked of so few days"
    if shorter is not None:
        lengths = {name: getattr(shorter, name) for name in ("active_within", "cutoff_every", "gap")}
        changed = {name: days for name, days in lengths.items() if days != getattr(question, name)}
        keys = [f"horizons = {list(shorter.horizons)}", *(f"{name} = {days}" for name, days in changed.items())]
        advice = f"now it can be asked with {', '.join(keys)} under [question]"
    raise RecurError(
        f"the source's {(closed - first).days + 1} days, {first.date()} to {max(closed - DAY, first).date()}, are too "
        f"few to learn who churns within {question.primary} days of those active within {question.active_within}: with "
        f"daily events that can be asked as of {since.date()}; {advice}"
    )
