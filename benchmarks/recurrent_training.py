"""Training a GRU on every weekly cutoff of Complete Journey, each history read once, beside the same network given one
sequence an example (in Keras, and in PyTorch on packed sequences), and beside a bare dense GRU of the same size.

Every contender trains the same network on the same labels: embeddings, GRU, three heads, AdamW. A rate is of whole
passes, or of the first batches of one where it would be long (`--batches`), reading and padding included. Accuracy is
the validation log loss after `--epochs` passes; a history brings all its examples at once, so that there are fewer
updates, and its learning rate is higher for it. Event-steps are compared in batches of as many sequences for all.
PyTorch is met where it is installed.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import benchmarks.support.results
from benchmarks.support.journey import journey
from features.dataset import Dataset, Labels
from models.evaluation.ablation import with_own_histories
from models.labels import VALUES, base_rates, observed_labels
from models.numerics import log_loss, sigmoid

UNITS, HEAD_UNITS, HISTORIES, SEQUENCES = 64, 64, 128, 256
RATE, RATE_OF_HISTORIES = 0.006, 0.018
DENSE_STEPS, DENSE_SEQUENCES, DENSE_BATCHES = 50, 256, 20


@dataclass
class Rate:
    """What was trained on in how many seconds."""

    examples: int = 0
    steps: int = 0
    seconds: float = 0.0


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog="recurrent-training")
    options.add_argument("--folder", type=Path, help="where the examples lie, or are kept for the next time")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--batches", type=int, default=30, help="of a pass over one sequence an example")
    options.add_argument("--epochs", type=int, default=4, help="after which accuracy is told; 0 to leave it out")
    asked = options.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        snapshot = journey(asked.folder or Path(scratch))
        train, valid = snapshot.part("train"), snapshot.part("valid")
    contenders = _contenders(train, asked.batches)
    for contender in contenders.values():
        contender()  # compiled and warm
    found: dict[str, list[Rate]] = {name: [] for name in contenders}
    for _ in range(asked.runs):
        for name, contender in contenders.items():
            found[name].append(contender())
            rate = found[name][-1]
            print(
                f"{name}: {rate.examples / rate.seconds:,.0f} examples/s, {rate.steps / rate.seconds:,.0f} steps/s",
                flush=True,
            )

    def median(name: str, of: str) -> float:
        return statistics.median(getattr(rate, of) / rate.seconds for rate in found[name])

    def ratio(peer: str, of: str, own: str = "ours") -> float:
        pairs = zip(found[own], found[peer], strict=True)
        return statistics.median(
            (getattr(ours, of) / ours.seconds) / (getattr(theirs, of) / theirs.seconds) for ours, theirs in pairs
        )

    torch = "torch_packed" in found
    single = ["keras_one_sequence_an_example", *(["torch_one_sequence_an_example"] if torch else [])]
    peers = {
        name: {"examples_per_second": median(name, "examples"), "event_steps_per_second": median(name, "steps")}
        for name in found
        if not name.startswith("ours")
    }
    ratios = {"labelled_examples": min(ratio(name, "examples") for name in single)}
    ratios |= {f"labelled_examples_{name.split('_')[0]}": ratio(name, "examples") for name in single}
    ratios["bare_dense_gru"] = ratio("bare_dense_gru", "steps", "ours_large_batches")
    if torch:
        ratios["pytorch_packed"] = ratio("torch_packed", "steps", "ours_large_batches")
    figures = {
        "event_steps_per_second": median("ours_large_batches", "steps"),
        "labelled_examples_per_second": median("ours", "examples"),
    }
    for name, loss in _accuracy(train, valid, asked.epochs) if asked.epochs else ():
        figures[f"valid_log_loss_{name}"] = loss
        print(f"{name}: log loss {loss:.4f} after {asked.epochs} passes", flush=True)
    from importlib.metadata import version

    benchmarks.support.results.write(
        "recurrent-training",
        {"examples": len(train), "units": UNITS, "histories": len(np.unique(train.sequences.history))},
        figures,
        peers,
        ratios,
        {"torch": version("torch")} if torch else {},
    )


def _contenders(train: Dataset, batches: int) -> dict[str, Callable[[], Rate]]:
    ours, large, single = _ours(train), _Keras(train, DENSE_SEQUENCES), _single(train)
    contenders: dict[str, Callable[[], Rate]] = {
        "ours": lambda: _timed(ours, None),
        "ours_large_batches": lambda: _timed(large, None),
        "keras_one_sequence_an_example": lambda: _timed(single, batches),
        "bare_dense_gru": _bare_dense(ours.model.networks[0]),
    }
    if importlib.util.find_spec("torch"):
        packed, one = _Torch(large), _Torch(single)
        contenders["torch_packed"] = lambda: _timed(packed, None)
        contenders["torch_one_sequence_an_example"] = lambda: _timed(one, batches)
    else:
        print("PyTorch is not installed here: SKIPPED, nothing was compared with it (pip install torch to do so)")
    return contenders


class _Keras:
    """A model of this project and its training step, on histories read once or on one sequence an example."""

    def __init__(self, train: Dataset, batch_size: int, rate: float = RATE, own_layer: bool = True) -> None:
        from models import model_class
        from models.networks.compiled import Compiled
        from models.networks.training import Update
        from models.networks.value_scale import ValueScale
        from models.recurrent.network import packed_layer

        labels = observed_labels(train.labels)
        self.batch_size = batch_size
        self.model: Any = model_class("gru")(train.horizons, 1, units=UNITS, head_units=HEAD_UNITS, dropout=0.0)
        self.model._prepare(train)
        self.model.values = {name: ValueScale.fit(getattr(labels, name)) for name in VALUES}
        rates = base_rates(labels.churn)
        # A peer's network has the layer that Keras ships.
        layer = packed_layer if own_layer else lambda cell: _keras_gru()
        with mock.patch("models.recurrent.network.packed_layer", layer):
            self.model._build(np.log(rates / (1 - rates)).tolist())
        purchases, spend = (self.model.values[name].to_scale(getattr(labels, name)) for name in VALUES)
        self.reader = self.model._reader(train, Labels(labels.churn, purchases, spend), training=True)
        plan = self.model._plan(4, 0)
        padded = batch_size * self.model.parameters["max_steps"]
        self.plan = replace(plan, batch_size=batch_size, max_padded=padded, learning_rate=rate)
        self.compiled, network = Compiled(self.model.networks[0]), self.model.networks[0]
        self.update = Update(network, self.compiled, self.reader, self.plan)

    def batches(self, random: np.random.Generator) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
        for batch in self.reader.cut(self.plan.batch_size, self.plan.max_padded, random):
            arrays, example = self.reader.read(batch)
            yield {name: arrays[name] for name in self.compiled.read}, self.reader.chunks.length[batch], example

    def learn(self, arrays: dict[str, Any], length: np.ndarray, progress: float) -> None:
        self.update.step(arrays, self.plan.learning_rate_at(progress), 0.9)

    def probability(self, data: Dataset) -> np.ndarray:
        reader = self.model._reader(data, None, training=False)
        return np.asarray(sigmoid(self.compiled.forward(reader, self.update.weights.numpy())["churn"]))


def _keras_gru() -> type:
    """Keras's own layer, which is not told where histories end."""
    import keras

    class KerasGRU(keras.layers.GRU):
        def call(self, sequences: Any, initial_state: Any = None, training: bool = False, length: Any = None) -> Any:
            return super().call(sequences, initial_state=initial_state, training=training)

    return KerasGRU


def _ours(train: Dataset) -> _Keras:
    return _Keras(train, HISTORIES, RATE_OF_HISTORIES)


def _single(train: Dataset) -> _Keras:
    own = replace(with_own_histories(train), labels=train.labels)
    return _Keras(own, SEQUENCES, own_layer=False)


class _Torch:
    """The batches of a Keras contender, learnt by PyTorch."""

    def __init__(self, like: _Keras) -> None:
        from benchmarks.support.torch_gru import PackedGRU

        encoder = like.model.encoder
        vocabularies = [len(known) for known in encoder.vocabularies.values()]
        self.like = like
        self.batches = like.batches
        self.peer = PackedGRU(len(encoder.steps), vocabularies, len(encoder.cutoffs), UNITS, HEAD_UNITS)
        self._take_the_better_number_of_threads()

    def _take_the_better_number_of_threads(self) -> None:
        """Beside other work PyTorch may be many times quicker on one thread than on all."""
        import torch

        batches = [batch for _, batch in zip(range(3), self.batches(np.random.default_rng(7)), strict=False)]
        seconds = {}
        for threads in dict.fromkeys((torch.get_num_threads(), 1)):
            torch.set_num_threads(threads)
            began = time.perf_counter()
            for arrays, length, _ in batches:
                self.learn(arrays, length, 0.0)
            seconds[threads] = time.perf_counter() - began
        torch.set_num_threads(min(seconds, key=seconds.__getitem__))

    def learn(self, arrays: dict[str, Any], length: np.ndarray, progress: float) -> None:
        for group in self.peer.optimizer.param_groups:
            group["lr"] = self.like.plan.learning_rate_at(progress)
        self.peer.update(arrays, length)

    def probability(self, data: Dataset) -> np.ndarray:
        import torch

        reader = self.like.model._reader(data, None, training=False)
        logits = np.zeros((reader.examples, 1))
        with torch.no_grad():
            for batch in reader.cut(SEQUENCES, 65_536):
                arrays, example = reader.read(batch)
                given = self.peer.answers(arrays, reader.chunks.length[batch])["churn"].numpy()
                logits[example[example >= 0]] = given[example >= 0]
        return np.asarray(sigmoid(logits))


def _timed(contender: Any, batches: int | None) -> Rate:
    rate, began = Rate(), time.perf_counter()
    for place, (arrays, length, example) in enumerate(contender.batches(np.random.default_rng(7))):
        if place == batches:
            break
        contender.learn(arrays, length, 0.3)
        rate.examples += int((example >= 0).sum())
        rate.steps += int(length.sum())
    rate.seconds = time.perf_counter() - began
    return rate


def _bare_dense(network: Any) -> Callable[[], Rate]:
    """A GRU of the same size and inputs on dense batches, a logit at its last step, trained by Keras itself."""
    import keras

    channels = (
        int(network.get_layer("steps").output.shape[-1])
        if _has(network, "steps")
        else network.input["numeric"].shape[-1]
    )
    steps = keras.Input((DENSE_STEPS, channels))
    bare = keras.Model(steps, keras.layers.Dense(1)(keras.layers.GRU(UNITS)(steps)))
    bare.compile(keras.optimizers.AdamW(0.003), keras.losses.BinaryCrossentropy(from_logits=True))
    random = np.random.default_rng(1)
    rows = DENSE_SEQUENCES * DENSE_BATCHES
    x = random.normal(size=(rows, DENSE_STEPS, channels)).astype(np.float32)
    y = random.integers(0, 2, (rows, 1)).astype(np.float32)

    def run() -> Rate:
        began = time.perf_counter()
        bare.fit(x, y, batch_size=DENSE_SEQUENCES, epochs=1, verbose=0, shuffle=False)
        return Rate(rows, rows * DENSE_STEPS, time.perf_counter() - began)

    return run


def _has(network: Any, layer: str) -> bool:
    return any(each.name == layer for each in network.layers)


def _accuracy(train: Dataset, valid: Dataset, epochs: int) -> Iterator[tuple[str, float]]:
    """Each contender's validation log loss after so many passes, learning rates following the same course."""
    churn = observed_labels(valid.labels).churn
    contenders: dict[str, Any] = {"ours": _ours(train), "keras_one_sequence_an_example": _single(train)}
    if importlib.util.find_spec("torch"):
        contenders["torch_one_sequence_an_example"] = _Torch(_single(train))
    for name, contender in contenders.items():
        for epoch in range(epochs):
            batches = list(contender.batches(np.random.default_rng(epoch)))
            for place, (arrays, length, _) in enumerate(batches):
                contender.learn(arrays, length, (epoch + (place + 0.5) / len(batches)) / epochs)
        yield name, log_loss(churn, contender.probability(valid))
