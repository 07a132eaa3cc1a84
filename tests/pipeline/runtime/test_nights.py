from datetime import UTC, datetime, timedelta

import pytest

from pipeline.runtime.errors import ConfigurationError
from pipeline.runtime.nights import Night, midnight, parse_cutoff, resolve_cutoff

START, END = datetime(2017, 12, 4, tzinfo=UTC), datetime(2017, 12, 5, tzinfo=UTC)
LATER = datetime(2017, 12, 9, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("params", "extras", "end", "start", "expected"),
    [
        ({"cutoff": "2017-11-06"}, [{"cutoff": "2017-12-01"}], END, START, datetime(2017, 11, 6, tzinfo=UTC)),
        (
            {"cutoff": None},
            [{"cutoff": "2017-12-01"}, {"cutoff": "2017-11-30"}],
            END,
            START,
            datetime(2017, 12, 1, tzinfo=UTC),
        ),
        ({}, [], END, START, END),
        ({}, [], END, END, datetime(2017, 12, 9, tzinfo=UTC)),
        ({}, [{}], None, None, datetime(2017, 12, 9, tzinfo=UTC)),
    ],
)
def test_the_cutoff_of_a_run(params, extras, end, start, expected) -> None:
    assert resolve_cutoff(params, extras, end, start, LATER) == expected


@pytest.mark.parametrize("text", ["yesterday", "2017-12-04T10:00", "2017-12-04T00:00+02:00", "2017-13-01"])
def test_a_cutoff_is_a_midnight_in_utc(text: str) -> None:
    with pytest.raises(ConfigurationError, match="2017-12-04"):
        parse_cutoff(text)


def test_a_night_bears_the_date_of_its_end() -> None:
    night = Night(START, END)
    assert (night.name, night.cutoff) == ("2017-12-05", END)
    assert midnight(END + timedelta(hours=23)) == END
    assert midnight(datetime(2017, 12, 5, 1)) == END
