"""From a world to the verdict and the contribution, by the product's own path: contenders, pools, the member's choice,
the twin and the two statements. Metrics that no decision reads are left out: over many customers they take minutes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.arrays import Floats
from models import POOLED, has_memory, model_class
from models.base import Family
from models.contender import Contender, Gains, MemberChoice, Procedure, choose_member, contend, mean_losses, pool
from models.evaluation.metrics import clip_probabilities
from models.evaluation.result import Result, TestSet, Window
from models.evaluation.statements.contribution import Contribution, contribution
from models.evaluation.statements.verdict import Verdict, verdict
from models.held_out import Parts
from models.labels import VALUES
from models.spec import BETWEEN_SEEDS, ModelSpec
from models.tuning import Search, tune
from pipeline.training.snapshot import Snapshot, digest

MARGIN = 0.002  # the pipeline's own
PARAMETERS = Mapping[str, Mapping[str, Any]]  # by model


@dataclass(frozen=True)
class Plan:
    """What competes: the models by name with their parameters, and with how many seeds."""

    models: PARAMETERS
    seeds: int = 1


@dataclass(frozen=True, eq=False)
class Statements:
    """What a comparison of these results decides."""

    test: TestSet
    results: tuple[Result, ...]
    verdict: Verdict
    contribution: Contribution


def stated(snapshot: Snapshot, plan: Plan, random_state: int) -> Statements:
    """The statements on the plan's models, the pools and the twin, on the snapshot's only window."""
    return _World(snapshot, plan, random_state).statements()


def tuned_lightgbm(snapshot: Snapshot, trials: int, random_state: int) -> dict[str, Any]:
    """The parameters that tuning finds for LightGBM, judged on validation."""
    parts, question, kind = snapshot.parts(0), snapshot.question, model_class("lightgbm")
    search = Search(kind.space, kind.defaults, trials, question.primary, random_state)
    return tune(
        lambda parameters: kind(question.horizons, random_state, **parameters),
        search,
        parts.train,
        parts.valid,
        lambda trial: None,
    )


class Truth:
    """What decisions ought to be: expected differences of those very fits, under the true probability `[examples]` of
    the test's churn.
    """

    def __init__(self, statements: Statements, probability: Floats) -> None:
        self.statements = statements
        truth = statements.test.of_examples(probability)
        self.loss = {
            result.name: _expected_loss(truth, np.asarray(result.test_probability)) for result in statements.results
        }

    def of_verdict(self) -> float | None:
        """By how much the recurrent side's best is ahead of the one of its opponents that truly is hardest."""
        against = self.statements.verdict.against
        if against.best_recurrent is None or not against.opponents:
            return None
        return min(self.loss[name] for name in against.opponents) - self.loss[against.best_recurrent]

    def of_mirror(self) -> float | None:
        """The same of the conventional side's best, in the same sense: negative where it is ahead of all."""
        mirror = self.statements.verdict.mirror
        if mirror.best_conventional is None or not mirror.opponents:
            return None
        return self.loss[mirror.best_conventional] - min(self.loss[name] for name in mirror.opponents)

    def of_contribution(self) -> tuple[float | None, float | None]:
        """What the member adds to the pool, and what it adds to the twin's."""
        added = self.statements.contribution
        with_member = added.with_member
        if with_member is None:
            return None, None
        ahead = [
            None if name is None else self.loss[name] - self.loss[with_member]
            for name in (added.without_member, added.twin_name)
        ]
        return ahead[0], ahead[1]

    def false(self) -> list[str]:
        """The decisions that the truth does not bear out."""
        decided, added = self.statements.verdict.decision, self.statements.contribution.decision
        (pool_gain, twin_gain), ahead, behind = self.of_contribution(), self.of_verdict(), self.of_mirror()
        borne_out = {
            "recurrent": ahead is not None and ahead > 0,
            "conventional": behind is not None and behind < 0,
            "adds": pool_gain is not None and pool_gain > 0 and twin_gain is not None and twin_gain > 0,
            "harms": pool_gain is not None and pool_gain < 0,
        }
        return [decision for decision in (decided, added) if not borne_out.get(decision, True)]

    def to_json(self) -> dict[str, Any]:
        """One repeat's record: decisions, figures beside the expected ones, and what was false."""
        decided, added = self.statements.verdict, self.statements.contribution
        pool_gain, twin_gain = self.of_contribution()
        return {
            "verdict": decided.decision,
            "contribution": added.decision,
            "false": self.false(),
            "best_recurrent": decided.against.best_recurrent,
            "hardest": decided.against.best_conventional,
            "member": added.member,
            "best_ranked": added.best_ranked,
            "verdict_difference": _figures(decided.against.hardest, self.of_verdict()),
            "mirror_difference": _figures(decided.mirror.hardest, self.of_mirror()),
            "pool_difference": _figures(added.pool, pool_gain),
            "twin_difference": _figures(added.twin, twin_gain),
            "expected_loss": {name: round(value, 5) for name, value in self.loss.items()},
        }


class _World:
    """One window of a world, its fits and the pools made of them."""

    def __init__(self, snapshot: Snapshot, plan: Plan, random_state: int) -> None:
        self.snapshot, self.plan, self.random_state = snapshot, plan, random_state
        self.parts: Parts = snapshot.parts(0)
        self.primary = snapshot.question.primary_index
        self.procedure = Procedure(snapshot.question.horizons)
        self.contenders: dict[str, list[Contender]] = {}  # one a seed
        self.seconds: dict[str, float] = {}

    def statements(self) -> Statements:
        for name, parameters in self.plan.models.items():
            self._fit(name, ModelSpec(name, parameters))
        results = [self._result(name, model_class(name).family) for name in self.plan.models]
        self._pool("conventional_pool", POOLED)
        results.append(self._result("conventional_pool", "conventional"))
        member = self._member()
        if member is not None:
            recipe = ModelSpec(member.best, self.plan.models[member.best]).recipe.parameters
            self._fit("twin", ModelSpec(member.best, {**recipe, "memory": False}))
            self._pool("recurrent_pool", (*POOLED, member.best))
            self._pool("twin_pool", (*POOLED, "twin"))
            results += [
                self._result("recurrent_pool", "hybrid", member),
                self._result("twin_pool", "conventional", member),
            ]
        test = self._test()
        weights = test.weights(self.random_state)
        return Statements(
            test,
            tuple(results),
            verdict(results, test.labels, weights, MARGIN),
            contribution(results, test.labels, weights),
        )

    def _fit(self, name: str, spec: ModelSpec) -> None:
        seeds = self.plan.seeds if model_class(spec.name).seeded else 1
        began = time.perf_counter()
        fits = [
            contend(spec, self.parts, self.procedure, self.random_state + BETWEEN_SEEDS * seed)[0]
            for seed in range(seeds)
        ]
        self.contenders[name] = fits if seeds == self.plan.seeds else fits * self.plan.seeds
        self.seconds[name] = time.perf_counter() - began

    def _pooled(self, members: Sequence[str]) -> list[Contender]:
        raws = [
            pool([self.contenders[name][seed].raw for name in members], self.procedure)
            for seed in range(self.plan.seeds)
        ]
        without = self.contenders.get("conventional_pool", [None] * self.plan.seeds)
        return [Contender.of(raw, self.parts, self.procedure, like) for raw, like in zip(raws, without, strict=True)]

    def _pool(self, name: str, members: Sequence[str]) -> None:
        self.contenders[name] = self._pooled(members)
        self.seconds[name] = 0.0

    def _member(self) -> MemberChoice | None:
        candidates = {name: self._pooled((*POOLED, name)) for name in self.plan.models if has_memory(name)}
        if not candidates:
            return None
        return choose_member([Gains.of(self.contenders["conventional_pool"], candidates, self.parts, self.primary)])

    def _result(self, name: str, family: Family, member: MemberChoice | None = None) -> Result:
        contenders = self.contenders[name]

        def rows(of: Callable[[Contender], Floats]) -> Floats:
            return np.concatenate([of(contender)[:, self.primary] for contender in contenders])

        return Result(
            name,
            family,
            run_id=name,
            test_digest=self.digest,
            valid_log_loss=float(mean_losses(contenders, self.parts, self.primary).mean()),
            test_probability=rows(lambda contender: contender.test.churn_probability),
            test_probability_before=rows(lambda contender: contender.before.churn_probability),
            fit_seconds=self.seconds[name],
            predict_customers_per_second=0.0,
            members=(member.best,) if member else (),
            chosen=member.chosen if member else True,
        )

    @property
    def digest(self) -> str:
        return digest(self.parts.test)

    def _test(self) -> TestSet:
        data, (split,), seeds = self.parts.test, self.snapshot.windows, self.plan.seeds
        labels = data.labels
        assert labels is not None
        return TestSet(
            question_digest=self.snapshot.question.digest,
            digest=self.digest,
            windows=(Window(split.test[0], split.test[-1]),),
            window=np.zeros(len(data) * seeds, np.int64),
            seed=np.repeat(np.arange(seeds), len(data)),
            customer_id=np.tile(data.customer_id, seeds),
            cutoff=np.tile(data.cutoff, seeds),
            labels=np.tile(labels.churn[:, self.primary], seeds),
            values={outcome: np.tile(getattr(labels, outcome)[:, self.primary], seeds) for outcome in VALUES},
        )


def _expected_loss(truth: Floats, probability: Floats) -> float:
    clipped = clip_probabilities(probability)
    return float(-np.mean(truth * np.log(clipped) + (1 - truth) * np.log(1 - clipped)))


def _figures(difference: Any, expected: float | None) -> dict[str, float | None]:
    figures = {name: getattr(difference, name) for name in ("difference", "low", "high")} | {"expected": expected}
    return {name: None if value is None else round(value, 5) for name, value in figures.items()}
