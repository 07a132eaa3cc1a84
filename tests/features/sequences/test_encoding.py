import numpy as np
import pytest

from features.dataset import Dataset
from features.sequences.encoding import LIMIT, Encoder, StateAtCutoff, signed_log
from features.time import NEVER
from tests.support.worlds.model_worlds import DAY, START, change_after, make_dataset, order_world, steady_world


@pytest.fixture(scope="module")
def data() -> Dataset:
    return steady_world(customers=40)


def test_channels_are_standard_over_the_steps_that_training_sees(data):
    encoder = Encoder.fit(data)
    seen = np.zeros(len(data.sequences.event_time), bool)
    for history, length in zip(data.sequences.history, data.sequences.length, strict=True):
        seen[data.sequences.offsets[history] : data.sequences.offsets[history] + length] = True
    assert 0 < seen.sum() < len(seen)
    encoded = encoder.encode(data.sequences).numeric[seen]
    amount = encoder.numeric_channels.index("amount")
    assert encoded[:, amount].mean() == pytest.approx(0, abs=1e-3)
    assert encoded[:, amount].std() == pytest.approx(1, abs=1e-2)


def test_what_lies_behind_the_last_cutoff_moves_nothing_fitted(data):
    changed = change_after(data, int(data.cutoff.max()))
    assert not np.array_equal(changed.sequences.numeric["amount"], data.sequences.numeric["amount"])
    assert Encoder.fit(changed) == Encoder.fit(data)


def test_the_gap_is_the_logarithm_of_the_days_since_the_previous_event_of_the_same_customer():
    data = make_dataset(
        [START + np.array([0, 3, 10]) * DAY, START + np.array([1, 2]) * DAY],
        [START + 20 * DAY],
        (7,),
        np.random.default_rng(0),
    )
    encoder = Encoder.fit(data)
    gap = next(channel for channel in encoder.steps if channel.name == "gap")
    column = encoder.encode(data.sequences).numeric[:, encoder.numeric_channels.index("gap")]
    assert np.expm1(column * gap.scale + gap.centre)[[1, 2, 4]] == pytest.approx([3, 7, 1], abs=1e-5)
    assert not column[[0, 3]].any()


def test_the_first_event_of_all_is_told_from_the_first_after_an_earlier_reading():
    times = START + np.array([0, 3, 10]) * DAY
    data = make_dataset([times, times], [START + 20 * DAY], (7,), np.random.default_rng(0))
    encoder = Encoder.fit(data)
    begins, gap = (encoder.numeric_channels.index(name) for name in ("gap_is_null", "gap"))
    whole = encoder.encode(data.sequences).numeric
    assert (whole[:, begins] > 0).tolist() == [True, False, False] * 2
    on = encoder.encode(data.sequences, np.array([NEVER, START - 7 * DAY])).numeric
    assert (on[:, begins] > 0).tolist() == [True, False, False, False, False, False]
    assert on[3, gap] == whole[2, gap]


def test_the_calendar_of_the_cutoff_knows_its_weekday():
    monday = START + DAY  # 2017-01-02
    times = np.array([monday, monday + DAY // 4])
    cutoffs = [monday + days * DAY for days in (20, 27, 28)]
    data = make_dataset([times], cutoffs, (7,), np.random.default_rng(0))
    encoder = Encoder.fit(data)
    weekday = encoder.at_cutoff(StateAtCutoff.of(data))[
        :, [each.name for each in encoder.cutoffs].index("weekday_sine")
    ]
    assert weekday[0] == weekday[1] != weekday[2]
    assert not {"hour_sine", "weekday_sine"} & set(encoder.numeric_channels)


def test_an_encoder_of_before_still_reads_the_hour_and_the_weekday_of_a_step():
    times = START + DAY + np.array([0, 7 * DAY, 8 * DAY + DAY // 4])  # two Mondays and a Tuesday
    data = make_dataset([times], [START + 20 * DAY], (7,), np.random.default_rng(0))
    old = '{"steps": [["weekday_sine", 0, 1], ["hour_sine", 0, 1]], "cutoffs": [], "vocabularies": {}}'
    weekday, hour = Encoder.from_json(old).encode(data.sequences).numeric.T
    assert weekday[0] == weekday[1] != weekday[2]
    assert hour[0] == hour[1] < hour[2]


@pytest.mark.parametrize(("days", "expected"), [(360, False), (370, True)])
def test_the_time_of_year_is_read_only_where_training_spans_a_year(days, expected):
    times = START + np.linspace(0, days, 20).astype(np.int64) * DAY
    data = make_dataset([times], [START + (days + 5) * DAY], (7,), np.random.default_rng(0))
    encoder = Encoder.fit(data)
    assert ("year_sine" in encoder.numeric_channels) is expected
    assert "year_sine" not in Encoder.fit(data, calendar=False).numeric_channels


def test_an_unknown_category_and_null_are_zero():
    data = order_world(customers=40)
    encoder = Encoder.fit(data)
    codes, _ = data.sequences.categorical["store"]
    data.sequences.categorical["store"] = (np.where(np.arange(len(codes)) == 0, -1, codes), ["a", "elsewhere"])
    encoded = encoder.encode(data.sequences).categorical[:, 0]
    assert encoder.vocabularies == {"store": ["a", "b"]}
    assert encoded[0] == 0
    assert set(encoded[1:][codes[1:] == 0]) == {1}
    assert set(encoded[1:][codes[1:] == 1]) == {0}


def test_codes_follow_the_value_and_not_its_place():
    data = order_world(customers=40)
    encoder = Encoder.fit(data)
    before = encoder.encode(data.sequences).categorical
    codes, values = data.sequences.categorical["store"]
    data.sequences.categorical["store"] = (1 - codes, values[::-1])
    assert np.array_equal(encoder.encode(data.sequences).categorical, before)


def test_absurd_amounts_are_held_within_the_limit_and_null_is_the_centre(data):
    encoder = Encoder.fit(data)
    shares = data.sequences.numeric["share"]
    amounts = np.where(np.arange(len(shares)) == 0, 1e300, np.nan)
    sequences = change_after(data, 2**62).sequences
    sequences.numeric["amount"] = amounts
    column = encoder.encode(sequences).numeric[:, encoder.numeric_channels.index("amount")]
    assert column[0] == LIMIT
    assert not column[1:].any()


def test_a_null_has_a_channel_of_its_own(data):
    encoder = Encoder.fit(data)
    column = encoder.encode(data.sequences).numeric[:, encoder.numeric_channels.index("share_is_null")]
    assert len(np.unique(column)) == 2
    assert np.array_equal(column == column.max(), np.isnan(data.sequences.numeric["share"]))


def test_the_silence_at_the_cutoff_grows_with_the_days_since_the_last_event(data):
    encoder = Encoder.fit(data)
    silence = data.cutoff - data.sequences.event_time[data.sequences.last_step]
    order = np.argsort(silence)
    assert (np.diff(encoder.at_cutoff(StateAtCutoff.of(data))[order, 0]) >= 0).all()


def test_an_encoder_survives_json(data):
    encoder = Encoder.fit(data)
    assert Encoder.from_json(encoder.to_json()) == encoder


def test_signed_log():
    assert signed_log(np.array([-9.0, 0.0, 9.0])) == pytest.approx([-np.log(10), 0, np.log(10)])
    assert np.isnan(signed_log(np.array([np.nan]))).all()


def test_histories_are_encoded_a_run_at_a_time_to_the_same_numbers(data, monkeypatch):
    whole = Encoder.fit(data)
    expected = whole.encode(data.sequences)
    monkeypatch.setattr("features.sequences.flat.STEPS_AT_ONCE", 30)
    monkeypatch.setattr("features.sequences.flat.LONGEST_IN_MEMORY", 0)
    parts = Encoder.fit(data)
    assert parts.vocabularies == whole.vocabularies
    assert [channel.name for channel in parts.steps] == whole.numeric_channels
    for mine, theirs in zip(parts.steps, whole.steps, strict=True):
        assert (mine.centre, mine.scale) == pytest.approx((theirs.centre, theirs.scale), rel=1e-12)
    found = whole.encode(data.sequences)
    assert isinstance(found.numeric.base, np.memmap)
    np.testing.assert_array_equal(found.numeric, expected.numeric)
    np.testing.assert_array_equal(found.categorical, expected.categorical)
