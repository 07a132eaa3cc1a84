"""The times of the last events, moved on night by night, are those of the whole past."""

import numpy as np

from features.sequences.recent import Recent


def test_nights_add_up_to_the_last_of_the_whole_past() -> None:
    random, nobody = np.random.default_rng(3), np.zeros(0, np.int64)
    recent, past = Recent(nobody, nobody, 4), [np.zeros(0, np.int64) for _ in range(9)]
    for night in range(30):
        customer = np.sort(random.integers(0, 8, random.integers(0, 12)))
        time = 100 * night + np.sort(random.integers(0, 50, len(customer)))
        order = np.lexsort((time, customer))
        recent = recent.with_more(customer[order], time[order])
        for one in range(9):
            past[one] = np.concatenate([past[one], time[order][customer[order] == one]])
        asked = np.array([0, 2, 5, 8])
        offsets, times = recent.of(asked)
        for place, one in enumerate(asked):
            assert times[offsets[place] : offsets[place + 1]].tolist() == past[one][-4:].tolist()


def test_customers_can_be_left_out_and_let_in() -> None:
    recent = Recent(np.array([0, 1, 1, 2]), np.array([5, 6, 7, 8]), 2).moved(np.array([1, -1, 3]))
    assert (recent.customer.tolist(), recent.time.tolist()) == ([1, 3], [5, 8])
