"""The night rules as a Great Expectations suite, run on the night's profile, with Data Docs under `paths.var`.

The suite sees the profile and never the rows: its cost does not grow with the night, and nothing of a customer can
reach the Data Docs. Only the last nights are kept there.
"""

import os
import shutil
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from pipeline.config.settings import Settings
from pipeline.runtime.nights import Night
from pipeline.validation.night_rules import NightRule

NAME = "night"
NIGHTS_KEPT = 14


def expect(settings: Settings, night: Night, profile: Mapping[str, float], rules: list[NightRule]) -> list[NightRule]:
    """The rules that do not hold, in their order. Writes the night's page of the Data Docs.

    The package writes its own configuration in place, so that a kill can leave half a file, which it could never read
    again. All of that configuration is made by this module: where the package fails, it is made anew, once.
    """
    try:
        return _expect(settings, night, profile, rules)
    except Exception:
        _forget_configuration(settings)
        return _expect(settings, night, profile, rules)


def _expect(settings: Settings, night: Night, profile: Mapping[str, float], rules: list[NightRule]) -> list[NightRule]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read when the package is imported
    import great_expectations as gx
    import pandas as pd
    from great_expectations.expectations.core.expect_column_max_to_be_between import ExpectColumnMaxToBeBetween

    context = _context(settings)
    expectations = [
        ExpectColumnMaxToBeBetween(
            column=rule.figure,
            min_value=rule.minimum,
            max_value=rule.maximum,
            description=rule.in_words,
        )
        for rule in rules
    ]
    suite = gx.ExpectationSuite(name=NAME, expectations=expectations)
    definition = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=NAME, data=_batch(context), suite=suite)
    )
    _forget_results(settings, night)
    result = definition.run(
        batch_parameters={"dataframe": pd.DataFrame([{rule.figure: float(profile[rule.figure]) for rule in rules}])},
        result_format="BASIC",
        run_id=gx.RunIdentifier(run_name=night.name, run_time=night.end.astimezone(UTC)),
    )
    context.build_data_docs(resource_identifiers=_identifiers(context, night))
    failed = {one.expectation_config.kwargs["column"] for one in result.results if not one.success}
    return [rule for rule in rules if rule.figure in failed]


def _context(settings: Settings) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    folder = settings.state.data_docs
    folder.mkdir(parents=True, exist_ok=True)
    context = gx.get_context(mode="file", context_root_dir=folder)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _batch(context: Any) -> Any:
    """The one-row frame that each validation is given."""
    try:
        return context.data_sources.get(NAME).get_asset(NAME).get_batch_definition(NAME)
    except KeyError:
        source = context.data_sources.add_or_update_pandas(NAME)
        return source.add_dataframe_asset(NAME).add_batch_definition_whole_dataframe(NAME)


def _identifiers(context: Any, night: Night) -> list[Any]:
    """The pages to write: this night's, and the suite's."""
    from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier

    results = [key for key in context.validation_results_store.list_keys() if key.run_id.run_name == night.name]
    return [*results, ExpectationSuiteIdentifier(name=NAME)]


def _forget_configuration(settings: Settings) -> None:
    """Removes all but the results and the Data Docs of earlier nights."""
    folder = settings.state.data_docs
    for name in ("expectations", "validation_definitions", "checkpoints"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("great_expectations.yml", "uncommitted/config_variables.yml"):
        (folder / name).unlink(missing_ok=True)


def _forget_results(settings: Settings, night: Night) -> None:
    """Makes room for `night`: removes an earlier result of it, and all but the last nights."""
    uncommitted = settings.state.data_docs_page.parents[2]
    for folder in (uncommitted / "validations" / NAME, settings.state.data_docs_page.parent / "validations" / NAME):
        nights = sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
        others = [one for one in nights if one.name != night.name]
        for old in {*nights} - {*others[-(NIGHTS_KEPT - 1) :]}:
            shutil.rmtree(old)
