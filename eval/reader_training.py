"""Teaches the reader on questions whose answer stands in a gold passage, and on questions that have none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import Progress

from eval.datasets import Passage, Question
from eval.span_model import Reader, SpanNetwork, TextWindow, windows_of
from rag_compress.models.classifier.network import Batch
from rag_compress.models.protocols import Passage as ScoredPassage
from rag_compress.scorers import LexicalScorer


@dataclass(frozen=True)
class ReaderSchedule:
    """How long and how fast to train.

    Attributes:
        steps: Updates in all.
        minutes: The most time; the learning rate has fallen to 0 when either is used up.
        windows: Windows of one update.
        learning_rate: The highest, after a warm-up of a twentieth of all.
        nulls: The share of windows that hold no answer.
        shortened: The share of passages of which only a run of sentences is read, as of a compressed one.
        seed: Of every random choice.
        threads: How many parts of an update are computed side by side, each on one thread.
    """

    steps: int = 700
    minutes: float = 15.0
    windows: int = 32
    learning_rate: float = 3e-4
    nulls: float = 0.35
    shortened: float = 0.5
    seed: int = 0
    threads: int = 2

    def rate(self, progress: float) -> float:
        """Returns the learning rate when this share of the steps or minutes is used up."""
        return self.learning_rate * max(0.0, min(1.0, 20 * progress + 0.02, (1 - progress) / 0.9))


class SpanExample(NamedTuple):
    """A window and the tokens of its answer, `(0, 0)` when it holds none."""

    window: TextWindow
    span: tuple[int, int]


def train_reader(reader: Reader, questions: Sequence[Question], schedule: ReaderSchedule) -> list[float]:
    """Trains the reader in place and returns the mean loss of each update; the token embeddings stay as they are."""
    torch.manual_seed(schedule.seed)
    network = reader.network.train()
    network.encoder.get_input_embeddings().requires_grad_(requires_grad=False)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, weight_decay=0.01)
    draw = ExampleSource(questions, reader.tokenizer, schedule)
    losses: list[float] = []
    start, progress = time.monotonic(), 0.0
    with ThreadPoolExecutor(schedule.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool, _bar() as bar:
        task = bar.add_task("training", total=1.0)
        while progress < 1:
            optimizer.param_groups[0]["lr"] = schedule.rate(progress)
            losses.append(_update(network, learning, optimizer, draw.parts(len(losses)), pool))
            progress = max(len(losses) / schedule.steps, (time.monotonic() - start) / 60 / schedule.minutes)
            bar.update(task, completed=progress, description=f"training, loss {np.mean(losses[-20:]):.2f}")
    return losses


class ExampleSource:
    """Draws examples at random; which ones depends on the seed and the number of the update alone."""

    def __init__(self, questions: Sequence[Question], tokenizer: Any, schedule: ReaderSchedule) -> None:
        self.answerable = [q for q in questions if any(locate(q, p) for p in q.passages)]
        self.with_nulls = [q for q in questions if any(p.gold is False for p in q.passages)]
        self.tokenizer = tokenizer
        self.schedule = schedule

    def parts(self, step: int) -> list[list[SpanExample]]:
        """Returns the examples of one update, in parts of about equal cost for the threads."""
        rng = np.random.default_rng([self.schedule.seed, step])
        examples = [self._draw(rng) for _ in range(self.schedule.windows)]
        examples.sort(key=lambda example: len(example.window.window.ids))
        threads = self.schedule.threads
        return [examples[i::threads] for i in range(threads) if examples[i::threads]]

    def _draw(self, rng: np.random.Generator) -> SpanExample:
        if self.with_nulls and (not self.answerable or rng.random() < self.schedule.nulls):
            return self._null(self.with_nulls[rng.integers(len(self.with_nulls))], rng)
        return self._answered(self.answerable[rng.integers(len(self.answerable))], rng)

    def _answered(self, question: Question, rng: np.random.Generator) -> SpanExample:
        found = [(passage, span) for passage in question.passages if (span := locate(question, passage))]
        passage, (start, end) = found[rng.integers(len(found))]
        begin, stop = self._run(passage, rng, (start, end))
        windows = windows_of(self.tokenizer, question.query, passage.text[begin:stop])
        placed = [SpanExample(w, span) for w in windows if (span := w.place(start - begin, end - begin))]
        return placed[rng.integers(len(placed))] if placed else SpanExample(windows[0], (0, 0))

    def _null(self, question: Question, rng: np.random.Generator) -> SpanExample:
        """Returns a window of the passage without the answer that looks most like the question, or of a random one."""
        passages = [p for p in question.passages if p.gold is False and p.text.strip()]
        passage = _most_like(question.query, passages) if rng.random() < 0.5 else passages[rng.integers(len(passages))]
        begin, stop = self._run(passage, rng)
        windows = windows_of(self.tokenizer, question.query, passage.text[begin:stop])
        return SpanExample(windows[rng.integers(len(windows))], (0, 0))

    def _run(
        self, passage: Passage, rng: np.random.Generator, around: tuple[int, int] | None = None
    ) -> tuple[int, int]:
        """Returns the characters of the whole passage, or of a random run of sentences (around an answer)."""
        sentences = passage.sentences
        if not sentences or rng.random() >= self.schedule.shortened:
            return 0, len(passage.text)
        one, other = sorted(int(i) for i in rng.integers(len(sentences), size=2))
        begin, stop = sentences[one][0], sentences[other][1]
        return (min(begin, around[0]), max(stop, around[1])) if around else (begin, stop)


def locate(question: Question, passage: Passage) -> tuple[int, int] | None:
    """Returns the characters of the first answer in a gold passage, in an evidence sentence if one holds it."""
    if not passage.gold:
        return None
    sentences = [passage.sentences[i] for i in passage.evidence or ()]
    for start, end in (*sentences, (0, len(passage.text))):
        for answer in question.answers:
            place = passage.text.find(answer, start, end) if answer else -1
            if place >= 0:
                return place, place + len(answer)
    return None


def _most_like(query: str, passages: Sequence[Passage]) -> Passage:
    group = [ScoredPassage("", passage.text, passage.sentences) for passage in passages]
    best = [scores.max(initial=0.0) for scores in LexicalScorer().score([query], [group])[0]]
    return passages[int(np.argmax(best))]


def _update(
    network: SpanNetwork,
    learning: Sequence[torch.nn.Parameter],
    optimizer: Any,
    parts: Sequence[Sequence[SpanExample]],
    pool: ThreadPoolExecutor,
) -> float:
    """Makes one update from the mean gradient of its examples, and returns their mean loss."""
    results = list(pool.map(lambda part: _gradient(network, learning, part), parts))
    total = sum(map(len, parts))
    for i, parameter in enumerate(learning):
        gradients = [gradient[i] * (len(part) / total) for part, (gradient, _) in zip(parts, results, strict=True)]
        parameter.grad = sum(gradients[1:], gradients[0])
    torch.nn.utils.clip_grad_norm_(learning, 1.0)
    optimizer.step()
    return sum(loss * len(part) for part, (_, loss) in zip(parts, results, strict=True)) / total


def _gradient(
    network: SpanNetwork, learning: Sequence[torch.nn.Parameter], part: Sequence[SpanExample]
) -> tuple[Sequence[torch.Tensor], float]:
    """Returns the gradient of the mean cross-entropy of starts and ends, and its value; halves, for less padding."""
    middle = len(part) // 2
    halves = [half for half in (part[:middle], part[middle:]) if half]
    loss = sum(_loss(network, half) * (len(half) / len(part)) for half in halves)
    gradients = torch.autograd.grad(loss, learning, allow_unused=True, materialize_grads=True)
    return gradients, float(loss.detach())


def _loss(network: SpanNetwork, part: Sequence[SpanExample]) -> torch.Tensor:
    logits = network(*Batch.of([example.window.window for example in part]))
    spans = torch.tensor([example.span for example in part])
    return sum(torch.nn.functional.cross_entropy(logits[:, k], spans[:, k]) for k in (0, 1)) / 2


def _bar() -> Progress:
    return Progress(transient=True)
