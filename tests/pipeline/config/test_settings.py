from datetime import date
from pathlib import Path

import pytest

from pipeline.config.settings import load_settings
from pipeline.runtime.errors import ConfigurationError


def load(folder: Path, text: str):
    (folder / "recur.toml").write_text(text)
    return load_settings(folder / "recur.toml")


def test_the_promised_keys(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        [source]
        kind = "csv"
        path = "events.csv"
        timezone = "Europe/London"
        [source.columns]
        customer_id = "who"
        event_time = "when"
        event_type = "what"
        amount = "price"
        quantity = "pieces"
        event_id = "number"
        [question]
        active_within = 42
        horizons = [14, 28]
        primary_horizon = 14
        cutoff_every = 7
        [run]
        first_night = 2024-03-01
        [models]
        names = ["recency", "gru"]
        [paths]
        var = "state"
        """,
    )
    assert settings.source_path == tmp_path / "events.csv"
    assert settings.var == tmp_path / "state"
    assert settings.question.horizons == (14, 28)
    assert settings.question.primary == 14
    assert settings.run.first_night == date(2024, 3, 1)
    assert settings.predictions == f"sqlite:///{tmp_path}/state/predictions.db"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[question]\nactive = 3", "question.active: unknown key"),
        ("bogus = 1", "bogus: unknown key; known here: source"),
        ("[run]\nseed = '20'", "run.seed"),
        ("[question]\nhorizons = 28", "question.horizons"),
        ("[source]\nkind = 'xml'", "source.kind"),
        ("[source]\nkind = 'csv'", "needs path"),
        ("[source]\nkind = 'csv'\npath = 'x'", "columns.customer_id is missing"),
        ("[source]\ntimezone = 'Mars'", "'Mars' is no time zone"),
        ("[source\n", "not valid TOML"),
        ("[models]\nnames = ['gruu']", "models.names: there is no model 'gruu'"),
        ("[models]\nnames = []", "at least one"),
        ("root = 'x'", "root: unknown key"),
    ],
)
def test_an_error_names_the_file_and_the_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert words in message
    assert str(tmp_path / "recur.toml") in message
    assert "\n" not in message
    assert caught.value.status == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml does not exist"):
        load_settings(tmp_path / "none.toml")


def test_an_address_may_stand_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(tmp_path, "[addresses]\npredictions = '$RECUR_TEST_ADDRESS'")
    with pytest.raises(ConfigurationError, match="no RECUR_TEST_ADDRESS"):
        _ = settings.predictions
    monkeypatch.setenv("RECUR_TEST_ADDRESS", "postgresql+psycopg://localhost/recur")
    assert settings.predictions == "postgresql+psycopg://localhost/recur"


def test_an_event_store_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "recur.toml"
    monkeypatch.setenv("RECUR_TEST_EVENTS", "gs://bucket/events")
    for address, scheme in (("s3://bucket/events", "s3"), ("$RECUR_TEST_EVENTS", "gs"), ("file:///events", "file")):
        file.write_text(f'[addresses]\nevents = "{address}"\n')
        with pytest.raises(ConfigurationError, match=f"addresses.events names {scheme}://, and the event store is a f"):
            _ = load_settings(file).events
