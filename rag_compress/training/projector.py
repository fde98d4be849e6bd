"""Trains a projector for one frozen LLM, with exact resume: first to say a document again, then to answer from it.

Stage 1, paraphrase pre-training: the LLM reads an instruction with the document's soft tokens, and its target is the
document. Stage 2, context-aware instruction tuning: it reads a question with the soft tokens of its passages, and

    loss = NLL(answer | soft) + weight * KL(p(answer | text) || p(answer | soft))

where p(. | text) is the same LLM reading the passages as text, and KL is its mean over the answer's tokens. Nothing but
the projector learns.

Source: Cheng et al., "xRAG: Extreme Context Compression for Retrieval-augmented Generation with One Token"
(arXiv 2405.13792, 2024), where the weight is 2.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import Progress

from rag_compress.checks import check_count, check_number
from rag_compress.compressors.projector import XRAG
from rag_compress.errors import DocumentError, InvalidInput
from rag_compress.models.classifier.network import torch
from rag_compress.models.encoding import PROBE
from rag_compress.models.soft_tokens.projector import MlpProjector, ProjectorConfig, ProjectorNetwork, llm_probe
from rag_compress.models.soft_tokens.soft_prompts import SoftPromptLLM
from rag_compress.models.torch import SentenceTransformerEncoder
from rag_compress.retrievers.index_folder import indexed_text
from rag_compress.training.card import PROJECTOR, licence_table, write_card
from rag_compress.training.examples import Source
from rag_compress.training.loop import TrainingRun, half, ramp, spread
from rag_compress.training.paraphrases import PARAPHRASES
from rag_compress.types import Document, Prompt
from rag_compress.whole import written_whole

_MARK = "\ue000soft\ue000"
_ENCODED = 512


@dataclass(frozen=True)
class ProjectorTraining:
    """The options of a training run.

    Attributes:
        llm: The causal LM, by name or folder.
        data: Files of questions, in the schema of `examples`, with `answers`; their passages are also what stage 1
            reads.
        out: The folder for checkpoints and the projector.
        encoder: The encoder, by name or folder.
        dev: Files to measure on.
        tokens: The soft tokens of each passage.
        normalize: Whether the encoder's vectors get length 1, as those of an index usually have.
        prefix: What the encoder reads before each text.
        passages: The most passages of one question: those that hold the answer, then others.
        passage_tokens: The longest passage, in tokens of the LLM; longer ones are left out, and counted.
        pretrain_steps: Updates of stage 1.
        tune_steps: Updates of stage 2.
        pretrain_rate: The highest learning rate of stage 1.
        tune_rate: That of stage 2.
        distillation: The weight of the KL term.
        batch_size: Examples of one pass.
        accumulate: Passes of one update.
        seed: Of every random choice.
        device: A torch device; on `cuda` the LLM runs in bf16.
        chat: Whether the LLM is read through its chat template.
        evaluate_every: Steps between measurements and checkpoints.
        dev_examples: The most examples to measure on.
    """

    llm: str
    data: tuple[str, ...]
    out: str
    encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    dev: tuple[str, ...] = ()
    tokens: int = 1
    normalize: bool = True
    prefix: str = ""
    passages: int = 1
    passage_tokens: int = 180
    pretrain_steps: int = 2000
    tune_steps: int = 1000
    pretrain_rate: float = 6e-3
    tune_rate: float = 2e-5
    distillation: float = 2.0
    batch_size: int = 12
    accumulate: int = 1
    seed: int = 0
    device: str = "cpu"
    chat: bool = True
    evaluate_every: int = 200
    dev_examples: int = 200

    def __post_init__(self) -> None:
        for name in ("tokens", "passages", "passage_tokens", "batch_size", "accumulate", "evaluate_every"):
            check_count(name, getattr(self, name), least=1)
        for name in ("pretrain_steps", "tune_steps", "dev_examples", "seed"):
            check_count(name, getattr(self, name))
        for name in ("pretrain_rate", "tune_rate", "distillation"):
            check_number(name, getattr(self, name), 0, 1e6)

    @property
    def steps(self) -> int:
        """All updates."""
        return self.pretrain_steps + self.tune_steps


def train(options: ProjectorTraining) -> Path:
    """Trains a projector, resuming from the checkpoint in `options.out` if there is one; returns that folder.

    Raises:
        InvalidInput: A file or a model cannot be used, nothing is left to learn from, or the checkpoint is of a run
            with other options.
        MissingExtra: torch or transformers is not installed.
    """
    return _Run(options).train(options.steps, options.evaluate_every)


class Item(NamedTuple):
    """An example: what the LLM reads and writes.

    Attributes:
        prompt: With a mark for each passage.
        passages: Positions of the passages among all of them.
        target: What it should write.
    """

    prompt: str
    passages: tuple[int, ...]
    target: str


class _Run(TrainingRun):
    """The state of a training run."""

    network: ProjectorNetwork

    def __init__(self, options: ProjectorTraining) -> None:
        super().__init__(options.out, options.device)
        data, dev = (list(map(Source, paths)) for paths in (options.data, options.dev))
        for source in (*data, *dev):
            source.check()  # before an LLM is fetched and loaded
        torch.manual_seed(options.seed)
        self.options = options
        dtype = torch.bfloat16 if options.device.startswith("cuda") else torch.float32
        self.llm = SoftPromptLLM.load(options.llm, options.device, dtype, chat=options.chat)
        self.llm.model.requires_grad_(requires_grad=False)
        self.before = _fingerprint(self.llm.model)
        self.counts: Counter[str] = Counter()
        self.licences: dict[str, Counter[str]] = {}
        self.places: dict[str, int] = {}
        self.texts: list[str] = []
        self.read: list[str] = []
        self.questions = self._questions(data)
        self.learned = len(self.texts)
        learned_from = self.counts.copy(), dict(self.licences)
        self.dev = spread(self._questions(dev), options.dev_examples)
        self.counts, self.licences = learned_from
        if not self.learned or (options.tune_steps and not self.questions):
            raise InvalidInput(f"{', '.join(options.data)}: nothing to learn from: {dict(self.counts)}")
        self.out.mkdir(parents=True, exist_ok=True)
        self.embeddings = self._embeddings()
        hidden = self.llm.model.get_input_embeddings().weight.shape[1]
        dim = self.embeddings.shape[1]
        scale = dim**0.5 if options.normalize else 1.0
        self.network = ProjectorNetwork(dim, hidden, options.tokens, scale).to(options.device)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), weight_decay=0.0)

    # ---- data --------------------------------------------------------------------------------------------------------

    def _questions(self, sources: Sequence[Source]) -> list[Item]:
        """Returns the questions of files that have an answer, and notes their passages."""
        items = []
        for source in sources:
            licences: Counter[str] = Counter()
            for number in range(len(source.lines)):
                passages, record = source.example(number).passages, json.loads(source.lines[number])
                licences[str(record.get("licence") or "not stated")] += 1
                known = {i: self._noted(p.passage.title, p.passage.text) for i, p in enumerate(passages)}
                order = sorted(known, key=lambda i: not passages[i].gold)[: self.options.passages]
                answers = record.get("answers") or []
                if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
                    raise DocumentError(f"{source.place(number)}: answers must be a list of texts, not {answers!r:.40}")
                if not answers or not order or not passages[order[0]].gold:
                    self.counts["without an answer"] += 1
                elif any(known[i] is None for i in order):
                    self.counts["passage too long"] += 1
                else:
                    items.append(self._item(record["query"], tuple(known[i] or 0 for i in sorted(order)), answers[0]))
            self.licences[source.path] = licences
        return items

    def _item(self, query: str, passages: tuple[int, ...], answer: str) -> Item:
        marks = XRAG.separator.join([_MARK] * len(passages))
        return Item(XRAG.template.replace("{context}", marks).replace("{query}", query), passages, answer)

    def _noted(self, title: str, text: str) -> int | None:
        """Returns the position of a passage among all of them, or nothing if it is too long."""
        if text not in self.places:
            tokens = self.llm.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            if not 0 < len(tokens) <= self.options.passage_tokens:
                return None
            self.places[text] = len(self.texts)
            self.texts.append(text)
            self.read.append(indexed_text(Document("", text, title)))
        return self.places[text]

    def _encoder(self) -> SentenceTransformerEncoder:
        options = self.options
        device = options.device if options.device.startswith("cuda") else "cpu"
        return SentenceTransformerEncoder(str(options.encoder), options.normalize, options.prefix, device)

    def _embeddings(self) -> Any:
        """Returns float32 `(passages, dim)`, made once and kept beside the checkpoints."""
        texts = self.read
        digest = hashlib.sha256("\0".join([repr(self._encoder()), *texts]).encode(errors="surrogatepass")).hexdigest()
        file = self.out / f"embeddings-{digest[:16]}.npy"
        if not file.exists():
            encoder = self._encoder()
            with Progress(transient=True) as progress:
                starts = progress.track(range(0, len(texts), _ENCODED), description="encoding passages")
                parts = [encoder.encode(texts[start : start + _ENCODED]) for start in starts]
            with written_whole(file) as out:
                np.save(out, np.concatenate(parts), allow_pickle=False)
        return torch.from_numpy(np.load(file, allow_pickle=False))

    # ---- learning ----------------------------------------------------------------------------------------------------

    @property
    def _tuning(self) -> bool:
        return self.step >= self.options.pretrain_steps

    def _drawn(self, rng: np.random.Generator) -> list[Item]:
        """Returns the examples of one pass, which depend on nothing but the seed and the step."""
        size = self.options.batch_size
        if self._tuning:
            return [self.questions[int(i)] for i in rng.integers(len(self.questions), size=size)]
        return [self._paraphrase(int(i), rng) for i in rng.integers(self.learned, size=size)]

    def _paraphrase(self, i: int, rng: np.random.Generator) -> Item:
        instruction = PARAPHRASES[int(rng.integers(len(PARAPHRASES)))]
        return Item(instruction.replace("{context}", _MARK), (i,), self.texts[i])

    def advance(self) -> None:
        """Makes one update."""
        options = self.options
        rng = np.random.default_rng([options.seed, self.step])
        self.set_rate(self._rate())
        self.optimizer.zero_grad()
        for _ in range(options.accumulate):
            loss = self._loss(self._drawn(rng)) / options.accumulate
            loss.backward()
            self.losses.append(loss.item() * options.accumulate)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()

    def _rate(self) -> float:
        options = self.options
        if self._tuning:
            return options.tune_rate * ramp(self.step - options.pretrain_steps, options.tune_steps, warmup=0.03)
        return options.pretrain_rate * ramp(self.step, options.pretrain_steps, warmup=0.03)

    def _loss(self, items: Sequence[Item]) -> Any:
        with half(self.device):
            soft = self.network(self.embeddings[[i for item in items for i in item.passages]].to(self.device))
            student, targets = self._answer_logits(items, soft.flatten(0, 1))
            loss = torch.nn.functional.cross_entropy(student.float(), targets)
            if not self._tuning or not self.options.distillation:
                return loss
            with torch.no_grad():
                teacher, _ = self._answer_logits(items, None)
            known = torch.log_softmax(teacher.float(), -1)
            said = torch.log_softmax(student.float(), -1)
            distance = torch.nn.functional.kl_div(said, known, reduction="batchmean", log_target=True)
            return loss + self.options.distillation * distance

    def _answer_logits(self, items: Sequence[Item], soft: Any) -> tuple[Any, Any]:
        """Returns the LLM's logits at the tokens of the targets, `(tokens, vocabulary)`, and these tokens.

        Args:
            items: The examples.
            soft: Their soft tokens `(soft tokens, hidden)`; `None`: the passages stand in the prompts as text.
        """
        asked = [self._asked(item, as_text=soft is None) for item in items]
        targets = [self._written(item.target) for item in items]
        rows = [[*a, *t] for a, t in zip(asked, targets, strict=True)]
        right = SoftPromptLLM(self.llm.model, self.llm.tokenizer, self.llm.chat, padding_side="right")
        logits = self.llm.model(**right.embed(rows, soft)._asdict(), use_cache=False).logits
        pairs = enumerate(zip(asked, targets, strict=True))
        places = [(n, len(a) - 1 + j) for n, (a, t) in pairs for j in range(len(t))]
        which, where = torch.tensor(places, device=logits.device).T
        return logits[which, where], torch.tensor([t for row in targets for t in row], device=logits.device)

    def _asked(self, item: Item, *, as_text: bool) -> list[int]:
        if as_text:
            passages = [*(self.texts[i] for i in item.passages), ""]
            return self.llm.token_ids(
                Prompt("".join(map("".join, zip(item.prompt.split(_MARK), passages, strict=True))))
            )
        soft = tuple(np.zeros((self.options.tokens, 1), np.float32) for _ in item.passages)
        return self.llm.token_ids(Prompt(item.prompt, soft, _MARK))

    def _written(self, target: str) -> list[int]:
        ids: list[int] = self.llm.tokenizer(target, add_special_tokens=False, verbose=False)["input_ids"]
        end = self.llm.tokenizer.eos_token_id
        return ids if end is None else [*ids, end]

    # ---- what is kept ------------------------------------------------------------------------------------------------

    def measure(self) -> dict[str, Any]:
        """Returns the NLL of an answer's token on the dev files, from soft tokens and from text."""
        return {"dev": {"soft": self._nll(as_text=False), "text": self._nll(as_text=True)}} if self.dev else {}

    def _nll(self, *, as_text: bool) -> float:
        losses: list[float] = []
        with torch.inference_mode(), half(self.device):
            for start in range(0, len(self.dev), self.options.batch_size):
                items = self.dev[start : start + self.options.batch_size]
                rows = self.embeddings[[i for item in items for i in item.passages]].to(self.device)
                soft = None if as_text else self.network(rows).flatten(0, 1)
                logits, targets = self._answer_logits(items, soft)
                losses += torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none").tolist()
        return round(float(np.mean(losses)), 4)

    def identity(self) -> dict[str, Any]:
        """Returns what has to be the same: everything that decides an update."""
        free = {"out", "device", "evaluate_every", "dev", "dev_examples"}
        choices = {name: repr(value) for name, value in vars(self.options).items() if name not in free}
        return {**choices, "weights of the LLM": self.before, "examples": [self.learned, len(self.questions)]}

    def finish(self) -> Path:
        """Writes the projector and its card; returns the folder.

        Raises:
            AssertionError: A weight of the LLM has changed.
        """
        if _fingerprint(self.llm.model) != self.before:
            raise AssertionError("the LLM's weights changed while only the projector was to learn")
        projector = MlpProjector(self.network.eval().cpu(), self._config())
        projector.save(self.out)
        figures = {name: count for name, count in self.counts.items() if count}
        figures |= {"passages": self.learned, "questions": len(self.questions)}
        write_card(PROJECTOR, self.out, licence_table(self.licences), vars(self.options), figures | self.figures())
        return self.out

    def _config(self) -> ProjectorConfig:
        options, encoder = self.options, self._encoder()
        return ProjectorConfig(
            dim=self.network.first.in_features,
            hidden=self.network.first.out_features,
            tokens=options.tokens,
            scale=self.network.scale,
            encoder=str(options.encoder),
            pooling=encoder.pooling,
            normalized=options.normalize,
            prefix=options.prefix,
            llm=str(options.llm),
            encoder_probe=tuple(encoder.encode([PROBE])[0].tolist()),
            llm_probe=tuple(llm_probe(self.llm.model.get_input_embeddings())),
            chat=options.chat,
        )


def _fingerprint(model: Any) -> str:
    """Returns the hash of every weight and buffer of a model, bit by bit."""
    digest = hashlib.blake2b()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
