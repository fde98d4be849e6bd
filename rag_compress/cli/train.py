"""`rag-compress train`: your own models from your own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag_compress.cli.options import MINILM

train_app = typer.Typer(no_args_is_help=True, help="Train models on your own data.")


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
            workers=workers,
            evaluate_every=evaluate_every,
        )
    )
    stderr.print(f"wrote the classifier to {folder}", markup=False)


@train_app.command("summarizer")
def train_summarizer(
    data: Annotated[list[str], typer.Option(help="A .jsonl or .jsonl.gz file of documents and candidate summaries.")],
    out: Annotated[Path, typer.Option(help="The folder for checkpoints and the model; a run in it is resumed.")],
    model: Annotated[str, typer.Option(help="What to start from, by name or folder; --copying: an encoder.")] = MINILM,
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
            model=model,
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
    stderr.print(f"wrote the summarizer to {folder}", markup=False)


def _weighted(item: str) -> tuple[str, float]:
    """Returns the file and the weight of `FILE=WEIGHT`; 1 where there is none, or where a file has that very name."""
    path, equals, weight = item.rpartition("=")
    if not equals or Path(item).exists():
        return item, 1.0
    try:
        return path, float(weight)
    except ValueError:
        raise typer.BadParameter(f"{item}: the weight after = must be a number") from None
