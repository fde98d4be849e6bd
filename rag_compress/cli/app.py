"""The commands and their options; the work is in the modules that they import when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import rag_compress
from rag_compress.cli.jobs import export, run, status, verify
from rag_compress.cli.options import (
    MINILM,
    Compressing,
    Index,
    Output,
    Retrieval,
    Scoring,
    Soft,
    Sources,
    StorageKind,
    Writing,
)
from rag_compress.cli.train import train_app

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The smallest prompt that still holds the answer. Data go to stdout, all else to stderr.",
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done, but documents were skipped or rows failed or are "
        "missing, 4 refused: a job with other settings, 5 stopped: too many rows failed, 130 interrupted."
    ),
)

Documents = Annotated[
    list[str], typer.Argument(help="Text files, folders, JSON lines (.jsonl), or - for standard input.")
]
K = Annotated[int, typer.Option("-k", help="How many documents to retrieve.")]
EncoderName = Annotated[str, typer.Option(help="A sentence-transformers model: its name or folder.")]
Encoding = Annotated[str, typer.Option(help="The encoding of the files.")]
SkipErrors = Annotated[bool, typer.Option("--skip-errors", help="Leave out what cannot be read, and exit with 3.")]
Folder = Annotated[Path, typer.Argument(help="The folder of an index.", metavar="INDEX")]
MaxTokens = Annotated[int | None, typer.Option(help="The most tokens that the sources may have in the prompt.")]
Tokenizer = Annotated[
    str | None, typer.Option(help="What counts tokens: a tokenizer.json or a tiktoken name; by default an estimate.")
]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    """Options that stand before a command."""
    if version:
        typer.echo(rag_compress.__version__)
        raise typer.Exit


@app.command()
def demo(
    question: Annotated[str | None, typer.Argument(help="Your own question about the Python standard library.")] = None,
    k: K = 10,
    max_tokens: MaxTokens = 120,
) -> None:
    """Answer questions from the docstrings of the Python standard library: retrieve, compress, show what was kept."""
    from rag_compress.cli.demo import run_demo

    run_demo(question, k, max_tokens)


@app.command()
def index(
    documents: Documents,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the index; an older index is replaced.")],
    method: Annotated[Retrieval, typer.Option(help="What kind of index.")] = Retrieval.bm25,
    encoder: EncoderName = MINILM,
    passage_words: Annotated[int, typer.Option(help="Cut documents into passages of this length; 0: whole.")] = 200,
    storage: Annotated[StorageKind, typer.Option(help="How --method dense keeps the vectors.")] = StorageKind.float32,
    encoding: Encoding = "utf-8",
    skip_errors: SkipErrors = False,
) -> None:
    """Index documents, for `search` and `compress --index`."""
    from rag_compress.cli.index import build_index

    build_index(Sources(documents, encoding, skip_errors), out, method, encoder, passage_words, storage.value)


@app.command()
def search(
    folder: Folder,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: K = 10,
    encoder: Annotated[str | None, typer.Option(help="The encoder, if the index does not know its own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the whole text.")] = False,
) -> None:
    """Show the documents that an index finds for a query."""
    from rag_compress.cli.index import search_index

    search_index(folder, query, k, encoder, as_json)


@app.command()
def compress(
    query: Annotated[str, typer.Argument(help="The question to answer.", metavar="QUESTION")],
    documents: Annotated[list[str] | None, Documents.__metadata__[0]] = None,
    index: Annotated[Path | None, typer.Option("--index", "-i", help="Retrieve from this index instead.")] = None,
    encoder: Annotated[str | None, typer.Option(help="The index's encoder, if it does not know its own.")] = None,
    k: K = 10,
    max_tokens: MaxTokens = None,
    max_ratio: Annotated[float | None, typer.Option(help="The same, as a share of the documents (0 to 1).")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Keep sentences that score at least this.",
            show_default="0.02 with classifier and ensemble, 0.05 with lexical",
        ),
    ] = None,
    gate: Annotated[
        float | None, typer.Option(help="Keep nothing unless the best sentence scores at least this.")
    ] = None,
    keep_best: Annotated[int, typer.Option(help="Keep at least the best N sentences, if they fit.")] = 0,
    neighbours: Annotated[int, typer.Option(help="Keep N sentences around each kept one, if they fit.")] = 0,
    max_similarity: Annotated[
        float | None, typer.Option(help="Drop near-copies from other documents (0 to 1).")
    ] = None,
    scorer: Annotated[
        str,
        typer.Option(
            help="What scores the sentences: classifier, lexical, biencoder or ensemble.",
            show_default="classifier, if onnxruntime is there",
        ),
    ] = "default",
    model: Annotated[
        str | None,
        typer.Option(help="The folder of a classifier of your own; the bi-encoder of --scorer biencoder or ensemble."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Of the documents, as en or de; by default from the script.")
    ] = None,
    method: Annotated[
        Compressing, typer.Option(help="Keep sentences, write a summary of them, or put soft tokens in their place.")
    ] = Compressing.extractive,
    summarizer: Annotated[
        str | None,
        typer.Option(help="Who writes with --method abstractive: the folder of a trained model, or module:object."),
    ] = None,
    projector: Annotated[Path | None, typer.Option(help="The folder of --method xrag's projector.")] = None,
    exact: Annotated[
        bool, typer.Option(help="--method xrag: keep as text what holds the numbers, names or code asked for.")
    ] = True,
    tokenizer: Tokenizer = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="What to print.")] = Output.prompt,
    encoding: Annotated[str | None, typer.Option(help="The encoding of the files.", show_default="utf-8")] = None,
    skip_errors: SkipErrors = False,
) -> None:
    """Compress what was retrieved for a question into a prompt.

    Of more than k documents, BM25 takes the best k first.
    """
    from rag_compress.cli.compress import run_compress

    selection: dict[str, Any] = {
        "max_tokens": max_tokens,
        "max_ratio": max_ratio,
        "threshold": threshold,
        "gate": gate,
        "keep_best": keep_best,
        "neighbours": neighbours,
        "max_similarity": max_similarity,
    }
    if bool(documents) == (index is not None):
        raise typer.BadParameter("Give either documents (- for standard input) or --index.")
    if index is not None and (encoding or skip_errors):
        raise typer.BadParameter("--encoding and --skip-errors are for reading documents, not for --index.")
    if encoder and index is None:
        raise typer.BadParameter("--encoder is the encoder of --index; a scorer's is --model.")
    source = Sources(documents or [], encoding or "utf-8", skip_errors) if index is None else Index(index, encoder)
    if (projector or output is Output.request) and method is not Compressing.xrag:
        raise typer.BadParameter("--projector and -o request are for --method xrag.")
    if (model or language or scorer != "default") and method is Compressing.xrag:
        raise typer.BadParameter("--scorer, --model and --language are for sentences, not for --method xrag.")
    if summarizer and method is not Compressing.abstractive:
        raise typer.BadParameter("--summarizer is for --method abstractive.")
    forms: dict[Compressing, Soft | Writing] = {
        Compressing.abstractive: Writing(summarizer),
        Compressing.xrag: Soft(projector, exact),
    }
    scoring = Scoring(scorer, model, language)
    run_compress(query, source, k, selection, scoring, tokenizer, output, forms.get(method))


app.add_typer(train_app, name="train")
app.command()(run)
app.command()(status)
app.command()(verify)
app.command()(export)


@app.command()
def teach(
    data: Annotated[Path, typer.Argument(help="A .jsonl file of questions and documents.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The .jsonl file to write; a broken-off one is gone on with.")
    ],
    teacher: Annotated[str, typer.Option(help="module:object, a LangChain chat model or a function that makes one.")],
    candidates: Annotated[int, typer.Option(help="How many summaries to ask for, for each line.")] = 1,
    max_tokens: Annotated[int, typer.Option(help="About how long each may be.")] = 128,
    timeout: Annotated[float, typer.Option(help="Seconds for each summary.")] = 60.0,
) -> None:
    """Have a chat model write candidate summaries, for `train summarizer`."""
    from rag_compress.cli.teach import run_teach

    run_teach(data, out, teacher, candidates, max_tokens, timeout)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Say what is installed, what clashes, and which device is really used; exit with 1 if something clashes."""
    from rag_compress.cli.doctor import run_doctor

    run_doctor(as_json)
