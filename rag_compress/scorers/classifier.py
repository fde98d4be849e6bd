"""The library's own scorer: one pass over query and passage scores all its sentences, and the passage."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_choice, check_count
from rag_compress.errors import InvalidInput
from rag_compress.models.classifier.engines import Device, Engine, Output, load_engine
from rag_compress.models.classifier.windows import Reading, WindowCutter, load_tokenizer, pool
from rag_compress.models.onnx import open_session
from rag_compress.models.protocols import Passage
from rag_compress.processes import ProcessLock, load_once
from rag_compress.scorers.features import (
    PASSAGE_FEATURES,
    SENTENCE_FEATURES,
    Logits,
    features,
    lexical_scores,
    passage_features,
    script_of,
    sigmoid,
)
from rag_compress.scorers.surroundings import with_surroundings

BUNDLED = Path(__file__).parent.parent / "models" / "bundled"
"""The folder of the weights that come with the library."""
_LOWEST = -12.0
"""The logit of what the model cannot read: a sentence without tokens, a passage without sentences."""


@dataclass(frozen=True)
class ClassifierScorer:
    """Scores a sentence by the probability that it helps to answer the query.

    A cross-encoder reads the query with the passage, title included, once; longer passages in windows that overlap. Its
    logits of the sentence and of the passage, and the sentence's BM25 score, give the probability by a logistic
    regression fitted on held-out queries (`calibration` in the folder's `config.json`). In a long passage the log-odds
    of the sentences around count as much as a sentence's own (`surroundings.py`).

    On a CPU each window runs alone, several side by side, so that scores are the same to the last bit in any batch; on
    a GPU (extra `gpu`) windows run in fp16 batches, where batch-mates may change the last digits.

    Attributes:
        folder: `model.int8.onnx`, `tokenizer.json` and `config.json`; `None`: the weights that come with the library.
        workers: How many windows run at once on a CPU; `None`: one for each processor.
        device: `auto`: the GPU where the installed onnxruntime works with one, otherwise the CPU; `cuda`: the GPU, or
            an error; `cpu`.
        memory: How many passages' logits are kept for when the same query meets the same passage again.
    """

    folder: str | None = None
    workers: int | None = None
    device: Device = "auto"
    memory: int = 0

    def __post_init__(self) -> None:
        check_count("memory", self.memory)
        if self.workers is not None:
            check_count("workers", self.workers, 1)
        check_choice("device", self.device, Device)

    @classmethod
    def is_available(cls) -> bool:
        """Returns whether the scorer can run here: its two packages (extra `cpu` or `gpu`) are installed."""
        return all(find_spec(package) is not None for package in ("onnxruntime", "tokenizers"))

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str]) -> ClassifierScorer:
        """Returns the scorer with the weights in a folder, as `rag-compress train classifier` leaves them.

        Raises:
            InvalidInput: A file is missing.
        """
        for name in ("model.int8.onnx", "tokenizer.json", "config.json"):
            if not (Path(folder) / name).is_file():
                raise InvalidInput(f"{os.fspath(folder)} holds no classifier: {name} is missing")
        return cls(os.fspath(folder))

    def score(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[NDArray[np.float32]]]:
        """Returns the probabilities, in [0, 1].

        Raises:
            MissingExtra: onnxruntime or tokenizers is not installed.
        """
        weights = [_load(self.folder).calibration[script_of(query)]["sentence"] for query in queries]
        lexical = lexical_scores(queries, passages)
        return [
            [_probability(with_surroundings(_log_odds(own, rows))) for rows in features(query, group, logits, scores)]
            for query, own, group, logits, scores in zip(
                queries, weights, passages, self.logits(queries, passages), lexical, strict=True
            )
        ]

    def relevance(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[NDArray[np.float32]]:
        """Returns, for each query, float32 `(passages,)`: the probability that each passage helps to answer."""
        weights = [_load(self.folder).calibration[script_of(query)]["passage"] for query in queries]
        lexical = lexical_scores(queries, passages)
        return [
            _probability(_log_odds(own, passage_features(group, logits, scores)))
            for own, group, logits, scores in zip(
                weights, passages, self.logits(queries, passages), lexical, strict=True
            )
        ]

    def logits(self, queries: Sequence[str], passages: Sequence[Sequence[Passage]]) -> list[list[Logits]]:
        """Returns the model's logits of each passage, before calibration."""
        pairs = [(query, passage) for query, group in zip(queries, passages, strict=True) for passage in group]
        found = iter(self._remembered(pairs) if self.memory else self._read(pairs))
        return [[next(found) for _ in group] for group in passages]

    def _read(self, pairs: Sequence[tuple[str, Passage]]) -> list[Logits]:
        model, engine = _load(self.folder), self._engine()
        return [each for block in _blocks(pairs) for each in read_pairs(model.cutter, engine, block)]

    def _remembered(self, pairs: Sequence[tuple[str, Passage]]) -> list[Logits]:
        """Returns what the model says of each pair, reading only those that it does not remember."""
        keys, memory = [_key(*pair) for pair in pairs], _memory(self)
        with _REMEMBERING:
            known = {key: memory[key] for key in keys if key in memory}
        new = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in known}
        known |= dict(zip(new, self._read(list(new.values())), strict=True))
        with _REMEMBERING:
            for key in keys:
                memory.pop(key, None)
                memory[key] = known[key]
            while len(memory) > self.memory:
                memory.pop(next(iter(memory)))
        return [known[key] for key in keys]

    @property
    def provider(self) -> str:
        """The execution provider that really runs the graph, as onnxruntime names it; loads the graph."""
        return self._engine().provider

    def _engine(self) -> Engine:
        return load_engine(_folder(self.folder), self.device, self.workers)


_REMEMBERING = ProcessLock()


@load_once(maxsize=4)
def _memory(_: ClassifierScorer) -> dict[bytes, Logits]:
    """Returns the logits of the passages that a scorer, or one equal to it, read lately, the latest last."""
    return {}


def _key(query: str, passage: Passage) -> bytes:
    """Returns what tells a reading from a scorer's others."""
    what = repr((query, passage.title, passage.text, list(passage.sentences)))
    return blake2b(what.encode(errors="surrogatepass"), digest_size=16).digest()


_BLOCK = 1_000_000
"""Characters that are tokenized and run before the next ones are: bounds the memory."""


def _blocks(pairs: Sequence[tuple[str, Passage]]) -> Iterator[list[tuple[str, Passage]]]:
    """Yields runs of pairs of query and passage, of at most `_BLOCK` characters or a single pair."""
    block: list[tuple[str, Passage]] = []
    size = 0
    for pair in pairs:
        if block and size + len(pair[1].text) > _BLOCK:
            yield block
            block, size = [], 0
        block.append(pair)
        size += len(pair[1].text)
    if block:
        yield block


def read_pairs(cutter: WindowCutter, engine: Engine, pairs: Sequence[tuple[str, Passage]]) -> list[Logits]:
    """Returns what the model that an engine runs says of each pair of query and passage."""
    readings: list[Reading] = []
    for query, group in groupby(pairs, key=lambda pair: pair[0]):
        readings += cutter.read(query, [passage for _, passage in group])
    outputs = iter(engine.run([window for reading in readings for window in reading.windows]))
    return [_put_together(reading, outputs) for reading in readings]


@dataclass(frozen=True)
class _Model:
    cutter: WindowCutter
    calibration: Mapping[str, Mapping[str, Sequence[float]]]


def forget_loaded() -> None:
    """Lets every classifier be loaded anew on its next use: after its files were written again."""
    _load.cache_clear()
    _memory.cache_clear()
    load_engine.cache_clear()
    open_session.cache_clear()


@load_once(maxsize=4)
def _load(folder: str | None) -> _Model:
    path = _folder(folder)
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        max_tokens, overlap, calibration = (config[name] for name in ("max_tokens", "overlap", "calibration"))
        lengths = {(len(weights["sentence"]), len(weights["passage"])) for weights in calibration.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path} holds no classifier: config.json: {error!r:.200}") from error
    if lengths != {(1 + len(SENTENCE_FEATURES), 1 + len(PASSAGE_FEATURES))}:
        raise InvalidInput(f"{path} was calibrated by another version of rag_compress: train it again")
    return _Model(WindowCutter(load_tokenizer(path / "tokenizer.json"), max_tokens, overlap), calibration)


def _folder(folder: str | None) -> Path:
    return Path(folder) if folder is not None else BUNDLED


def _put_together(reading: Reading, outputs: Iterator[Output]) -> Logits:
    """Returns the logits of one passage, taking the outputs of its windows from the iterator."""
    logits = np.full(len(reading.ranges), _LOWEST, np.float32)
    passage, stitched = _LOWEST, None
    for window in reading.windows:
        tokens, logit = next(outputs)
        if stitched is None:
            stitched = np.zeros((reading.size, tokens.shape[1]), np.float32)
        stitched[window.first : window.first + window.size] = tokens[window.begin : window.begin + window.size]
        passage = max(passage, logit)
    if stitched is not None:
        logits = np.nan_to_num(pool(stitched, reading.ranges), nan=_LOWEST)
    return Logits(logits, passage)


def _log_odds(weights: Sequence[float], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns float64 `(rows,)` from the weights of a logistic regression, the bias first."""
    return np.asarray(weights[0] + rows @ np.array(weights[1:]))


def _probability(log_odds: NDArray[np.float64]) -> NDArray[np.float32]:
    return sigmoid(log_odds).astype(np.float32)
