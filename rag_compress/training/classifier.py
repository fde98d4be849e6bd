"""Trains the sentence classifier: which sentences of a passage help to answer a query, and whether the passage does.

The loss of a step is the sum of

* binary cross-entropy over the sentences whose label is known (Provence trains on tokens alike; padding, query and
  title never count),
* softmax cross-entropy of each evidence sentence against all sentences of the query's passages that are none,
* binary cross-entropy over the passages, and
* the divergence from a teacher's distribution over the query's sentences, where the data has a teacher's logits.

What cannot be known is left out: a window that a sentence of the evidence only reaches into is not called irrelevant.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_compress.checks import check_count, check_number
from rag_compress.errors import InvalidInput
from rag_compress.models.classifier.engines import Output
from rag_compress.models.classifier.network import Batch, ClassifierNetwork, encoder_tokenizer, pool_tokens, torch
from rag_compress.models.classifier.windows import Window, WindowCutter
from rag_compress.models.export import export_classifier
from rag_compress.models.onnx import runtime
from rag_compress.scorers.classifier import ClassifierScorer, forget_loaded, read_pairs
from rag_compress.scorers.features import lexical_scores
from rag_compress.training.calibration import UNCALIBRATED, calibrate
from rag_compress.training.card import CLASSIFIER, source_table, write_card
from rag_compress.training.checkpoint import read_checkpoint
from rag_compress.training.examples import Example, LabelledPassage, Mixture, Source, read_examples
from rag_compress.training.loop import TrainingRun, half, ramp
from rag_compress.training.targets import Target, losses_of, micro_batches, targets_of
from rag_compress.words import count_words

_PACE = ("steps", "learning_rate", "warmup", "decay", "micro_tokens")
"""What of a schedule may change on the way."""
_PROGRESS = ("step", "loss", "drawn")
"""What a measurement says besides the recall on dev files."""
_IDLE = 10
"""How many times all lines may be drawn with nothing to learn from."""
_TRACED = 4
"""Windows of each file that the graphs are checked on."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps: Updates in all; a finished or broken-off run resumes with another number.
        step_tokens: The tokens of one update, at least.
        shards: How many parts of an update are computed apart; its gradient is the mean of theirs.
        micro_tokens: The tokens of one forward pass, at most (one window may be more).
        learning_rate: The highest, reached after the warm-up and held until the decay.
        warmup: The share of steps in which it rises from 0.
        decay: The share of steps, at the end, in which it falls to 0.
        weight_decay: Of all matrices.
        listwise: The weight of the cross-entropy between a query's sentences.
        passages: The weight of the cross-entropy over passages.
        lexical: How many times the BM25 score is added to a sentence's logit.
        distilled: The weight of the divergence from a teacher.
        freeze_embeddings: Whether the token embeddings stay as they are.
        frozen: A regular expression; parameters whose name it matches anywhere stay as they are, too.
    """

    steps: int = 3000
    step_tokens: int = 6000
    shards: int = 4
    micro_tokens: int = 900
    learning_rate: float = 2e-4
    warmup: float = 0.05
    decay: float = 0.3
    weight_decay: float = 0.01
    listwise: float = 0.5
    passages: float = 0.5
    lexical: float = 8.0
    distilled: float = 1.0
    freeze_embeddings: bool = True
    frozen: str | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "step_tokens", "shards", "micro_tokens"):
            check_count(name, getattr(self, name), 1)
        for name in ("learning_rate", "weight_decay", "listwise", "passages", "lexical", "distilled"):
            check_number(name, getattr(self, name), 0, 1e6)
        for name in ("warmup", "decay"):
            check_number(name, getattr(self, name), 0, 1)
        if self.step_tokens < self.shards:
            raise InvalidInput(f"step_tokens must be at least shards, not {self.step_tokens} for {self.shards}")
        try:
            re.compile(self.frozen or "")
        except re.error as error:
            raise InvalidInput(f"frozen is not a regular expression: {self.frozen!r:.80} ({error})") from error

    def rate(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0."""
        return self.learning_rate * ramp(step, self.steps, self.warmup, self.decay)


@dataclass(frozen=True)
class ClassifierTraining:
    """All options of a training run; with the library's version they decide its result.

    Attributes:
        data: The examples to learn from.
        out: The folder for the checkpoint, the log, and at the end the model.
        encoder: The encoder to start from: a folder, or a name that transformers can load.
        start: The `checkpoint.pt` of another run with the same encoder, to go on from its network.
        dev: Files to measure on while training; nothing is learned from them.
        schedule: How long and how fast.
        max_tokens: The longest window in training.
        score_tokens: The longest window in scoring.
        seed: Of every random choice.
        device: `cpu` or `cuda`.
        bf16: Whether products are computed in bfloat16; `None`: on a GPU. On a CPU it pays only where the processor
            computes with such numbers (AVX512_BF16, AMX): there twice as fast, elsewhere slower.
        workers: How many shards run at once, each on one thread; 1 lets torch spread each operation over the cores,
            which on a busy machine is several times slower. Results differ by rounding only.
        evaluate_every: Steps between two measurements and checkpoints.
        dev_examples: The most examples of each file to measure on.
    """

    data: tuple[Source, ...]
    out: str
    encoder: str
    start: str | None = None
    dev: tuple[str, ...] = ()
    schedule: Schedule = field(default_factory=Schedule)
    max_tokens: int = 384
    score_tokens: int = 512
    seed: int = 0
    device: str = "cpu"
    bf16: bool | None = None
    workers: int = 1
    evaluate_every: int = 250
    dev_examples: int = 60

    def __post_init__(self) -> None:
        for name in ("max_tokens", "score_tokens", "workers", "evaluate_every", "dev_examples"):
            check_count(name, getattr(self, name), 1)
        check_count("seed", self.seed)


def train(options: ClassifierTraining) -> Path:
    """Trains a classifier, resuming from the checkpoint in `options.out` if there is one; returns that folder.

    Raises:
        InvalidInput: A file or the encoder cannot be used, or the checkpoint is of a run with other options.
        MissingExtra: torch, transformers or onnxruntime is not installed.
    """
    runtime()  # `finish` needs it, and it is better missed before a long training than after it
    return _Run(options).train(options.schedule.steps, options.evaluate_every)


def finish(
    options: ClassifierTraining, network: ClassifierNetwork, measured: Mapping[str, Any] = MappingProxyType({})
) -> Path:
    """Writes a trained network into `options.out` as a folder for `ClassifierScorer.from_folder`; returns the folder.

    The graphs are checked against torch, probabilities are calibrated on the dev files (if any), and the card says what
    went in and what came out.

    Raises:
        MissingExtra: onnx, onnxscript or onnxruntime is not installed.
    """
    out, made = Path(options.out), Path(options.out) / "unfinished"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    cutter = WindowCutter(encoder_tokenizer(options.encoder), options.score_tokens)
    cutter.tokenizer.save(str(made / "tokenizer.json"))
    config = {"max_tokens": cutter.max_tokens, "overlap": cutter.overlap, "calibration": UNCALIBRATED}
    (made / "config.json").write_text(json.dumps(config, indent=2))
    differences = export_classifier(network.cpu(), _some_windows(options, cutter), made)
    forget_loaded()
    if options.dev:
        sets = {path: list(read_examples(path, options.dev_examples)) for path in options.dev}
        try:
            config["calibration"] = calibrate(ClassifierScorer.from_folder(made), sets)
        except InvalidInput as error:  # a long run must not end with nothing
            _LOG.warning("%s stays uncalibrated: %s", out, error)
        (made / "config.json").write_text(json.dumps(config, indent=2))
    figures = {f"{name} graph, mean difference from torch": f"{value:.2g}" for name, value in differences.items()}
    recall = "evidence recall at 5% and 20% of the words, "
    figures |= {name if name in _PROGRESS else recall + name: value for name, value in measured.items()}
    write_card(CLASSIFIER, made, source_table(options.data), asdict(options), figures)
    for file in made.iterdir():  # only now: until here a folder in use stays as it was, and a killed run leaves no half
        file.replace(out / file.name)
    made.rmdir()
    forget_loaded()
    return out


def _some_windows(options: ClassifierTraining, cutter: WindowCutter) -> list[Window]:
    """Returns windows of the first examples of each file, for tracing and checking the graphs."""
    windows: list[Window] = []
    for source in options.data:
        found: list[Window] = []
        for example in read_examples(source.path):
            readings = cutter.read(example.query, [labelled.passage for labelled in example.passages[:2]])
            found += [window for reading in readings for window in reading.windows[:1]]
            if len(found) >= _TRACED:
                break
        windows += found[:_TRACED]
    return windows[: 6 * _TRACED]


class _Run(TrainingRun):
    """The state of a training run, with how many examples were drawn."""

    network: ClassifierNetwork

    def __init__(self, options: ClassifierTraining) -> None:
        super().__init__(options.out, options.device)
        for source in (*options.data, *map(Source, options.dev)):
            source.check()  # a bad line found after hours would cost them
        torch.manual_seed(options.seed)
        self.options = options
        self.drawn = 0
        self.mixture = Mixture(options.data, options.seed)
        self.network = ClassifierNetwork.from_encoder(options.encoder).to(options.device)
        if options.start is not None:
            self._start(options.start)
        self._check_positions()
        if options.schedule.freeze_embeddings:
            self.network.encoder.get_input_embeddings().requires_grad_(requires_grad=False)
        for name, parameter in self.network.named_parameters():
            if options.schedule.frozen and re.search(options.schedule.frozen, name):
                parameter.requires_grad_(requires_grad=False)
        self.cutter = WindowCutter(encoder_tokenizer(options.encoder), options.max_tokens)
        self.learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        if not self.learning:
            raise InvalidInput(f"All parameters are frozen: {options.schedule.frozen!r:.80}")
        self.pool = ThreadPoolExecutor(options.workers, initializer=_one_thread if options.workers > 1 else None)
        self.optimizer = torch.optim.AdamW(_groups(self.learning, options.schedule.weight_decay), fused=True)

    def _start(self, path: str) -> None:
        """Takes the network of another run's checkpoint."""
        try:
            self.network.load_state_dict(read_checkpoint(path, self.options.device)["network"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise InvalidInput(f"{path} is no checkpoint of a classifier with this encoder: {error!r:.200}") from error

    def _check_positions(self) -> None:
        positions = getattr(self.network.encoder.config, "max_position_embeddings", None)
        for name in ("max_tokens", "score_tokens"):
            if positions and getattr(self.options, name) > positions:
                raise InvalidInput(f"{name} is {getattr(self.options, name)}, but the encoder reads {positions} tokens")

    def identity(self) -> dict[str, Any]:
        """Returns what has to be the same; steps and rates may change on the way."""
        options = self.options
        return {
            "data": [source.path for source in options.data],
            "mixture": [list(astuple(source)[1:]) for source in options.data],
            **{name: getattr(options, name) for name in ("encoder", "start", "max_tokens", "seed", "bf16")},
            **{name: value for name, value in asdict(options.schedule).items() if name not in _PACE},
        }

    def state(self) -> dict[str, Any]:
        """Returns what the next update depends on."""
        return {**super().state(), "drawn": self.drawn}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` returned."""
        super().restore(state)
        self.drawn = state["drawn"]

    def advance(self) -> None:
        """Makes one update."""
        schedule = self.options.schedule
        torch.manual_seed(self.options.seed * 1_000_003 + self.step)
        self.set_rate(schedule.rate(self.step))
        self.network.train()
        shards = [self._draw(schedule.step_tokens // schedule.shards) for _ in range(schedule.shards)]
        results = list(self.pool.map(self._gradient, shards))
        for i, parameter in enumerate(self.learning):
            parameter.grad = sum(gradients[i] for gradients, _ in results) / schedule.shards
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()
        self.losses.append(np.mean([losses for _, losses in results], axis=0).tolist())

    def _draw(self, tokens: int) -> list[Target]:
        """Returns the windows of the next examples, of at least so many tokens, shorter ones first."""
        targets: list[Target] = []
        query = idle = 0
        while sum(len(target.window.ids) for target in targets) < tokens:
            rng = np.random.default_rng([self.options.seed, 1 << 22, self.drawn])
            example = self.mixture[self.drawn]
            drawn = targets_of(example, self.cutter, self.mixture.source_of(self.drawn).windows, rng, query)
            if _teaches(drawn):
                targets += drawn
                idle = 0
            else:
                idle += 1
                self._check_idle(idle)
            self.drawn += 1
            query += 1
        return sorted(targets, key=lambda target: len(target.window.ids))

    def _check_idle(self, draws: int) -> None:
        if draws > _IDLE * sum(len(source.lines) for source in self.mixture.sources):
            raise InvalidInput("There is nothing to learn: no line has a labelled sentence, or passages that differ")

    def _gradient(self, targets: Sequence[Target]) -> tuple[Sequence[torch.Tensor], list[float]]:
        """Returns the gradient of a shard's loss, in the order of `learning`, and the parts of that loss."""
        schedule, device = self.options.schedule, self.options.device
        batches = micro_batches(targets, schedule.micro_tokens)
        with half(device, bf16=self.options.bf16):
            outputs = [_forward(self.network, batch, device) for batch in batches]
        sentences, passages = (torch.cat(part) for part in zip(*outputs, strict=True))
        losses = losses_of(sentences, passages, targets, schedule.lexical)
        weights = (1.0, schedule.listwise, schedule.passages, schedule.distilled)
        loss = sum(weight * part for weight, part in zip(weights, losses, strict=True))
        gradients = torch.autograd.grad(loss, self.learning, allow_unused=True, materialize_grads=True)
        return gradients, [part.item() for part in losses]

    def measure(self) -> dict[str, Any]:
        """Returns evidence recall at 5% and 20% of the words of the dev files."""
        figures: dict[str, Any] = {"drawn": self.drawn}
        for path in self.options.dev:
            examples = list(read_examples(path, self.options.dev_examples))
            scores = [self._scores(example) for example in examples]
            name = Path(path).name.split(".")[0]
            recalls = [round(evidence_recall(examples, scores, share), 4) for share in (0.05, 0.2)]
            figures[str(path) if name in figures else name] = recalls
        return figures

    def finish(self) -> Path:
        """Writes the model and its card; returns the folder."""
        return finish(self.options, self.network, self.figures())

    def _scores(self, example: Example) -> list[NDArray[np.float32]]:
        passages = [labelled.passage for labelled in example.passages]
        lexical = lexical_scores([example.query], [passages])[0]
        engine = _NetworkEngine(self.network, self.options.device)
        found = read_pairs(self.cutter, engine, [(example.query, passage) for passage in passages])
        weight = self.options.schedule.lexical
        return [each.sentences + weight * scores for each, scores in zip(found, lexical, strict=True)]


def _forward(network: ClassifierNetwork, batch: Sequence[Target], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the logits of the batch's sentences, in order, and of its windows."""
    windows = Batch.of([target.window for target in batch], device)
    outputs, passages = network(*windows)
    width = outputs.shape[1]
    places, owners = [], []
    ranges = [(row * width, *span) for row, target in enumerate(batch) for span in target.ranges]
    for sentence, (base, start, end) in enumerate(ranges):
        places.append(np.arange(base + start, base + end))
        owners.append(np.full(end - start, sentence))
    flat = outputs.flatten(0, 1)[torch.from_numpy(np.concatenate(places)).to(device)]
    return pool_tokens(flat, torch.from_numpy(np.concatenate(owners)).to(device), len(ranges)), passages.float()


@dataclass(frozen=True)
class _NetworkEngine:
    """Runs windows through the network as it is, without training."""

    network: ClassifierNetwork
    device: str
    provider = "torch"

    def run(self, windows: Sequence[Window]) -> list[Output]:
        """Returns each window's outputs."""
        self.network.eval()
        return [self._run(Batch.of([window], self.device)) for window in windows]

    def _run(self, batch: Batch) -> Output:
        with torch.inference_mode():
            tokens, passage = self.network(*batch)
        return tokens[0].float().cpu().numpy(), float(passage)


def evidence_recall(
    examples: Sequence[Example], scores: Sequence[Sequence[NDArray[np.float32]]], share: float
) -> float:
    """Returns the mean recall of evidence sentences within a share of the words of a query's passages.

    Sentences are taken best first, each when it still fits. Queries without evidence do not count.
    """
    recalls = []
    for example, arrays in zip(examples, scores, strict=True):
        labels = np.concatenate([np.zeros(0, np.float32), *map(_labels, example.passages)])
        if not (labels >= 0.5).any():
            continue
        words = np.array(
            [count_words(p.passage.text[start:end]) for p in example.passages for start, end in p.passage.sentences]
        )
        left = share * words.sum()
        found = 0
        for i in np.argsort(-np.concatenate(list(arrays)), kind="stable"):
            if words[i] <= left:
                left -= words[i]
                found += labels[i] >= 0.5
        recalls.append(found / (labels >= 0.5).sum())
    return float(np.mean(recalls)) if recalls else float("nan")


def _labels(labelled: LabelledPassage) -> NDArray[np.float32]:
    return np.zeros(len(labelled.passage.sentences), np.float32) if labelled.labels is None else labelled.labels


def _groups(learning: Sequence[torch.nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Returns the parameters, with weight decay on matrices only."""
    return [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _teaches(targets: Sequence[Target]) -> bool:
    """Returns whether there is something to learn: a labelled sentence, or passages that differ."""
    known = any(not np.isnan(array).all() for target in targets for array in (target.labels, target.logits))
    return known or len({target.gold for target in targets}) > 1


def _one_thread() -> None:
    torch.set_num_threads(1)
