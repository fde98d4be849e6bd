"""`rag-compress train`: your own models from your own data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from rag_compress.cli.options import MINILM

train_app = typer.Typer(no_args_is_help=True)


@train_app.callback()
def train() -> None:
    """Train models on your own data."""
    logging.basicConfig(format="%(message)s")  # on stderr: a run takes hours, and each measurement is a line
    logging.getLogger("rag_compress.training").setLevel(logging.INFO)


@train_app.command("classifier")
def train_classifier(
    data: Annotated[list[str], typer.Option(help="A .jsonl or .jsonl.gz file; FILE=3 draws it three times as often.")],
    out: Annotated[Path, typer.Option(help="The folder for checkpoints and the model; a run in it is resumed.")],
    dev: Annotated[list[str] | None, typer.Option(help="A file to measure on and to calibrate with.")] = None,
    encoder: Annotated[str, typer.Option(help="The encoder to start from: its name or folder.")] = MINILM,
    steps: Annotated[int, typer.Option(help="Updates in all.")] = 3000,
    learning_rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 2e-4,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    bf16: Annotated[
        bool | None,
        typer.Option(help="Products in bfloat16: faster on processors that have it.", show_default="on a GPU"),
    ] = None,
    workers: Annotated[int, typer.Option(help="How many parts of an update run at once.")] = 1,
    evaluate_every: Annotated[int, typer.Option(help="Steps between measurements and checkpoints.")] = 250,
) -> None:
    """Train the sentence classifier, export it to ONNX, calibrate it, and write its card.

    The fields of the data are in docs/classifier.md.
    """
    from rag_compress.cli.view import stderr
    from rag_compress.training.classifier import ClassifierTraining, Schedule, train
    from rag_compress.training.examples import Source

    folder = train(
        ClassifierTraining(
            data=tuple(Source(*_weighted(item)) for item in data),
            out=str(out),
            encoder=encoder,
            dev=tuple(dev or ()),
            schedule=Schedule(steps=steps, learning_rate=learning_rate),
            seed=seed,
            device=device,
            bf16=bf16,
            workers=workers,
            evaluate_every=evaluate_every,
        )
    )
    stderr.print(f"wrote the classifier to {folder}", markup=False, soft_wrap=True)


@train_app.command("summarizer")
def train_summarizer(
    data: Annotated[list[str], typer.Option(help="A .jsonl or .jsonl.gz file of documents and candidate summaries.")],
    out: Annotated[Path, typer.Option(help="The folder for checkpoints and the model; a run in it is resumed.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="What to start from, by name or folder: a sequence-to-sequence model; with --copying, an encoder.",
            show_default="google/flan-t5-small; with --copying all-MiniLM-L6-v2",
        ),
    ] = None,
    copying: Annotated[
        bool, typer.Option("--copying", help="Train a model that writes with its source's words.")
    ] = False,
    reader: Annotated[
        str | None, typer.Option(help="module:object; says how well a question is answered with a candidate.")
    ] = None,
    dev: Annotated[list[str] | None, typer.Option(help="A file to measure on.")] = None,
    template: Annotated[str | None, typer.Option(help="The model's input, with {documents} and {query}.")] = None,
    steps: Annotated[int, typer.Option(help="Updates in all.")] = 1000,
    batch_size: Annotated[int, typer.Option(help="Examples of an update.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 2e-4,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    evaluate_every: Annotated[int, typer.Option(help="Steps between measurements and checkpoints.")] = 200,
) -> None:
    """Train a summarizer on the best of each line's summaries (RECOMP's selective distillation).

    The fields of the data are in docs/abstractive.md.
    """
    from rag_compress.cli.view import stderr
    from rag_compress.named import named_object
    from rag_compress.training.distillation import Distillation
    from rag_compress.training.summarizer import SummarizerTraining, train

    folder = train(
        SummarizerTraining(
            data=tuple(data),
            out=str(out),
            model=model or (MINILM if copying else "google/flan-t5-small"),
            copying=copying,
            dev=tuple(dev or ()),
            distillation=Distillation(None if reader is None else named_object(reader)),
            template=template,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            device=device,
            evaluate_every=evaluate_every,
        )
    )
    stderr.print(f"wrote the summarizer to {folder}", markup=False, soft_wrap=True)


@train_app.command("projector")
def train_projector(
    llm: Annotated[str, typer.Option(help="The causal LLM that will read the soft tokens: its name or folder.")],
    data: Annotated[list[str], typer.Option(help="A .jsonl or .jsonl.gz file of questions, passages and answers.")],
    out: Annotated[Path, typer.Option(help="The folder for checkpoints and the projector; a run in it is resumed.")],
    encoder: Annotated[str, typer.Option(help="The encoder of your index: its name or folder.")] = MINILM,
    dev: Annotated[list[str] | None, typer.Option(help="A file to measure on.")] = None,
    tokens: Annotated[int, typer.Option(help="Soft tokens of each passage.")] = 1,
    normalize: Annotated[bool, typer.Option(help="Whether the index's vectors have length 1.")] = True,
    prefix: Annotated[str, typer.Option(help="What the encoder reads before each text.")] = "",
    passages: Annotated[int, typer.Option(help="The most passages of one question.")] = 1,
    passage_tokens: Annotated[int, typer.Option(help="The longest passage; longer ones are left out.")] = 180,
    pretrain_steps: Annotated[int, typer.Option(help="Updates of stage 1, to say a passage again.")] = 2000,
    tune_steps: Annotated[int, typer.Option(help="Updates of stage 2, to answer from it.")] = 1000,
    pretrain_rate: Annotated[float, typer.Option(help="The highest learning rate of stage 1.")] = 6e-3,
    tune_rate: Annotated[float, typer.Option(help="That of stage 2.")] = 2e-5,
    distillation: Annotated[float, typer.Option(help="The weight of the LLM's own answers from the text.")] = 2.0,
    batch_size: Annotated[int, typer.Option(help="Examples of one pass.")] = 12,
    accumulate: Annotated[int, typer.Option(help="Passes of one update.")] = 1,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    chat: Annotated[bool, typer.Option(help="Whether to use the LLM's chat template.")] = True,
    evaluate_every: Annotated[int, typer.Option(help="Steps between measurements and checkpoints.")] = 200,
) -> None:
    """Train a projector: a document's embedding becomes soft tokens of one frozen LLM (xRAG).

    The fields of the data are in docs/xrag.md.
    """
    from rag_compress.cli.view import stderr
    from rag_compress.training.projector import ProjectorTraining, train

    options = {name: value for name, value in locals().items() if name in ProjectorTraining.__dataclass_fields__}
    options |= {"data": tuple(data), "dev": tuple(dev or ()), "out": str(out)}
    folder = train(ProjectorTraining(**options))
    stderr.print(f"wrote the projector to {folder}", markup=False, soft_wrap=True)


def _weighted(item: str) -> tuple[str, float]:
    """Returns the file and the weight of `FILE=WEIGHT`; 1 where there is none, or where a file has that very name."""
    path, equals, weight = item.rpartition("=")
    if not equals or Path(item).exists():
        return item, 1.0
    try:
        return path, float(weight)
    except ValueError:
        raise typer.BadParameter(f"{item}: the weight after = must be a number") from None
