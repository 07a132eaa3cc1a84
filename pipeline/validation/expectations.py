"""The night rules as a Great Expectations suite, run on the night's profile, with Data Docs under `paths.var`.

The suite sees the profile and never the rows: its cost does not grow with the night, and nothing of a customer can
reach the Data Docs. Only the last nights are kept there.
"""

import os
import shutil
from collections.abc import Mapping
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from pipeline.runtime.nights import Night
from pipeline.validation.night_rules import NightRule

NAME = "night"
NIGHTS_KEPT = 14


def expect(folder: Path, night: Night, figures: Mapping[str, float], rules: list[NightRule]) -> list[NightRule]:
    """The rules that do not hold, in their order. Writes the night's page of the Data Docs in `folder`.

    The package writes its own configuration in place, so that a kill can leave half a file, which it could never read
    again. All of that configuration comes from this module: where the package fails, it is removed and written again,
    once.
    """
    try:
        return _expect(folder, night, figures, rules)
    except Exception:
        _remove_configuration(folder)
        return _expect(folder, night, figures, rules)


def _expect(folder: Path, night: Night, figures: Mapping[str, float], rules: list[NightRule]) -> list[NightRule]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read when the package is imported
    import great_expectations as gx
    import pandas as pd
    from great_expectations.expectations.core.expect_column_max_to_be_between import ExpectColumnMaxToBeBetween

    _compile_templates_once()
    context = _context(folder)
    expectations = [
        ExpectColumnMaxToBeBetween(
            column=rule.figure, min_value=rule.minimum, max_value=rule.maximum, description=rule.with_limits
        )
        for rule in rules
    ]
    suite = gx.ExpectationSuite(name=NAME, expectations=expectations)
    definition = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=NAME, data=_batch(context), suite=suite)
    )
    _remove_results(folder, night)
    result = definition.run(
        batch_parameters={"dataframe": pd.DataFrame([{rule.figure: float(figures[rule.figure]) for rule in rules}])},
        result_format="BASIC",
        run_id=gx.RunIdentifier(run_name=night.name, run_time=night.end.astimezone(UTC)),
    )
    context.build_data_docs(resource_identifiers=_identifiers(context, night))
    failed = {outcome.expectation_config.kwargs["column"] for outcome in result.results if not outcome.success}
    return [rule for rule in rules if rule.figure in failed]


class _CompiledTemplates(BytecodeCache):
    """The code of Jinja's templates, kept as long as the process lives."""

    def __init__(self) -> None:
        self.code: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self.code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.code[bucket.key, bucket.checksum] = bucket.code


@cache
def _compile_templates_once() -> None:
    """The package has a new Jinja environment for every part of the Data Docs, in which all templates would be compiled
    anew: half of the time that a night's validation takes.
    """
    from great_expectations.render.view.view import DefaultJinjaView

    compiled, make = _CompiledTemplates(), DefaultJinjaView.__init__

    def made(view: Any, *arguments: Any, **options: Any) -> None:
        make(view, *arguments, **options)
        view.env.bytecode_cache = compiled

    DefaultJinjaView.__init__ = made  # type: ignore[assignment, method-assign]


def _context(folder: Path) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    folder.mkdir(parents=True, exist_ok=True)
    context = gx.get_context(mode="file", context_root_dir=folder)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _batch(context: Any) -> Any:
    """The one-row frame that each validation reads."""
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


def _remove_configuration(folder: Path) -> None:
    """Removes all but the results and the Data Docs of earlier nights."""
    for name in ("expectations", "validation_definitions", "checkpoints"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("great_expectations.yml", "uncommitted/config_variables.yml"):
        (folder / name).unlink(missing_ok=True)


def _remove_results(folder: Path, night: Night) -> None:
    """Makes room for `night`: removes an earlier result of it, and all but the last nights."""
    for site in ("uncommitted", "uncommitted/data_docs/local_site"):
        results = folder / site / "validations" / NAME
        nights = sorted(path for path in results.iterdir() if path.is_dir()) if results.is_dir() else []
        others = [path for path in nights if path.name != night.name]
        for old in {*nights} - {*others[-(NIGHTS_KEPT - 1) :]}:
            shutil.rmtree(old)
