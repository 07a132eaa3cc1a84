"""Types that the question names and that never occur are refused where they decide, and told elsewhere."""

import pytest

from features.named_types import remarks_on_types
from features.question import Question

THERE = {"payment": 1200, "refund": 3}


def test_an_end_that_never_occurs_is_refused_with_the_types_that_there_are():
    with pytest.raises(
        ValueError, match=r"ends_with names 'cancelled', .*payment \(1,200 events\), refund .*nobody churns"
    ):
        remarks_on_types(Question(ends_with=("cancelled",)), THERE)


def test_one_of_several_is_told():
    question = Question(activity=("payment", "visit"), event_types=("call",), exclude_types=("refund",))
    remarks = remarks_on_types(question, THERE)
    assert [remark.split(",")[0] for remark in remarks] == [
        "question.activity names 'visit'",
        "question.event_types names 'call'",
    ]


def test_treatments_of_the_default_are_no_matter():
    assert remarks_on_types(Question(), THERE) == []
