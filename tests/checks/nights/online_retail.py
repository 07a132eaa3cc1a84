"""Online Retail II as it is, by docs/examples/online_retail.toml: a week a night for two years, then night by night for
the last quarter. Every night reconciles, and what is stored in the end equals an independent pandas reading.
"""

import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.store import night_ending_at, open_store
from pipeline.runtime.nights import midnight
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.validate import validate
from tests.support.plain_reading import ROOT
from tests.support.worlds.csv_nights import last_closed

DATA = ROOT.parent / "shared" / "data" / "online_retail_II"
EXAMPLE = ROOT / "docs" / "examples" / "online_retail.toml"
FIRST_NIGHT, NIGHTLY_FROM = date(2009, 12, 8), date(2011, 9, 6)
LINES, CUSTOMERS = 1_044_847, 5_942
KEYS = ["rows_read", "rows_accepted", "rows_quarantined", "rows_already_known"]


def main() -> bool:
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there, and the project does not ship it")
        return True
    with tempfile.TemporaryDirectory() as scratch:
        settings = _settings(Path(scratch))
        end = last_closed(settings)
        began = time.monotonic()
        counts = pd.DataFrame([_ingest(settings, cutoff) for cutoff in _cutoffs(end.date())])
        seconds = time.monotonic() - began
        store = open_store(settings)
        stored = pd.concat([pd.read_parquet(store.path(night)) for night in store.nights()], ignore_index=True)
    wrong = [
        f"the night {row.night} does not reconcile"
        for row in counts.itertuples()
        if row.rows_read != row.rows_accepted + row.rows_quarantined + row.rows_already_known
    ]
    wrong += _differences(stored, counts, pd.Timestamp(end))
    totals = ", ".join(f"{counts[key].sum():,} {key.removeprefix('rows_').replace('_', ' ')}" for key in KEYS)
    print(f"{len(counts)} nights in {seconds:.0f} s: lines {totals}; {len(stored):,} events")
    print("\n".join(wrong) or "every night reconciles, and the store equals the pandas reading")
    print(f"disagreements: {len(wrong)}")
    return not wrong


def _settings(folder: Path) -> Settings:
    shutil.copy(EXAMPLE, folder / "recur.toml")
    for file in DATA.glob("*.parquet"):
        (folder / file.name).symlink_to(file)
    return load_settings(folder / "recur.toml")


def _cutoffs(end: date) -> list[date]:
    weekly = [FIRST_NIGHT + timedelta(days=7 * number) for number in range((NIGHTLY_FROM - FIRST_NIGHT).days // 7 + 1)]
    return weekly + [weekly[-1] + timedelta(days=number) for number in range(1, (end - weekly[-1]).days + 1)]


def _ingest(settings: Settings, cutoff: date) -> dict[str, int | str]:
    night = night_ending_at(settings.events, midnight(cutoff))
    extract(settings, night)
    validate(settings, night)
    return {"night": night.name, **load(settings, night)}


def _lines() -> pd.DataFrame:
    """Both files under one set of names, the second from 2010-12-01 on."""
    names = ["invoice", "stock", "description", "quantity", "time", "price", "customer", "country"]
    files = [pd.read_parquet(DATA / f"online_retail_{years}.parquet") for years in ("2009_2010", "2010_2011")]
    first, second = (file.set_axis(names, axis=1).assign(time=pd.to_datetime(file["InvoiceDate"])) for file in files)
    lines = pd.concat([first[first["time"] < "2010-12-01"], second[second["time"] >= "2010-12-01"]], ignore_index=True)
    return lines.assign(time=lines["time"].dt.tz_localize("Europe/London").dt.tz_convert("UTC"))


def _differences(stored: pd.DataFrame, counts: pd.DataFrame, end: pd.Timestamp) -> list[str]:
    """How the store and the nights' figures differ from a plain reading of the lines."""
    everything = _lines()
    wrong = [] if len(everything) == LINES else [f"the files hold {len(everything):,} lines, expected {LINES:,}"]
    lines = everything[everything["time"] < end]
    named = lines[lines["customer"].notna()]
    if everything["customer"].nunique() != CUSTOMERS:
        wrong.append(f"the files name {everything['customer'].nunique():,} customers, expected {CUSTOMERS:,}")
    sums = {"read": len(lines), "accepted": len(named), "quarantined": len(lines) - len(named), "already_known": 0}
    for what, expected in sums.items():
        if (total := counts[f"rows_{what}"].sum()) != expected:
            wrong.append(f"{total:,} lines {what}, expected {expected:,}")
    # In ten-thousandths of a pound, which are whole numbers, so that no sum is rounded.
    named = named.assign(units=(named["quantity"] * named["price"] * 10_000).round().astype("int64"))
    plain = named.groupby("invoice").agg(
        customer_id=("customer", lambda values: str(int(values.iloc[0]))),
        event_time=("time", "min"),
        last=("time", "max"),
        units=("units", "sum"),
        quantity=("quantity", "sum"),
        lines=("quantity", "size"),
        country=("country", "first"),
    )
    ends = pd.DatetimeIndex(pd.to_datetime(counts["night"], utc=True)).as_unit("us")
    plain["known_time"] = ends[ends.searchsorted(plain["last"], side="right")]
    history = plain["last"] < ends[0]
    plain.loc[history, "known_time"] = plain.loc[history, "last"].dt.floor("D") + pd.Timedelta(days=1)
    plain["event_type"] = ["cancellation" if invoice.startswith("C") else "purchase" for invoice in plain.index]
    ours = stored.set_index("event_id").sort_index()
    if not ours.index.equals(pd.Index(sorted(plain.index), name="event_id")):
        return [*wrong, f"{len(ours):,} events, expected the {len(plain):,} invoices of the plain reading"]
    plain = plain.sort_index()
    ours["units"] = (ours["amount"] * 10_000).round().astype("int64")
    for column in ("customer_id", "event_time", "known_time", "event_type", "units", "quantity", "lines", "country"):
        differing = int((ours[column].to_numpy() != plain[column].to_numpy()).sum())
        if differing:
            wrong.append(f"{column} differs in {differing:,} events")
    if ours["deleted"].any():
        wrong.append("an event counts as deleted")
    return wrong
