"""Trains a small causal LLM that reads: `python -m eval.small_llm --out FOLDER`.

No pretrained LLM can be had without a hub, and xRAG needs one. This one has the shape of Qwen2 and a chat template. It
learns to go on with a text, to repeat one that it was given, and to answer from a passage, also without one; and in a
second run (`--start FOLDER --keywords 0.6`), to make something of a few words. It never sees the test splits, nor any
soft token. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from eval.datasets import Question, data_folder, read_questions, read_texts
from rag_compress.prompts import BACKGROUND
from rag_compress.text import cut
from rag_compress.training.checkpoint import NAME, read_checkpoint, write_checkpoint
from rag_compress.training.paraphrases import PARAPHRASES

CHAT = (
    "<s>{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ["<pad>", "<s>", "<|end|>", "<|user|>", "<|assistant|>"]
_VOCABULARY = 4096
_TOKENS = 2600
"""Of one update, with padding."""
_ANSWER_WEIGHT = 4.0
_POOL = 256
_SIZE = 0.06
"""Of a token's embedding, in each dimension."""
NO_BACKGROUND = "Question: {query}"
_SHARES = {"answer": 0.45, "blind": 0.1, "repeat": 0.3, "text": 0.15}
_WORDS = 56
"""The most words of a passage."""
_NUMBER = re.compile(r"\b\d[\d.,]*\d%?|\b\d+%?")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")
_ANY = re.compile(r"\b\w+(?: \w+)?\b")


Row = tuple[list[int], int]
"""Token ids, and where what the model should say begins."""
_EVERY = 8


class Reading(NamedTuple):
    """A question, a passage that answers it, and the answer."""

    query: str
    passage: str
    answer: str


def read_pieces(question: Question, words: int = _WORDS) -> Iterator[Reading]:
    """Yields the pieces of a question's gold passages that hold its evidence sentence and answer, within some words."""
    for passage in question.passages:
        for place in passage.evidence or ():
            piece = _around(passage.text, passage.sentences, place, words)
            answer = next((a for a in question.answers if a in piece), None)
            if answer:
                yield Reading(question.query, piece, answer)


def _around(text: str, sentences: Sequence[tuple[int, int]], place: int, words: int) -> str:
    """Returns a sentence with as many neighbours, turn by turn, as there is room for."""
    first, last = place, place + 1
    for step in range(2 * len(sentences)):
        wider = (max(0, first - 1), last) if step % 2 else (first, min(len(sentences), last + 1))
        if len(text[sentences[wider[0]][0] : sentences[wider[1] - 1][1]].split()) <= words:
            first, last = wider
    return text[sentences[first][0] : sentences[last - 1][1]]


def pieces_of(text: str, words: int = _WORDS) -> Iterator[str]:
    """Yields runs of whole sentences with at most so many words."""
    run: list[tuple[int, int]] = []
    for start, end in cut(text):
        if run and len(text[run[0][0] : end].split()) > words:
            yield text[run[0][0] : run[-1][1]]
            run = []
        if len(text[start:end].split()) <= words:
            run.append((start, end))
    if run:
        yield text[run[0][0] : run[-1][1]]


def cloze_of(piece: str, rng: random.Random) -> Reading | None:
    """Returns a question made from one sentence of a piece: with a number, a name or any words to be filled in."""
    sentences = [piece[a:b] for a, b in cut(piece) if b - a > 40]
    if not sentences:
        return None
    sentence = rng.choice(sentences)
    kinds = [(_NUMBER, "how many"), (_NAME, "who"), (_NAME, "what"), (_ANY, "what")]
    pattern, asks = rng.choice(kinds)
    found = list(pattern.finditer(sentence))
    if not found:
        return None
    match = rng.choice(found)
    before, after = sentence[: match.start()].split()[-10:], sentence[match.end() :].strip(".").split()[:10]
    kept = [w for w in [*before, asks, *after] if w == asks or rng.random() > 0.15]
    return Reading(" ".join(kept) + "?", piece, match[0])


class Corpus:
    """Draws training examples; which ones depends on the seed and the number of the pool alone."""

    def __init__(self, data: Path, tokenizer: Any, seed: int, keywords: float = 0.0) -> None:
        self.tokenizer, self.seed, self.keywords = tokenizer, seed, keywords
        questions = [q for name in ("squad", "hotpotqa") for q in read_questions(data, name, "train")]
        self.readings = [reading for question in questions for reading in read_pieces(question)]
        texts = {p.text for q in questions for p in q.passages}
        texts |= {p.text for q in read_questions(data, "medquad", "train") for p in q.passages}
        self.pieces = [p for text in sorted(texts) for p in pieces_of(text) if len(p.split()) >= 12]
        documents = [t for name in ("techdocs", "books") for t in islice(read_texts(data, name), 60)]
        self.stretches = [d[i : i + 900] for d in documents for i in range(0, min(len(d), 90_000), 900)]

    def batches(self, number: int) -> list[list[Row]]:
        """Returns the batches of one pool: rows of token ids, and where the answer begins."""
        rng = random.Random(f"{self.seed} {number}")  # noqa: S311 - not for secrets
        rows = sorted((self._row(rng) for _ in range(_POOL)), key=lambda row: len(row[0]))
        batches: list[list[Row]] = [[]]
        for row in rows:
            if (len(batches[-1]) + 1) * len(row[0]) > _TOKENS:
                batches.append([])
            batches[-1].append(row)
        rng.shuffle(batches)
        return batches

    def probes(self, data: Path) -> dict[str, list[Row]]:
        """Returns what the dev split asks for: with the passage, without it, and to say a passage again."""
        questions = islice(read_questions(data, "squad", "dev"), 400)
        dev = [reading for question in questions for reading in read_pieces(question)][:150]
        return {
            "answer": [self._turn(BACKGROUND.format(context=r.passage, query=r.query), r.answer) for r in dev],
            "blind": [self._turn(NO_BACKGROUND.format(query=r.query), r.answer) for r in dev],
            "repeat": [self._turn(PARAPHRASES[0].format(context=r.passage), r.passage) for r in dev[:60]],
        }

    def _row(self, rng: random.Random) -> Row:
        kind = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
        if kind == "text":
            ids = self.tokenizer(rng.choice(self.stretches))["input_ids"][:256]
            return [1, *ids], len(ids) + 1
        if kind == "repeat":
            piece = rng.choice(self.pieces)
            return self._turn(rng.choice(PARAPHRASES).format(context=self._read(piece, rng)), piece)
        reading = self._reading(rng)
        form = BACKGROUND if kind == "answer" else NO_BACKGROUND
        return self._turn(form.format(context=self._read(reading.passage, rng), query=reading.query), reading.answer)

    def _read(self, passage: str, rng: random.Random) -> str:
        """Returns a passage, or some of its longer words in any order: what it is about, and not what it says."""
        if rng.random() >= self.keywords:
            return passage
        words = sorted(set(re.findall(r"\w{4,}", passage)))
        return " ".join(rng.sample(words, min(len(words), rng.randint(1, 12))))

    def _reading(self, rng: random.Random) -> Reading:
        while True:
            reading = rng.choice(self.readings) if rng.random() < 0.4 else cloze_of(rng.choice(self.pieces), rng)
            if reading:
                return reading

    def _turn(self, user: str, assistant: str) -> Row:
        asked = self.tokenizer(f"<|user|>{user}<|assistant|>")["input_ids"]
        return [1, *asked, *self.tokenizer(assistant)["input_ids"], 2], len(asked) + 1


def make_tokenizer(data: Path) -> Any:
    """Returns a byte-level BPE tokenizer of lower-cased text, learned from the training texts."""
    own = Tokenizer(models.BPE())
    own.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    texts = [p.text for name in ("squad", "hotpotqa") for q in read_questions(data, name, "train") for p in q.passages]
    texts += [t[:20_000] for name in ("techdocs", "books") for t in islice(read_texts(data, name), 60)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=_VOCABULARY, special_tokens=_SPECIAL, initial_alphabet=alphabet)
    own.train_from_iterator(sorted(set(texts)), trainer)
    special = {"bos_token": "<s>", "eos_token": "<|end|>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=own, chat_template=CHAT, **special)


def make_model() -> Any:
    """Returns an untrained model of 10 million parameters, whose first two layers hold an induction circuit."""
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=_VOCABULARY,
            hidden_size=320,
            intermediate_size=896,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=8,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    _induce(model)
    return model


@torch.no_grad()  # type: ignore[untyped-decorator]
def _induce(model: Any, strength: float = 3.0) -> None:
    """Sets two heads so that the model begins by repeating: what followed a token before follows it again.

    A head of the first layer looks at the token before, by its biases and the rotation alone, and writes down which it
    was; a head of the second looks for a place whose token before is the present one, and reads the token there.
    Training may change all of it. To form such a circuit by itself, a model needs more text than there is time for.

    Source: Olsson et al., "In-context Learning and Induction Heads", 2022.
    """
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight *= 0.3
        layer.mlp.down_proj.weight *= 0.3
    model.model.embed_tokens.weight *= _SIZE / model.config.initializer_range
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    width = model.config.hidden_size // model.config.num_attention_heads
    half, few, slow = width // 2, 4, width // 4
    angle = 10_000.0 ** (-torch.arange(half) / half)
    asked, looked = torch.zeros(width), torch.zeros(width)
    asked[:few] = 7.0
    looked[:few], looked[half : half + few] = 7.0 * angle[:few].cos(), 7.0 * angle[:few].sin()
    basis = torch.linalg.qr(torch.randn(model.config.hidden_size, 4 * width))[0].T
    seen, noted, read = basis[:width], basis[width : 2 * width], basis[2 * width : 3 * width]
    still = torch.zeros(width, 1)  # the slowest rotations: a match looks the same from near and far
    still[slow:half], still[half + slow :] = 1.0, 1.0
    for layer, query, key, value, out in (
        (first, 0 * seen, 0 * seen, seen, _SIZE * noted),
        (second, strength * still * seen, strength * still * noted, read, 5 * _SIZE * read),
    ):
        layer.q_proj.weight[:width], layer.k_proj.weight[:width] = query, key
        layer.v_proj.weight[:width], layer.o_proj.weight[:, :width] = value, out.T
    first.q_proj.bias[:width], first.k_proj.bias[:width] = asked, looked


def _loss(model: Any, rows: Sequence[Row], *, answers_only: bool = False) -> Any:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row, _ in rows])
    logits = model(input_ids=ids).logits[:, :-1]
    weights = torch.zeros(ids.shape)
    for i, (row, answer) in enumerate(rows):
        weights[i, : len(row)] = 0.0 if answers_only else 1.0
        weights[i, answer : len(row)] = _ANSWER_WEIGHT
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights[:, 1:].flatten()).sum() / weights[:, 1:].sum()


def main(
    out: Annotated[Path, typer.Option(help="The folder for the model; a run in it is resumed.")],
    steps: Annotated[int, typer.Option(help="Updates in all.")] = 6000,
    minutes: Annotated[float, typer.Option(help="The most time; the learning rate falls to 0 by then.")] = 48.0,
    rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 1e-3,
    keywords: Annotated[float, typer.Option(help="The share of passages of which it reads some words alone.")] = 0.0,
    start: Annotated[Path | None, typer.Option(help="A folder with a model to go on from.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    data: Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")] = None,
) -> None:
    """Train the model and write it, with its tokenizer, as any model of transformers."""
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(out, data_folder(data), seed, rate, keywords, start)
    while (done := max(run.state["step"] / steps, run.minutes / minutes)) < 1:
        for batch in run.corpus.batches(run.state["pool"]):
            run.advance(batch, min(1.0, done))
        run.state["pool"] += 1
        if run.state["pool"] % _EVERY == 0:
            run.report()
    run.report()
    run.model.save_pretrained(out)


class _Run:
    """The state of a training run."""

    def __init__(self, out: Path, data: Path, seed: int, rate: float, keywords: float, start: Path | None) -> None:
        torch.manual_seed(seed)
        if not (out / "tokenizer.json").exists():
            make_tokenizer(data).save_pretrained(out)
        self.file, self.rate = out / NAME, rate
        self.model = Qwen2ForCausalLM.from_pretrained(start).train() if start else make_model()
        self.corpus = Corpus(data, PreTrainedTokenizerFast.from_pretrained(out), seed, keywords)
        self.probes = self.corpus.probes(data)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.05)
        self.state: dict[str, Any] = {"step": 0, "pool": 0, "spent": 0.0, "tokens": 0}
        self.losses: list[float] = []
        if self.file.exists():
            saved = read_checkpoint(self.file, "cpu")
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.state = saved["state"]
        self.started: float = time.monotonic() - self.state["spent"]

    @property
    def minutes(self) -> float:
        """The time spent so far, that of earlier runs included."""
        return (time.monotonic() - self.started) / 60

    def advance(self, batch: Sequence[Row], done: float) -> None:
        """Makes one update, when this share of the run is done."""
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
        self.optimizer.param_groups[0]["lr"] = self.rate * min(1.0, (self.state["step"] + 1) / 150) * fall
        loss = _loss(self.model, batch)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.losses = [*self.losses[-99:], loss.item()]
        self.state["step"] += 1
        self.state["tokens"] += sum(len(ids) for ids, _ in batch)

    def report(self) -> None:
        """Writes the checkpoint, and prints the NLL of what the dev split asks for."""
        self.state["spent"] = 60 * self.minutes
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "state": self.state}
        write_checkpoint(self.file, state)
        figures = {"loss": float(np.mean(self.losses))}
        with torch.inference_mode():
            for name, rows in self.probes.items():
                batches = [rows[i : i + 10] for i in range(0, len(rows), 10)]
                figures[name] = float(np.mean([_loss(self.model, b, answers_only=True).item() for b in batches]))
        print(json.dumps({**self.state, **{name: round(value, 3) for name, value in figures.items()}}), flush=True)


if __name__ == "__main__":
    typer.run(main)
