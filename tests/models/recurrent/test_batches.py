import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Sequences
from features.sequences.encoding import Encoder, StateAtCutoff
from models.recurrent.batches import LEAST_BATCHES, LEAST_STEPS, HistoryReader, cut_batches, cut_chunks
from tests.support.worlds.model_worlds import steady_world

histories = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def pointers(lengths: list[int], seed: int) -> Sequences:
    """Histories of `lengths` and a few examples in each, in shuffled order."""
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    history = random.permutation(np.repeat(np.arange(len(lengths)), 3))
    length = random.integers(1, np.array(lengths)[history] + 1)
    return Sequences(offsets, np.arange(offsets[-1]), {}, {}, history, length)


@given(histories, st.integers(0, 99))
@settings(deadline=None)
def test_every_example_is_asked_once_at_its_last_step(lengths, seed):
    sequences = pointers(lengths, seed)
    chunks = cut_chunks(sequences)
    assert sorted(chunks.order) == list(range(len(sequences.history)))
    for chunk in range(len(chunks.start)):
        for example in chunks.order[chunks.first[chunk] : chunks.first[chunk + 1]]:
            assert chunks.start[chunk] == sequences.offsets[sequences.history[example]]
            assert chunks.start[chunk] + chunks.position[example] == sequences.last_step[example]
            assert chunks.position[example] < chunks.length[chunk]


@given(histories, st.integers(0, 99), st.integers(2, 20))
@settings(deadline=None)
def test_training_chunks_are_short_and_leave_each_example_half_of_their_length(lengths, seed, max_steps):
    sequences = pointers(lengths, seed)
    chunks = cut_chunks(sequences, max_steps)
    assert chunks.length.max() <= max_steps
    for chunk in range(len(chunks.start)):
        for example in chunks.order[chunks.first[chunk] : chunks.first[chunk + 1]]:
            assert chunks.start[chunk] + chunks.position[example] == sequences.last_step[example]
            seen = chunks.position[example] + 1
            assert seen == sequences.length[example] or seen > max_steps // 2


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.integers(1, 8), st.integers(1, 300))
@settings(deadline=None)
def test_batches_hold_every_chunk_once_and_keep_their_limits(lengths, batch_size, max_cells):
    chunks = cut_chunks(pointers(lengths, 0))
    for random in (None, np.random.default_rng(1)):
        batches = cut_batches(chunks.length, batch_size, max_cells, random)
        assert sorted(np.concatenate(batches)) == list(range(len(chunks.start)))
        for batch in batches:
            enough = random is not None and chunks.length[batch[:-1]].sum() < LEAST_STEPS
            assert len(batch) <= batch_size or enough
            assert len(batch) == 1 or len(batch) * chunks.length[batch].max() <= max_cells


def test_training_batches_of_short_histories_hold_enough_steps_and_lengths_of_every_kind():
    chunks = cut_chunks(pointers([1] * 9_000 + [9] * 2_000, 0))
    batches = cut_batches(chunks.length, 32, 100_000, np.random.default_rng(1))
    steps = [chunks.length[batch].sum() for batch in batches]
    assert min(sorted(steps)[1:]) >= LEAST_STEPS
    few = cut_batches(cut_chunks(pointers([1] * 900, 0)).length, 4, 100_000, np.random.default_rng(1))
    assert len(few) >= LEAST_BATCHES
    mixed = [len(np.unique(chunks.length[batch])) > 1 for batch in batches]
    assert np.mean(mixed) > 0.5


def test_the_order_of_batches_is_decided_by_the_seed_and_the_epoch():
    chunks = cut_chunks(pointers(list(range(1, 200)), 0))

    def order(*seed: int) -> list[int]:
        return np.concatenate(cut_batches(chunks.length, 8, 10_000, np.random.default_rng(seed))).tolist()

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)


def test_a_batch_holds_the_steps_before_the_padding_and_the_labels_of_those_asked():
    data = steady_world(customers=8)
    encoded = Encoder.fit(data).encode(data.sequences)
    context = np.arange(len(data), dtype=np.float32)[:, None]
    recency = StateAtCutoff.of(data).silence_days
    reader = HistoryReader(cut_chunks(data.sequences), encoded, context, data.labels, recency)
    for batch in reader.cut(3, 10_000):
        arrays, example = reader.read(batch)
        for row, chunk in enumerate(batch):
            start, length = reader.chunks.start[chunk], reader.chunks.length[chunk]
            assert np.array_equal(arrays["numeric"][row, :length], encoded.numeric[start : start + length])
            assert not arrays["numeric"][row, length:].any()
            assert not arrays["categorical"][row, length:].any()
        asked = example >= 0
        assert np.array_equal(arrays["context"][asked][:, 0], example[asked])
        assert np.array_equal(arrays["churn"][asked], data.labels.churn[example[asked]])
        assert np.isnan(arrays["churn"][~asked]).all()


def test_short_histories_do_not_share_a_batch_with_long_ones_when_asking():
    chunks = cut_chunks(pointers([50] * 20 + [1] * 20, 0))
    batches = cut_batches(chunks.length, 20, 10_000)
    real = sum(chunks.length[batch].sum() for batch in batches)
    padded = sum(len(batch) * chunks.length[batch].max() for batch in batches)
    assert real / padded > 0.6


def test_a_history_is_read_no_further_than_its_last_example_looks():
    sequences = Sequences(np.array([0, 30]), np.arange(30), {}, {}, np.array([0, 0]), np.array([4, 7]))
    assert cut_chunks(sequences).length.tolist() == [7]
    assert cut_chunks(sequences).position.tolist() == [3, 6]


def test_readable_steps_lengthen_the_last_chunk_of_each_history_alone():
    sequences = Sequences(np.array([0, 30, 36]), np.arange(36), {}, {}, np.array([0, 0, 1]), np.array([4, 16, 3]))
    plain, further = cut_chunks(sequences, 8), cut_chunks(sequences, 8, np.array([19, 6]))
    assert plain.length.tolist() == [4, 8, 3]
    assert further.length.tolist() == [4, 8, 6]
    assert cut_chunks(sequences, None, np.array([19, 6])).length.tolist() == [19, 6]
    assert np.array_equal(further.position, plain.position)
