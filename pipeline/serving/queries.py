"""The queries at hand on the analysts' pages: name to title, description and SQL. The analyst fills in
each `:name` of the SQL; one that is left empty arrives as an empty text.
"""

import re

QUERIES: dict[str, tuple[str, str, str]] = {
    "most_at_risk": (
        "Customers most at risk",
        "The hundred customers most at risk on the last published night, and why.",
        """
select customer_id, round(churn_probability, 3) as churn_probability, risk_band, round(risk_change, 3) as risk_change,
       reasons, round(days_since_last_event, 1) as days_since_last_event,
       round(expected_spend, 2) as expected_spend
from churn_predictions order by risk_percentile desc limit 100
""",
    ),
    "risen_since_yesterday": (
        "Who rose since the night before",
        "The hundred customers whose churn probability rose most since the night before.",
        """
select customer_id, round(risk_change, 3) as risk_change, round(churn_probability, 3) as churn_probability, risk_band,
       reasons, round(days_since_last_event, 1) as days_since_last_event
from churn_predictions where risk_change > 0 order by risk_change desc, customer_id limit 100
""",
    ),
    "new_in_the_high_band": (
        "New in the high band",
        "The customers in the high band who were not in it the night before, most at risk first.",
        """
with nights as (select distinct score_date from risk_bands order by score_date desc limit 2)
select c.customer_id, round(c.churn_probability, 3) as churn_probability, round(c.risk_change, 3) as risk_change,
       c.reasons, round(c.days_since_last_event, 1) as days_since_last_event
from churn_predictions as c
left join prediction_history as b on b.customer_id = c.customer_id and b.horizon_days = c.horizon_days
  and b.score_date = (select min(score_date) from nights) and b.score_date < c.score_date
where c.risk_band = 'high' and coalesce(b.risk_band, 'none') <> 'high'
order by c.risk_percentile desc limit 100
""",
    ),
    "staying_away_for": (
        "Who stays away for so many days",
        "The chance that each customer of the last published night stays away for as many days as you give, from the "
        "survival curves, in a straight line between two days of theirs; the thousand highest.",
        """
with wanted as (
  select customer_id, score_date, cast(coalesce(nullif(trim(:days), ''), horizon_days) as integer) as days
  from churn_predictions limit 1
), ends as (
  select a.score_date, a.days, coalesce(max(case when c.day <= a.days then c.day end), 0) as low,
    min(case when c.day >= a.days then c.day end) as high
  from wanted as a join survival_curve as c on c.customer_id = a.customer_id and c.score_date = a.score_date
  group by a.score_date, a.days
)
select h.customer_id, e.days, round(case when e.high = e.low then h.probability else
    coalesce(l.probability, 1) + (h.probability - coalesce(l.probability, 1)) * (e.days - e.low) / (e.high - e.low)
    end, 3) as probability
from ends as e
join survival_curve as h on h.score_date = e.score_date and h.day = e.high
left join survival_curve as l on l.score_date = e.score_date and l.day = e.low and l.customer_id = h.customer_id
order by 3 desc, 1 limit 1000
""",
    ),
    "customer": (
        "One customer's history",
        "Every published score of the customer whose customer_id you give.",
        """
select score_date, horizon_days, round(churn_probability, 3) as churn_probability,
       round(risk_percentile, 1) as risk_percentile, risk_band, round(risk_change, 3) as risk_change, reasons,
       round(days_since_last_event, 1) as days_since_last_event, model_name, model_version
from prediction_history where customer_id = :customer_id order by score_date desc, horizon_days
""",
    ),
    "how_good_past_scores_were": (
        "How good past scores were",
        "One row for each night and horizon that has closed: what was predicted, what happened, and how well it fits.",
        """
select score_date, horizon_days, customers,
       round(max(case when metric = 'base_rate' then value end), 4) as churned,
       round(max(case when metric = 'mean_predicted' then value end), 4) as mean_predicted,
       round(max(case when metric = 'roc_auc' then value end), 3) as roc_auc,
       round(max(case when metric = 'log_loss' then value end), 4) as log_loss,
       round(max(case when metric = 'lift_at_10_percent' then value end), 2) as lift_at_10_percent, model_name
from outcome_review group by score_date, horizon_days, customers, model_name order by score_date desc, horizon_days
""",
    ),
    "past_scores_by_segment": (
        "How good past scores were, by segment",
        "The last reviewed night's customers by segment: who received a treatment and who did not; and by attribute.",
        """
select segment, member, customers, round(max(case when metric = 'mean_predicted' then value end), 4) as mean_predicted,
       round(max(case when metric = 'base_rate' then value end), 4) as churned,
       round(max(case when metric = 'roc_auc' then value end), 3) as roc_auc,
       round(max(case when metric = 'log_loss' then value end), 4) as log_loss, score_date, horizon_days
from segment_review where score_date = (select max(score_date) from segment_review)
group by segment, member, customers, score_date, horizon_days order by horizon_days, segment, customers desc, member
""",
    ),
    "moved_since_training": (
        "What has moved since training",
        "The last monitored night's inputs and scores, the most moved first: below 0.1 little, above 0.25 much.",
        """
select name, round(value, 3) as moved, reference as much, score_date from monitoring
where kind = 'drift' and score_date = (select max(score_date) from monitoring) order by value desc, name
""",
    ),
    "what_moves_risk": (
        "What moves risk",
        "What the last trained model goes by, over all customers, the weightiest input first.",
        """
select words, round(weight, 3) as weight, round(raises, 3) as raises, model_name, cutoff from what_moves_risk
where cutoff = (select max(cutoff) from what_moves_risk) order by weight desc, words
""",
    ),
    "risk_by_silence": (
        "Risk by time since the last event",
        "How risk changes with the days since a customer's last event: predicted and happened.",
        """
select from_days, to_days, customers, round(predicted, 3) as predicted, round(happened, 3) as happened, model_name,
       cutoff
from risk_by_silence where cutoff = (select max(cutoff) from risk_by_silence) order by model_name, from_days
""",
    ),
    "models_compared": (
        "Models compared",
        "The last comparison, best log loss first, with the 95 % interval of the log loss.",
        """
select model_name, family, round(max(case when metric = 'log_loss' then value end), 4) as log_loss,
       round(max(case when metric = 'log_loss' then low end), 4) as low,
       round(max(case when metric = 'log_loss' then high end), 4) as high,
       round(max(case when metric = 'roc_auc' then value end), 3) as roc_auc,
       round(max(case when metric = 'calibration_error' then value end), 4) as calibration_error,
       round(max(case when metric = 'lift_at_10_percent' then value end), 2) as lift_at_10_percent, verdict
from model_comparison where cutoff = (select max(cutoff) from model_comparison)
group by model_name, family, verdict order by 3, 1
""",
    ),
    "data_quality": (
        "Data quality by night",
        "Rows read, accepted and set aside by each night's load, newest first.",
        """
select score_date, rows_read, rows_accepted, rows_quarantined, rows_already_known, status, message
from pipeline_runs where step = 'load' order by score_date desc, started_at desc limit 100
""",
    ),
    "in_a_band": (
        "Customers in a risk band",
        "The last published night's customers in the risk_band that you give (high, medium or low; high where you give "
        "none) whose churn probability is at least at_least, most at risk first.",
        """
select customer_id, round(churn_probability, 3) as churn_probability, round(risk_percentile, 1) as risk_percentile,
       round(risk_change, 3) as risk_change, reasons, round(days_since_last_event, 1) as days_since_last_event,
       round(expected_spend, 2) as expected_spend
from churn_predictions
where risk_band = coalesce(nullif(trim(:risk_band), ''), 'high')
  and churn_probability >= cast(coalesce(nullif(trim(:at_least), ''), '0') as real)
order by churn_predictions.risk_percentile desc limit 1000
""",
    ),
    "with_a_reason": (
        "Customers with a reason",
        "The last published night's customers whose reasons hold the words that you give, most at risk first.",
        """
select customer_id, round(churn_probability, 3) as churn_probability, risk_band, reasons
from churn_predictions where reasons like '%' || trim(:words) || '%' order by risk_percentile desc limit 1000
""",
    ),
    "survival_of_a_customer": (
        "One customer's survival curve",
        "The latest survival curve of the customer whose customer_id you give, by day.",
        """
select score_date, day, round(probability, 4) as probability from survival_curve
where customer_id = :customer_id
  and score_date = (select max(score_date) from prediction_history where customer_id = :customer_id)
order by day
""",
    ),
    "on_a_night": (
        "Most at risk on a night",
        "The hundred customers most at risk on the night whose score_date you give, as 2017-12-04; the last one where "
        "you give none.",
        """
select customer_id, score_date, horizon_days, round(churn_probability, 3) as churn_probability, risk_band,
       round(risk_change, 3) as risk_change, reasons, model_name, model_version
from prediction_history
where score_date = coalesce(nullif(trim(:score_date), ''), (select score_date from churn_predictions limit 1))
  and horizon_days = (select horizon_days from churn_predictions limit 1)
order by risk_percentile desc limit 100
""",
    ),
}


LABELS = {
    "customer_id": "Customer",
    "risk_band": "Band",
    "at_least": "Churn at least",
    "words": "Words",
    "score_date": "Night",
    "days": "Days",
}
"""The label of a parameter on the page."""
EXAMPLES = {"risk_band": "high", "at_least": "0.5", "words": "no event", "score_date": "2017-12-04", "days": "14"}


def parameters(name: str) -> list[str]:
    """The parameters of a query, in the order in which its SQL first uses them."""
    return list(dict.fromkeys(re.findall(r"(?<!:):(\w+)", QUERIES[name][2])))
