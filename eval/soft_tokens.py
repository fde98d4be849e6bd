"""Measures what one soft token tells an LLM: `python -m eval.soft_tokens data`, then `measure`, `ceiling` and `cost`.

The LLM is that of `eval.small_llm`, the projectors are trained by `rag-compress train projector`; neither has seen the
passages and questions measured on, nor their articles.
"""

from __future__ import annotations

import gzip
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from eval.datasets import data_folder, measured, read_questions
from eval.results import RESULTS, Out, Result, check_command, limited
from eval.significance import bootstrap_interval
from eval.small_llm import NO_BACKGROUND, Reading, pieces_of, read_pieces
from rag_compress.compressors.projector import XRAG
from rag_compress.models.soft_tokens.projector import MlpProjector
from rag_compress.models.soft_tokens.soft_prompts import SoftPromptLLM
from rag_compress.retrievers.storage import Storage, StoredVectors
from rag_compress.training.paraphrases import PARAPHRASES
from rag_compress.types import PLACEHOLDER, Prompt

app = typer.Typer(no_args_is_help=True)
Data = Annotated[Path | None, typer.Option(help="The data folder (default: $RAG_COMPRESS_DATA).")]
Llm = Annotated[Path, typer.Option(help="The folder of the LLM that `python -m eval.small_llm` wrote.")]
Runs = Annotated[Path, typer.Option(help="The folder with the projectors, k1, k2, ...")]
TOKENS = (1, 2, 4, 8)
STORAGES: tuple[Storage, ...] = ("float16", "int8", "pq")
_LIMIT, _BATCH = 500, 20
_COST_LIMIT, _CEILING_LIMIT, _STEPS = 60, 36, 150
_FITTING_RATE = 0.03
_RECIPE = "--pretrain-steps 500 --tune-steps 200 --pretrain-rate 2e-3 --tune-rate 1e-3"
"""Of the projectors measured here."""


@app.callback()
def _root() -> None:
    """Commands of the xRAG proof."""


@app.command()
def data(
    out: Annotated[Path, typer.Option(help="The folder to write train.jsonl.gz and dev.jsonl.gz into.")],
    folder: Data = None,
) -> None:
    """Write questions with one short passage each, and passages without a question, to train projectors with."""
    out.mkdir(parents=True, exist_ok=True)
    read = data_folder(folder)
    for split, sets in (("train", ("squad", "hotpotqa")), ("dev", ("squad",))):
        lines = [line for name in sets for line in _lines(read, name, split)]
        with gzip.open(out / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


def _lines(folder: Path, name: str, split: str) -> Iterator[dict[str, Any]]:
    questions = list(read_questions(folder, name, split))
    for question in questions:
        for reading in read_pieces(question):
            yield _line(reading.query, reading.passage, [reading.answer], gold=True)
    if split == "train":
        for text in sorted({passage.text for question in questions for passage in question.passages}):
            for piece in pieces_of(text):
                yield _line("", piece, [], gold=False)


def _line(query: str, text: str, answers: list[str], *, gold: bool) -> dict[str, Any]:
    context = {"title": "", "text": text, "sentences": None, "evidence": None, "gold": gold}
    return {"query": query, "answers": answers, "contexts": [context], "licence": "CC BY-SA 4.0"}


@dataclass(frozen=True)
class Task:
    """What the LLM is asked about each passage, and what it should say.

    Attributes:
        form: The prompt, with `{context}` and `{query}`.
        empty: The prompt without a passage.
        targets: What it should say.
    """

    form: str
    empty: str
    targets: Sequence[str]

    def prompts(self, queries: Sequence[str], contexts: Sequence[str | NDArray[np.float32]] | None) -> list[Prompt]:
        """Returns the prompts with passages as text or as soft tokens, or without any."""
        if contexts is None:
            return [Prompt(self.empty.replace("{query}", query)) for query in queries]
        found = []
        for query, context in zip(queries, contexts, strict=True):
            text = self.form.replace("{query}", query)
            soft = () if isinstance(context, str) else (context,)
            found.append(Prompt(text.replace("{context}", context if isinstance(context, str) else PLACEHOLDER), soft))
        return found


@app.command()
def measure(
    llm: Llm = Path("eval/cache/llm"),
    runs: Runs = Path("eval/cache/soft"),
    folder: Data = None,
    limit: Annotated[int, typer.Option(help="The most questions.")] = _LIMIT,
    out: Out = RESULTS,
) -> None:
    """Measure the NLL of answers and passages, and exact match: no context, another passage's token, its own, text."""
    command = f"python -m eval.soft_tokens measure{limited(limit, _LIMIT)}"
    check_command("soft-tokens", command, out)
    started = time.monotonic()
    model = SoftPromptLLM.load(str(llm), "cpu")
    readings = _readings(folder, limit)
    answer = Task(XRAG.template, NO_BACKGROUND, [reading.answer for reading in readings])
    again = Task(PARAPHRASES[0], PARAPHRASES[0].replace("{context}", ""), [reading.passage for reading in readings])
    samples: dict[str, list[float]] = {}
    for name, task in (("answer", answer), ("passage", again)):
        for state, contexts in _contexts(readings, runs):
            prompts = task.prompts([reading.query for reading in readings], contexts)
            samples[f"{name}: {state}"] = _nll(model, prompts, task.targets)
            if name == "answer" and state in ("none", "text", "k=1", "k=1, another passage"):
                samples[f"exact match: {state}"] = _matches(model, prompts, task.targets)
    details = {
        "questions": len(readings),
        "recipe": _RECIPE,
        "llm": repr(model.model.config.to_dict())[:600],
        "seconds": round(time.monotonic() - started),
    }
    Result(command, _scores(samples), details, samples).write("soft-tokens", out)


def _readings(folder: Path | None, limit: int) -> list[Reading]:
    """Returns questions of squad's test split, each with one short passage."""
    questions = measured(read_questions(data_folder(folder), "squad", "test"), limit)
    return [reading for question in questions for reading in list(read_pieces(question))[:1]]


def _contexts(readings: Sequence[Reading], runs: Path) -> Iterator[tuple[str, Any]]:
    """Yields what stands for the passages: nothing, their text, their soft tokens, those of others, stored ones."""
    texts = [reading.passage for reading in readings]
    yield "none", None
    yield "text", texts
    for tokens in _trained(runs):
        projector = MlpProjector.from_folder(runs / f"k{tokens}")
        vectors = projector.encoder().encode(texts)
        yield f"k={tokens}", list(projector.project(vectors))
        yield f"k={tokens}, another passage", list(projector.project(np.roll(vectors, len(texts) // 2, axis=0)))
        if tokens == 1:
            index = np.concatenate([vectors, np.load(next((runs / "k1").glob("embeddings-*.npy")))])
            for kind in STORAGES:
                yield f"k=1, {kind}", list(projector.project(StoredVectors.of(index, kind)[: len(texts)]))


def _trained(runs: Path) -> list[int]:
    """Returns the numbers of soft tokens that there is a projector for."""
    return [tokens for tokens in TOKENS if (runs / f"k{tokens}" / "projector.json").is_file()]


def _nll(model: SoftPromptLLM, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[float]:
    """Returns the mean NLL of a token of each target, the end of the turn included."""
    found: list[float] = []
    for start in range(0, len(prompts), _BATCH):
        batch = prompts[start : start + _BATCH]
        soft = [torch.from_numpy(array) for prompt in batch for array in prompt.soft_tokens]
        with torch.inference_mode():
            losses = _losses(model, batch, targets[start : start + _BATCH], torch.cat(soft) if soft else None)
        found += [loss.item() for loss in losses]
    return found


def _losses(
    model: SoftPromptLLM, prompts: Sequence[Prompt], targets: Sequence[str], soft: torch.Tensor | None
) -> list[torch.Tensor]:
    """Returns the mean NLL of a token of each target of a batch, whose soft tokens are `(tokens, hidden)`."""
    right = SoftPromptLLM(model.model, model.tokenizer, padding_side="right")
    end = model.tokenizer.eos_token_id
    asked = [right.token_ids(prompt) for prompt in prompts]
    said = [[*model.tokenizer(target, add_special_tokens=False)["input_ids"], end] for target in targets]
    rows = right.embed([[*a, *b] for a, b in zip(asked, said, strict=True)], soft)
    logits = model.model(**rows._asdict(), use_cache=False).logits
    return [
        torch.nn.functional.cross_entropy(own[len(a) - 1 : len(a) + len(b) - 1], torch.tensor(b))
        for own, a, b in zip(logits, asked, said, strict=True)
    ]


def _matches(model: SoftPromptLLM, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[float]:
    """Returns 100 where the greedy answer is the target but for case and blanks, otherwise 0."""
    said: list[str] = []
    for start in range(0, len(prompts), _BATCH):
        said += model.generate(prompts[start : start + _BATCH], max_new_tokens=24)
    return [100.0 * (_plain(s) == _plain(t)) for s, t in zip(said, targets, strict=True)]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .")


def _scores(samples: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Returns means, the share of the gap between nothing and the text that is closed, and how sure the leads are."""
    scores = {name: float(np.mean(values)) for name, values in samples.items()}
    for task in ("answer", "passage"):
        none, text = np.array(samples[f"{task}: none"]), np.array(samples[f"{task}: text"])
        for name in [name for name in samples if name.startswith(f"{task}: k=")]:
            scores[f"{name}, gap closed"] = 100 * float((none - samples[name]).mean() / (none - text).mean())
        for tokens in [tokens for tokens in TOKENS if f"{task}: k={tokens}" in samples]:
            own = np.array(samples[f"{task}: k={tokens}"])
            for rival in ("none", f"k={tokens}, another passage"):
                low, high = bootstrap_interval((np.array(samples[f"{task}: {rival}"]) - own).tolist())
                scores[f"{task}: k={tokens} below {rival.split(', ')[-1]}, low"] = low
                scores[f"{task}: k={tokens} below {rival.split(', ')[-1]}, high"] = high
    return scores


@app.command()
def cost(
    llm: Llm = Path("eval/cache/llm"),
    runs: Runs = Path("eval/cache/soft"),
    folder: Data = None,
    limit: Annotated[int, typer.Option(help="The most questions.")] = _COST_LIMIT,
    out: Out = RESULTS,
) -> None:
    """Measure time and FLOPs of reading a question, with text and with a soft token; the encoder's apart."""
    command = f"python -m eval.soft_tokens cost{limited(limit, _COST_LIMIT)}"
    check_command("soft-tokens-cost", command, out)
    model, projector = SoftPromptLLM.load(str(llm), "cpu"), MlpProjector.from_folder(runs / "k1")
    encoder = projector.encoder()
    readings = _readings(folder, limit)
    task, queries = Task(XRAG.template, NO_BACKGROUND, []), [reading.query for reading in readings]
    texts = [reading.passage for reading in readings]
    soft = list(projector.project(encoder.encode(texts)))
    states: dict[str, Any] = {"none": None, "text": texts, "soft token": soft}
    scores: dict[str, float] = {}
    for state, contexts in states.items():
        prompts = task.prompts(queries, contexts)
        scores[f"tokens: {state}"] = statistics.mean(len(model.token_ids(prompt)) for prompt in prompts)
        scores |= _cost(state, [partial(_read, model, prompt) for prompt in prompts])
    scores |= _cost("encoder", [partial(encoder.encode, [text]) for text in texts])
    vectors = [encoder.encode([text]) for text in texts]
    scores |= _cost("projector", [partial(projector.project, vector) for vector in vectors])
    Result(command, scores, {"questions": len(readings)}).write("soft-tokens-cost", out)


@app.command()
def ceiling(
    llm: Llm = Path("eval/cache/llm"),
    folder: Data = None,
    limit: Annotated[int, typer.Option(help="The most passages.")] = _CEILING_LIMIT,
    steps: Annotated[int, typer.Option(help="Updates of each token.")] = _STEPS,
    out: Out = RESULTS,
) -> None:
    """Measure how well the LLM says a passage from tokens that were fitted to it: about the most there can be."""
    fitting = f" --steps {steps}" if steps != _STEPS else ""
    command = f"python -m eval.soft_tokens ceiling{limited(limit, _CEILING_LIMIT)}{fitting}"
    check_command("soft-tokens-ceiling", command, out)
    model = SoftPromptLLM.load(str(llm), "cpu")
    model.model.requires_grad_(requires_grad=False)
    passages = [reading.passage for reading in _readings(folder, limit)]
    again = Task(PARAPHRASES[0], PARAPHRASES[0].replace("{context}", ""), passages)
    queries = [""] * len(passages)
    samples = {
        "none": _nll(model, again.prompts(queries, None), passages),
        "text": _nll(model, again.prompts(queries, passages), passages),
    }
    for tokens in TOKENS:
        fitted = _fitted(model, again, tokens, steps)
        samples[f"k={tokens}, fitted"] = _nll(model, again.prompts(queries, fitted), passages)
    scores = {name: float(np.mean(values)) for name, values in samples.items()}
    gap = scores["none"] - scores["text"]
    scores |= {f"k={k}, gap closed": 100 * (scores["none"] - scores[f"k={k}, fitted"]) / gap for k in TOKENS}
    details = {"passages": len(passages), "steps": steps, "rate": _FITTING_RATE}
    Result(command, scores, details, samples).write("soft-tokens-ceiling", out)


def _fitted(model: SoftPromptLLM, task: Task, tokens: int, steps: int) -> list[NDArray[np.float32]]:
    """Returns soft tokens for each target that were learned from it alone."""
    hidden = model.model.get_input_embeddings().weight.shape[1]
    torch.manual_seed(0)
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(task.targets), _BATCH):
        targets = task.targets[start : start + _BATCH]
        soft = torch.nn.Parameter(torch.randn(len(targets), tokens, hidden) / hidden**0.5)
        optimizer = torch.optim.Adam([soft], lr=_FITTING_RATE)
        prompts = task.prompts([""] * len(targets), list(soft.detach().numpy()))
        for _ in range(steps):
            optimizer.zero_grad()
            torch.stack(_losses(model, prompts, targets, soft.flatten(0, 1))).mean().backward()
            optimizer.step()
        found += list(soft.detach().numpy().copy())
    return found


def _read(model: SoftPromptLLM, prompt: Prompt) -> None:
    with torch.inference_mode():
        model.model(**model.batch([prompt])._asdict())


def _cost(name: str, calls: Sequence[Callable[[], object]]) -> dict[str, float]:
    """Returns the median milliseconds and mean MFLOPs of calls, after one to warm up."""
    calls[0]()
    times = []
    for call in calls:
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    with FlopCounterMode(display=False) as counter:
        for call in calls:
            call()
    return {f"ms: {name}": statistics.median(times), f"MFLOPs: {name}": counter.get_total_flops() / 1e6 / len(calls)}


if __name__ == "__main__":
    app()
