"""The views that analysts read: their SQL, and what each of their columns means. SQLite and PostgreSQL both read it.

The words here are the only ones: Datasette's pages, PostgreSQL's comments, `recur query` without SQL and the
documentation all take them from `VIEWS`.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from models.survival import MOST_DAYS

READER = "recur_reader"
"""The role of PostgreSQL that may read the views, and nothing else."""

PREDICTION_COLUMNS = {
    "customer_id": "The customer, as the source calls them",
    "score_date": "The date of the cutoff: the score uses what was known at its midnight in UTC, and no more",
    "horizon_days": "How many days from the cutoff the score looks ahead",
    "churn_probability": "The probability of churn: no event within the horizon",
    "risk_percentile": "The share of that night's customers who are no more at risk, in percent: 100 is most at risk",
    "risk_band": "high, medium or low: the top tenth, the next three tenths and the rest, unless set otherwise; equal "
    "probabilities share the band of the middle one of them",
    "risk_change": "The churn probability minus that of the night published before; null for a customer not in it",
    "expected_purchases": "How many purchases to expect within the horizon; null where the model does not say",
    "expected_spend": "How much to expect to be spent within the horizon, in the source's currency; null likewise",
    "reasons": "What raises this customer's risk, in words, strongest first; null but for the share most at risk and "
    "the hundred who rose most since the night before",
    "days_since_last_event": "Days from the customer's last event to the cutoff",
    "model_name": "The model that scored",
    "model_version": "Its version in the registry",
    "run_id": "The MLflow run in which it was trained",
    "question_digest": "The digest of the question: scores of different questions do not compare",
    "scored_at": "When the score was made, in UTC",
    "control": "1 in the control group, whom nobody should act on, 0 outside it; null where there is none",
    "backfilled": "1 where a later night was already loaded when the score was published: it is never reviewed; else 0",
}
_PREDICTIONS = """
select p.customer_id, p.score_date, p.horizon_days, p.churn_probability, p.risk_percentile, p.risk_band,
       p.risk_change, p.expected_purchases, p.expected_spend, p.reasons, p.days_since_last_event,
       n.model_name, n.model_version, n.run_id, n.question_digest, n.scored_at,
       p.control, case when n.known_until > n.score_date then 1 else 0 end as backfilled
from prediction as p join night as n on n.score_date = p.score_date
"""


@dataclass(frozen=True)
class View:
    """A view's name in words, what a row of it is, its SQL, and its columns in order with their meaning."""

    title: str
    description: str
    sql: str = field(repr=False)
    columns: dict[str, str] = field(repr=False)


VIEWS: dict[str, View] = {
    "churn_predictions": View(
        "Churn predictions",
        "The last published night: one row for each eligible customer, at the primary horizon.",
        _PREDICTIONS
        + "where p.score_date = (select max(score_date) from night) and p.horizon_days = n.primary_horizon",
        PREDICTION_COLUMNS,
    ),
    "prediction_history": View(
        "Prediction history",
        "Every published night and horizon: one row for each customer who was eligible then.",
        _PREDICTIONS,
        PREDICTION_COLUMNS,
    ),
    "survival_curve": View(
        "Survival curve",
        "How likely each customer is to stay away, by the number of days: one row for each published horizon and, "
        "where the model has a hazard, for each day of its curve.",
        f"""
select customer_id, score_date, horizon_days as day, churn_probability as probability from prediction
union all
select p.customer_id, p.score_date, (s.number * p.horizon_days) / json_array_length(p.curve),
       cast(p.curve ->> (s.number - 1) as double precision)
from prediction as p join (
  with recursive step(number) as (select 1 union all select number + 1 from step where number < {MOST_DAYS})
  select number from step
) as s on s.number <= json_array_length(p.curve)
where p.curve is not null and not exists (
  select 1 from prediction as h where h.score_date = p.score_date and h.customer_id = p.customer_id
  and h.horizon_days = (s.number * p.horizon_days) / json_array_length(p.curve)
)
""",
        {
            "customer_id": PREDICTION_COLUMNS["customer_id"],
            "score_date": PREDICTION_COLUMNS["score_date"],
            "day": "Days from the cutoff",
            "probability": "The probability that the customer has no event before that day",
        },
    ),
    "risk_bands": View(
        "Risk bands",
        "Every published night's risk bands: one row for each night, horizon and band.",
        """
select score_date, horizon_days, risk_band, customers, mean_probability, lowest_probability, highest_probability
from band
""",
        {
            "score_date": PREDICTION_COLUMNS["score_date"],
            "horizon_days": PREDICTION_COLUMNS["horizon_days"],
            "risk_band": PREDICTION_COLUMNS["risk_band"],
            "customers": "How many customers were in the band",
            "mean_probability": "Their mean churn probability: times `customers`, how many of them to expect to lose",
            "lowest_probability": "The lowest churn probability in the band",
            "highest_probability": "The highest",
        },
    ),
    "model_comparison": View(
        "Model comparison",
        "Every model on the same test set, forward in time: one row for each training, model and metric.",
        """
select m.cutoff, m.model_name, m.family, m.metric, m.value, m.low, m.high, m.fit_seconds,
       m.predict_customers_per_second, m.run_id, c.test_digest, c.question_digest, c.decision, c.verdict,
       c.compared_at
from comparison_metric as m join comparison as c on c.cutoff = m.cutoff
""",
        {
            "cutoff": "The training's cutoff: models and test labels use what was known at its midnight in UTC",
            "model_name": "The model",
            "family": "recurrent, hybrid (a recurrent state beside aggregates), neural or conventional",
            "metric": "roc_auc, average_precision and lift_at_10_percent (higher is better); log_loss, brier and "
            "calibration_error (lower is better)",
            "value": "The metric on the test set",
            "low": "The lower end of its 95 % interval, customers resampled",
            "high": "The upper end of that interval",
            "fit_seconds": "How long the model took to train, in seconds",
            "predict_customers_per_second": "How many customers it scores in a second",
            "run_id": "The model's run in MLflow",
            "test_digest": "The digest of the test set: the same for every model of a comparison",
            "question_digest": PREDICTION_COLUMNS["question_digest"],
            "decision": "recurrent, conventional, equivalent, or no detectable difference",
            "verdict": "What the evidence supports, in a sentence",
            "compared_at": "When the comparison was made, in UTC",
        },
    ),
    "what_moves_risk": View(
        "What moves risk",
        "What the model that a training ended with goes by, over all customers: one row for each training and input.",
        "select cutoff, model_name, input, words, weight, raises from driver",
        {
            "cutoff": "The training's cutoff",
            "model_name": "The model",
            "input": "The input, or a group of inputs that speak of one thing",
            "words": "The same in words",
            "weight": "By how much it moves a customer's churn logit, on average in either direction",
            "raises": "The share of customers whose risk it raises",
        },
    ),
    "risk_by_silence": View(
        "Risk by time since the last event",
        "How risk changes with the time since the last event: one row for each training and interval of days.",
        "select cutoff, model_name, from_days, to_days, customers, predicted, happened from silence",
        {
            "cutoff": "The training's cutoff",
            "model_name": "The model",
            "from_days": "Days since the customer's last event, from",
            "to_days": "to, less than; null for any longer",
            "customers": "How many examples of the latest cutoffs lie there",
            "predicted": "Their mean churn probability",
            "happened": "The share of them who churned",
        },
    ),
    "outcome_review": View(
        "Outcome review",
        "Published scores held against what then happened: one row for each night, horizon and metric, once the "
        "horizon has closed.",
        """
select r.score_date, r.horizon_days, r.metric, r.value, r.low, r.high, r.customers, n.model_name, n.model_version,
       n.run_id, n.question_digest, r.reviewed_at, c.value as control_value, t.value as treated_value
from review as r join night as n on n.score_date = r.score_date
left join review_of_segment as c on c.score_date = r.score_date and c.horizon_days = r.horizon_days
     and c.metric = r.metric and c.segment = 'control group' and c.member = 'control'
left join review_of_segment as t on t.score_date = r.score_date and t.horizon_days = r.horizon_days
     and t.metric = r.metric and t.segment = 'control group' and t.member = 'treated'
""",
        {
            "score_date": "The night whose scores are reviewed",
            "horizon_days": PREDICTION_COLUMNS["horizon_days"],
            "metric": "base_rate (the share that churned) and mean_predicted (the mean churn probability); roc_auc, "
            "average_precision and lift_at_10_percent; log_loss, brier and calibration_error",
            "value": "The metric over that night's customers; null where it has no meaning, as when none churned",
            "low": "The lower end of its 95 % interval, customers resampled",
            "high": "The upper end of that interval",
            "customers": "How many customers were scored that night",
            "model_name": PREDICTION_COLUMNS["model_name"],
            "model_version": PREDICTION_COLUMNS["model_version"],
            "run_id": PREDICTION_COLUMNS["run_id"],
            "question_digest": PREDICTION_COLUMNS["question_digest"],
            "reviewed_at": "When the review was made, in UTC",
            "control_value": "The metric over the control group; null without one, or with fewer than 30 customers",
            "treated_value": "The metric over the others, whose scores may be acted on; null likewise",
        },
    ),
    "segment_review": View(
        "Review by segment",
        "The outcome review of segments of a night's customers: one row for each night, horizon, segment and metric.",
        """
select r.score_date, r.horizon_days, r.segment, r.member, r.metric, r.value, r.low, r.high, r.customers, n.model_name,
       n.model_version
from review_of_segment as r join night as n on n.score_date = r.score_date
""",
        {
            "score_date": "The night whose scores are reviewed",
            "horizon_days": PREDICTION_COLUMNS["horizon_days"],
            "segment": "What divides the customers: treatment; control group, of all or (as control group, high) of a "
            "risk band; or an attribute of their last event",
            "member": "treated (received a treatment within the horizon), not treated; control, treated (may be acted "
            "on); or the attribute's value",
            "metric": "As in outcome_review",
            "value": "The metric over the segment's customers; null where it has no meaning",
            "low": "The lower end of its 95 % interval, customers resampled",
            "high": "The upper end of that interval",
            "customers": "How many customers are in the segment",
            "model_name": PREDICTION_COLUMNS["model_name"],
            "model_version": PREDICTION_COLUMNS["model_version"],
        },
    ),
    "monitoring": View(
        "Monitoring",
        "What can be said of scores before their horizon closes: one row for each night and figure that is monitored.",
        "select score_date, kind, name, value, reference from watched",
        {
            "score_date": "The night",
            "kind": "drift (of an input or the scores since training: the population stability index, below 0.1 "
            "little, above 0.25 much) or expected (a metric, were the probabilities right)",
            "name": "The input, score for the churn probabilities themselves, or the metric",
            "value": "The index, or the expected metric",
            "reference": "For drift from which index on it is much; for a metric its value on the test set",
        },
    ),
    "review_decisions": View(
        "Retraining decisions",
        "What each night's reviews and monitoring call for: one row a night.",
        "select score_date, decision, why, model_name, model_version, decided_at from upkeep",
        {
            "score_date": "The night",
            "decision": "retrain (a training is due), alert (look into it) or fine",
            "why": "What it rests on",
            "model_name": "The champion",
            "model_version": PREDICTION_COLUMNS["model_version"],
            "decided_at": "When it was decided, in UTC",
        },
    ),
    "pipeline_runs": View(
        "Pipeline runs",
        "Every step that was run, failed ones too; the main job as a whole is the step `run`.",
        """
select run_id, step, score_date, started_at, seconds, status, message, peak_memory_bytes, rows_read, rows_accepted,
       rows_quarantined, rows_already_known, rows_scored, rows_published
from step_run
""",
        {
            "run_id": "This run of the step",
            "step": "extract, validate, load, score, publish, review, ...; run is the main job",
            "score_date": "The night it worked on",
            "started_at": "When it started, in UTC",
            "seconds": "How long it took",
            "status": "done, skipped (it rightly had nothing to do) or failed",
            "message": "Why it was skipped, or what failed and how to fix it",
            "peak_memory_bytes": "The most memory that its process has held up to its end; for the main job, the "
            "largest of its processes",
            "rows_read": "Rows that the source gave for the night",
            "rows_accepted": "Rows that became events",
            "rows_quarantined": "Rows that were set aside, each with a reason",
            "rows_already_known": "Rows that an earlier night had brought already",
            "rows_scored": "Customers who were scored",
            "rows_published": "Predictions that were published",
        },
    ),
    "quarantine_summary": View(
        "Quarantine summary",
        "Rows that were set aside: one row for each night and reason.",
        "select score_date, reason, row_count as rows from quarantine",
        {
            "score_date": "The night that brought the rows",
            "reason": "Why they were set aside",
            "rows": "How many they are",
        },
    ),
}


def digest() -> str:
    """The SHA-256 of everything that the database holds of the views, so that a changed view is created again, and who
    may read them is told again.
    """
    content: dict[str, Any] = {
        name: [view.title, view.description, view.sql, view.columns] for name, view in VIEWS.items()
    }
    content["readers"] = READER
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
