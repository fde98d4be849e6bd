"""Fine-tunes a sequence-to-sequence summarizer, or a copying one around any encoder, on chosen summaries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rag_compress.checks import check_count, check_number
from rag_compress.errors import InvalidInput
from rag_compress.models.summarizers.copying import CopyingModel, seq2seq_model, torch
from rag_compress.models.summarizers.generation import PLAIN, RECOMP, SETTINGS, check_template, fill
from rag_compress.training.card import SUMMARIZER, licence_table, write_card
from rag_compress.training.distillation import Candidates, Distillation, Pair, read_candidates
from rag_compress.training.loop import TrainingRun, half, ramp, spread

_File = tuple[str, list[Candidates]]
_POOL = 32
"""How many batches are sorted by length together, so that little is padded."""


@dataclass(frozen=True)
class SummarizerTraining:
    """All options of a training run; with the library's version they decide its result.

    Attributes:
        data: Files of questions, documents and candidate summaries (see `training.distillation`).
        out: The folder for the checkpoint, the log, and at the end the model.
        model: What to start from, by name or folder: a sequence-to-sequence checkpoint, or with `copying` an encoder.
        copying: Whether to train a `CopyingModel` around the encoder.
        dev: Files to measure the loss on while training; nothing is learned from them.
        distillation: Chooses the targets.
        template: The model's input; `None`: RECOMP's, or for a copying model the documents alone.
        steps: Updates in all; a finished or broken-off run resumes with another number.
        batch_size: Examples of an update.
        learning_rate: The highest; it rises from 0 in the first 5% of the steps and falls to 0 until the last.
        max_source_tokens: Longer examples are left out, and counted.
        max_target_tokens: The same for targets.
        seed: Of every random choice.
        device: `cpu` or `cuda`; on a GPU the passes run in bfloat16.
        evaluate_every: Steps between two measurements and checkpoints.
        dev_examples: The most examples to measure on.
    """

    data: tuple[str, ...]
    out: str
    model: str
    copying: bool = False
    dev: tuple[str, ...] = ()
    distillation: Distillation = field(default_factory=Distillation)
    template: str | None = None
    steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 2e-4
    max_source_tokens: int = 512
    max_target_tokens: int = 128
    seed: int = 0
    device: str = "cpu"
    evaluate_every: int = 200
    dev_examples: int = 200

    def __post_init__(self) -> None:
        check_template(self.input_template)
        for name in ("steps", "batch_size", "max_source_tokens", "max_target_tokens", "evaluate_every", "dev_examples"):
            check_count(name, getattr(self, name), 1)
        check_count("seed", self.seed)
        check_number("learning_rate", self.learning_rate, 0, 1e6)

    @property
    def input_template(self) -> str:
        """What the model reads."""
        return self.template or (PLAIN if self.copying else RECOMP)


def train(options: SummarizerTraining) -> Path:
    """Trains a summarizer, resuming from the checkpoint in `options.out` if there is one; returns that folder.

    Raises:
        InvalidInput: A file or the model cannot be used, nothing is left to learn from, or the checkpoint is of a run
            with other options.
        MissingExtra: torch or transformers is not installed.
    """
    return _Run(options).train(options.steps, options.evaluate_every)


@dataclass(frozen=True)
class _Example:
    source: list[int]
    target: list[int]


class _Run(TrainingRun):
    """The state of a training run."""

    def __init__(self, options: SummarizerTraining) -> None:
        super().__init__(options.out, options.device)
        data, dev = map(_read, (options.data, options.dev))  # before a model is fetched and loaded
        torch.manual_seed(options.seed)
        self.options = options
        self.network, self.tokenizer = seq2seq_model(options.model, copying=options.copying)
        self.network.to(options.device)
        self.counts: Counter[str] = Counter()
        self.licences: dict[str, Counter[str]] = {}
        self.examples = self._examples(data, self.counts)
        self.dev = spread(self._examples(dev, Counter()), options.dev_examples) if options.dev else []
        if isinstance(self.network, CopyingModel):  # the same table reads and writes: moved words would fit neither
            self.network.encoder.network.get_input_embeddings().requires_grad_(requires_grad=False)
        self.learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.learning, weight_decay=0.01)

    def _examples(self, files: Sequence[_File], counts: Counter[str]) -> list[_Example]:
        """Returns the examples of files, in order, and counts what was left out."""
        examples = []
        for path, lines in files:
            if path in self.options.data:
                self.licences[path] = Counter(line.licence for line in lines)
            pairs, own = self.options.distillation.pairs(lines)
            for pair in pairs:
                example = self._encoded(pair)
                fits = len(example.source) <= self.options.max_source_tokens
                if fits and len(example.target) <= self.options.max_target_tokens:
                    examples.append(example)
                else:
                    own["learned" if pair.summary.strip() else "learned as empty"] -= 1
                    own["too many tokens"] += 1
            counts.update(own)
        if not examples:
            raise InvalidInput(f"{', '.join(path for path, _ in files)}: nothing to learn from: {dict(counts)}")
        return examples

    def _encoded(self, pair: Pair) -> _Example:
        source = self.tokenizer(fill(self.options.input_template, pair.query, pair.documents), verbose=False)
        target = self.tokenizer(text_target=pair.summary, verbose=False)["input_ids"]
        if self.options.copying:
            target = target[1:]  # the decoder starts with the token that starts a text
        return _Example(source["input_ids"], target)

    def identity(self) -> dict[str, Any]:
        """Returns what has to be the same; steps and rates may change on the way."""
        options = self.options
        names = ("model", "copying", "input_template", "seed", "batch_size")
        choices = {name: getattr(options, name) for name in names}
        return {
            "data": list(options.data),
            **choices,
            "reader": _name_of(options.distillation.reader),
            "examples": len(self.examples),
        }

    def advance(self) -> None:
        """Makes one update."""
        options = self.options
        torch.manual_seed(options.seed * 1_000_003 + self.step)
        self.set_rate(options.learning_rate * ramp(self.step, options.steps, warmup=0.05))
        self.network.train()
        loss = self._loss(self._drawn())
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()
        self.losses.append(loss.item())

    def _drawn(self) -> list[_Example]:
        """Returns the batch of this step, which depends on nothing but the seed and the step.

        Each time through the examples is in a new order; batches of one length are made within stretches of it.
        """
        size, count = self.options.batch_size, len(self.examples)
        per_epoch = -(-count // size)
        epoch, place = divmod(self.step, per_epoch)
        rng = np.random.default_rng([self.options.seed, epoch])
        order = rng.permutation(count)
        stretch = place // _POOL * _POOL
        pool = sorted(order[stretch * size : (stretch + _POOL) * size], key=lambda i: len(self.examples[i].source))
        batches = [pool[start : start + size] for start in range(0, len(pool), size)]
        mixed = np.random.default_rng([self.options.seed, epoch, stretch]).permutation(len(batches))
        return [self.examples[i] for i in batches[mixed[place - stretch]]]

    def _loss(self, batch: Sequence[_Example]) -> Any:
        pad = self.tokenizer.pad_token_id
        ids = _padded([example.source for example in batch], pad).to(self.device)
        labels = _padded([example.target for example in batch], -100).to(self.device)
        mask = _padded([[1] * len(example.source) for example in batch], 0).to(self.device)
        with half(self.device):
            return self.network(input_ids=ids, attention_mask=mask, labels=labels).loss.float()

    def measure(self) -> dict[str, Any]:
        """Returns the mean loss on the dev files."""
        if not self.dev:
            return {}
        self.network.eval()
        with torch.inference_mode():
            losses = [self._loss(batch).item() for batch in _batches(self.dev, self.options.batch_size)]
        return {"dev loss": round(float(np.mean(losses)), 4)}

    def finish(self) -> Path:
        """Writes the model, its tokenizer, settings and card; returns the folder."""
        self.network.eval().cpu().save_pretrained(self.out)
        self.tokenizer.save_pretrained(self.out)
        settings = {"template": self.options.input_template, "max_source_tokens": self.options.max_source_tokens}
        (self.out / SETTINGS).write_text(json.dumps(settings, indent=2), encoding="utf-8")
        recipe = vars(self.options) | {"distillation": repr(self.options.distillation)}
        figures = {name: count for name, count in self.counts.items() if count}
        write_card(SUMMARIZER, self.out, licence_table(self.licences), recipe, figures | self.figures())
        return self.out


def _read(paths: Sequence[str]) -> list[_File]:
    return [(path, list(read_candidates(path))) for path in paths]


def _name_of(reader: Any) -> str | None:
    """Returns what names a function wherever it is loaded to."""
    return None if reader is None else f"{reader.__module__}:{getattr(reader, '__qualname__', type(reader).__name__)}"


def _padded(rows: Sequence[list[int]], value: int) -> Any:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def _batches(examples: Sequence[_Example], size: int) -> Iterator[Sequence[_Example]]:
    ordered = sorted(examples, key=lambda example: len(example.source))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
