"""A version is what its artefact says, whatever a stranger writes into MLflow, and nothing is removed for one."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest

from pipeline.runtime.errors import RecurError
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.whole_histories import read_night
from pipeline.training.registry import CHAMPION, Registry, Version, open_registry
from tests.pipeline.conftest import World
from tests.support.worlds.trained_world import FIRST, snapshot_of


@pytest.fixture
def registry(own_world: World) -> Registry:
    return open_registry(own_world.settings)


@pytest.fixture
def champion(registry: Registry) -> Version:
    champion = registry.champion()
    assert champion is not None
    return champion


@pytest.fixture
def stored(registry: Registry, champion: Version) -> Iterator[Path]:
    """The champion's artefact as MLflow keeps it, which other worlds may share: put back as it was."""
    uri = registry.tracking.client.get_run(champion.run_id).info.artifact_uri
    folder = Path(url2pathname(urlparse(uri).path)) / "model"
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    yield folder
    for file, content in before.items():
        file.write_bytes(content)


@pytest.mark.parametrize("name", ["{folder}", "../..", "..", "", "a" * 31, "A" * 32])
def test_a_version_of_a_stranger_names_no_folder(
    registry: Registry, champion: Version, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").touch()
    before = sorted(registry.tracking.state.path.rglob("*"))
    client, run_id = registry.tracking.client, name.format(folder=victim)
    facts = client.get_model_version(registry.name, str(champion.number)).tags
    made = client.create_model_version(registry.name, "file:///tmp", run_id or None, tags=facts)
    client.set_registered_model_alias(registry.name, CHAMPION, made.version)
    with pytest.raises(RecurError, match="which is no run's id"):
        registry.champion()
    with pytest.raises(RecurError, match="which is no run's id"):
        registry.load(Version(9, champion.spec, run_id, FIRST, champion.question_digest))
    assert (victim / "kept").exists()
    assert set(before) <= set(registry.tracking.state.path.rglob("*"))


def test_a_version_says_on_its_page_what_it_is(registry: Registry, champion: Version) -> None:
    words = registry.tracking.client.get_model_version(registry.name, str(champion.number)).description
    assert words.startswith(f"**{champion.name}** (")
    assert "examples with what was known at 2020-08-01" in words
    assert f"{registry.question.primary} days" in words


def test_a_version_loads_with_plain_mlflow_and_predicts(
    registry: Registry, champion: Version, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As somebody would who knows MLflow and not this project."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking.address)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", registry.tracking.address)
    loaded = mlflow.pyfunc.load_model(f"models:/{registry.name}/{champion.number}")
    answer = loaded.predict(loaded.input_example)
    assert answer["customer_id"].tolist() == ["a", "b"]
    assert loaded.metadata.signature.outputs.input_names() == list(answer.columns)
    assert loaded.metadata.signature.inputs.input_names() == [*loaded.input_example.columns]

    events = own_world.events[own_world.events["event_time"] < FIRST].sample(frac=1, random_state=1)
    rows = events.drop(columns="event_id").assign(event_type="purchase")
    rows["event_time"] = rows["event_time"].dt.tz_localize(None)  # MLflow takes no other; it is UTC
    predicted = loaded.predict(rows, params={"cutoff": str(FIRST.date())})
    data = read_night(ScoringInputs.open(own_world.settings), FIRST).data
    expected = registry.load(champion).predict(data).churn_probability
    assert predicted["customer_id"].tolist() == data.customer_id.tolist()
    names = [f"churn_probability_{horizon}" for horizon in own_world.settings.question.horizons]
    np.testing.assert_allclose(predicted[names].to_numpy(), expected, atol=1e-9)


def test_a_version_that_was_changed_in_mlflow_does_not_load(
    registry: Registry, champion: Version, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking.address)
    file = next(each for each in stored.rglob("artefact/*") if each.is_file())
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(RecurError, match=r"artefact/.* is not what was registered"):
        mlflow.pyfunc.load_model(f"runs:/{champion.run_id}/model")


def test_what_the_champion_knew_is_not_what_a_tag_says(registry: Registry, champion: Version) -> None:
    for local in (True, False):
        for key, value in (("trained_until", "1999-01-01T00:00:00+00:00"), ("recipe", "gru"), ("parameters", "{}")):
            registry.tracking.client.set_model_version_tag(registry.name, str(champion.number), key, value)
        assert registry.champion() == champion
        if local:
            registry.load(champion)
    assert champion.trained_until == FIRST


def test_a_damaged_copy_is_fetched_again_and_a_damaged_artefact_is_refused(
    registry: Registry, champion: Version, own_world: World, stored: Path
) -> None:
    data = snapshot_of(own_world.settings).data
    before = registry.load(champion).predict(data).churn_probability
    copy = own_world.settings.var / "models" / champion.run_id
    file = max((each for each in copy.rglob("artefact/*") if each.is_file()), key=lambda each: each.stat().st_size)
    content = file.read_bytes()
    for damage in (content[: len(content) // 2], b"", bytes([content[0] ^ 1]) + content[1:], None):
        file.unlink() if damage is None else file.write_bytes(damage)
        np.testing.assert_array_equal(registry.load(champion).predict(data).churn_probability, before)
        assert file.read_bytes() == content
    (copy / "more").touch()
    registry.load(champion)
    assert not (copy / "more").exists()

    (stored / file.relative_to(copy)).write_bytes(b"other")
    file.write_bytes(b"other")
    with pytest.raises(RecurError, match=f"artefact/{file.name} of its run {champion.run_id} is not what was reg"):
        registry.load(champion)
    assert file.read_bytes() == b"other", "what is there stays until another is verified"


def test_a_changed_recipe_is_refused(registry: Registry, own_world: World, stored: Path) -> None:
    shutil.rmtree(own_world.settings.var / "models", ignore_errors=True)
    recipe = stored / "recipe.json"
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"trained_until": "1999-01-01T00:00:00+00:00"}))
    with pytest.raises(RecurError, match=r"recipe\.json of its run .* is not the one that was registered"):
        registry.champion()


def test_an_artefact_without_digests_is_that_of_an_earlier_recur(
    registry: Registry, champion: Version, stored: Path
) -> None:
    recipe = stored / "recipe.json"
    facts = json.loads(recipe.read_text())
    del facts["files"]
    recipe.write_text(json.dumps(facts))
    registry.tracking.client.delete_model_version_tag(registry.name, str(champion.number), "recipe_digest")
    earlier = registry.champion()
    assert earlier is not None
    assert earlier.trained_until == champion.trained_until
    assert registry.load(earlier).family == facts["family"]


def test_an_artefact_of_a_later_recur_is_refused(registry: Registry, champion: Version, stored: Path) -> None:
    recipe = stored / "recipe.json"
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"format": 2}))
    registry.tracking.client.delete_model_version_tag(registry.name, str(champion.number), "recipe_digest")
    shutil.rmtree(registry.tracking.state.path / "models", ignore_errors=True)
    with pytest.raises(RecurError, match="has the format 2, of a later recur; this one reads 1: update recur"):
        registry.champion()
