"""The contribution: what recurrence adds to the pool of the models that have no memory."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from numpy.typing import ArrayLike

from models.evaluation.intervals import CustomerWeights
from models.evaluation.metrics import example_log_loss
from models.evaluation.result import Result
from models.evaluation.statements.differences import Difference, differences, only_outcome
from models.evaluation.statements.wording import caveats, limits, tested

ContributionWord = Literal["adds", "harms", "no detectable contribution"]
WITHOUT, WITH, TWIN = "conventional_pool", "recurrent_pool", "twin_pool"


@dataclass(frozen=True)
class Contribution:
    """`pool` is the log loss of the pool without a recurrent member minus that of the pool with one, `twin` that of the
    pool with the member's twin minus the same, in nats: positive favours recurrence. Names are None where a pool was
    not run. `members` are those of the windows, oldest first, None in one before whose test none was chosen: there both
    pools are the same. `member` is the latest of them, and None where none was chosen in any window; the figures are
    then those of the members that came nearest, the latest of which is `best_ranked`.
    """

    sentence: str
    without_member: str | None
    with_member: str | None
    member: str | None
    best_ranked: str | None
    members: tuple[str | None, ...]
    pool: Difference
    twin_name: str | None
    twin: Difference
    decision: ContributionWord

    def to_json(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence,
            "without": self.without_member,
            "with": self.with_member,
            "member": self.member,
            "best_ranked": self.best_ranked,
            "members": list(self.members),
            **asdict(self.pool),
            "twin": {"name": self.twin_name, **asdict(self.twin)},
            "decision": self.decision,
        }


def contribution(results: Sequence[Result], labels: ArrayLike, weights: CustomerWeights) -> Contribution:
    """The contribution on these results. `labels [rows]` are the test's churn."""
    by_name = {result.name: result for result in results}
    without, with_member, twin = (by_name.get(name) for name in (WITHOUT, WITH, TWIN))
    pool_difference = twin_difference = Difference()
    chosen = False
    alike = only_outcome(labels)
    if with_member:
        chosen = with_member.chosen and with_member.member is not None
        others = [other for other in (without, twin) if other]
        loss = example_log_loss(labels, with_member.test_probability)
        pairs = [(example_log_loss(labels, other.test_probability), loss) for other in others]
        measured = dict(zip([other.name for other in others], differences(pairs, weights), strict=True))
        if not alike:
            pool_difference, twin_difference = (measured.get(name, Difference()) for name in (WITHOUT, TWIN))
    outcome = Contribution(
        sentence="",
        without_member=without.name if without else None,
        with_member=with_member.name if with_member else None,
        member=with_member.member if with_member and chosen else None,
        best_ranked=with_member.member if with_member else None,
        members=tuple(with_member.members) if with_member else (),
        pool=pool_difference,
        twin_name=twin.name if twin else None,
        twin=twin_difference,
        decision=decide_by_rule(pool_difference, twin_difference) if chosen else "no detectable contribution",
    )
    return replace(outcome, sentence=_sentence(outcome, weights, alike))


def decide_by_rule(pool: Difference, twin: Difference) -> ContributionWord:
    """Of a chosen member: `adds` if the lower limits of both differences are above 0, `harms` if the upper limit of the
    pool's is below 0, else, and where there is no interval, `no detectable contribution`.
    """
    if pool.low is not None and pool.low > 0 and twin.low is not None and twin.low > 0:
        return "adds"
    return "harms" if pool.high is not None and pool.high < 0 else "no detectable contribution"


def _sentence(outcome: Contribution, weights: CustomerWeights, alike: str | None) -> str:
    """The contribution in words; `alike` says that all test examples have one outcome."""
    pool, twin, member = outcome.pool, outcome.twin, _names(outcome.members)
    if outcome.without_member is None or outcome.with_member is None:
        missing = WITHOUT if outcome.without_member is None else WITH
        return f"No detectable contribution: {missing} was not run, so there is nothing to compare."
    if not member:
        return "No detectable contribution: there is no recurrent model that could join the pool."
    if alike:
        return f"No detectable contribution: {alike}, so there is nothing to compare."
    if pool.difference is None:
        return "No detectable contribution: there are no test examples."
    if pool.low is None:
        return (
            f"No detectable contribution: with {member} in the pool log losses differ by {abs(pool.difference):.4f}, "
            f"and {tested(weights)} are too few for an interval."
        )
    changed = f"{pool.difference:+.4f} on {tested(weights)} ({limits(pool)})"
    against_twin = "" if twin.low is None else f"; against its twin without a memory {_signed(twin)}"
    beside = caveats(pool, f"the pool with {member}", weights)
    if not beside and twin.disagrees:
        beside = caveats(twin, f"{member} over its twin", weights)
    if outcome.member is None:
        return (
            "No detectable contribution: no recurrent model helped the pool beyond doubt before the test, so none "
            f"joined it. With {member}, which came nearest, the pool's log loss would have fallen by {changed}"
            f"{against_twin}.{beside}"
        )
    if outcome.decision == "adds":
        return (
            f"Recurrence adds to the pool of models without a memory: with {member} in it, the log loss falls by "
            f"{changed}{against_twin}.{beside}"
        )
    if outcome.decision == "harms":
        return (
            f"Recurrence harms the pool of models without a memory: with {member} in it, the log loss rises by "
            f"{-pool.difference:.4f} on {tested(weights)} (without minus with: {limits(pool)}){against_twin}.{beside}"
        )
    if pool.low > 0:
        why = "the twin was not run" if twin.low is None else "its twin without a memory may add as much"
        return (
            f"No detectable contribution of recurrence: with {member} in the pool the log loss falls by {changed}, but "
            f"{why}{against_twin}.{beside}"
        )
    return (
        f"No detectable contribution: with {member} in the pool, its log loss falls by {changed}{against_twin}.{beside}"
    )


def _names(members: Sequence[str | None]) -> str:
    """Who joins, and in which windows, counted from 1, where that differs."""
    names = [name for name in dict.fromkeys(members) if name]
    if len(set(members)) == 1:
        return "".join(names)
    windows = {name: [str(number) for number, each in enumerate(members, 1) if each == name] for name in names}
    return " and ".join(f"{name} (window {', '.join(numbers)})" for name, numbers in windows.items())


def _signed(difference: Difference) -> str:
    return f"{difference.difference:+.4f} ({limits(difference)})"
