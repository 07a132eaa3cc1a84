"""Which revision of an event supersedes which, as SQL that DuckDB and Spark both understand."""


def in_order(partition: str = "event_id", tie: str = "") -> str:
    """The window over the revisions of each event id, oldest first: by known time, and of one instant a deletion last.

    `partition` names further columns that set revisions apart, `tie` what decides between equal known times first.
    """
    order = ", ".join(filter(None, ("known_time", tie, "deleted")))
    return f"over (partition by {partition} order by {order})"


def superseding_sql(rows: str) -> str:
    """The query of all columns of the relation `rows`, and `superseded_time`: the known time of the next revision of
    the same event id among them, null for the latest. `rows` hold what was known by some moment and nothing later.
    """
    return f"select *, lead(known_time) {in_order()} as superseded_time from {rows}"
