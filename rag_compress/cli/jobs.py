"""The options of `run`, `status`, `verify` and `export`; the work is in `batch`, imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[str, typer.Argument(help="The folder of a job: a path or a URL.", metavar="OUT")]
From = Annotated[str | None, typer.Option("--from", help="The store, if its address needs a password or it has moved.")]


def run(
    source: Annotated[
        str,
        typer.Argument(
            help="JSON lines (.jsonl, .gz, .zst, or -), Parquet files, a folder or URL of either, a .sqlite file, "
            "postgresql://..., lancedb:FOLDER, qdrant:FOLDER_OR_URL, chroma:FOLDER_OR_URL.",
            metavar="IN",
        ),
    ],
    out: Out,
    text_col: Annotated[
        str | None, typer.Option(help="The document, or the list of documents.", show_default="text")
    ] = None,
    id_col: Annotated[str | None, typer.Option(help="What tells rows apart.", show_default="id")] = None,
    title_col: Annotated[str | None, typer.Option(help="The document's title.")] = None,
    query: Annotated[str | None, typer.Option(help="One question for all rows.")] = None,
    query_col: Annotated[str | None, typer.Option(help="The question of each row.")] = None,
    out_col: Annotated[str | None, typer.Option(help="The field for the result.", show_default="compressed")] = None,
    table: Annotated[str | None, typer.Option(help="The table or collection.")] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="extractive (the best at hand), classifier, lexical, biencoder, ensemble, summary, "
            "abstractive, or module:function of your own.",
            show_default="extractive",
        ),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Keep what scores at least this.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The most tokens of a result.")] = None,
    max_ratio: Annotated[float | None, typer.Option(help="The same, as a share of the original (0 to 1).")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Another option of the method, as NAME=VALUE.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="A tokenizer.json or a tiktoken name.")] = None,
    write_mode: Annotated[
        str | None,
        typer.Option(
            help="column: beside the original; sidecar: id and result in OUT; replace.", show_default="column"
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do overwrite the originals.")] = False,
    config: Annotated[Path | None, typer.Option(help="A TOML file with these settings; flags overrule it.")] = None,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Processes.", show_default="one for each core, or one that uses all")
    ] = None,
    gpus: Annotated[float, typer.Option(help="GPUs of each worker of --engine ray.")] = 0,
    address: Annotated[str | None, typer.Option(help="The Ray cluster; by default this machine.")] = None,
    shard: Annotated[str, typer.Option(help="Do only part i of every n, as i/n; others do the rest.")] = "0/1",
    part_rows: Annotated[
        int | None, typer.Option(help="Rows that are finished in one step.", show_default="1000; 64 with a summarizer")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart/--resume", help="Start anew, or go on where the last run ended.")
    ] = False,
    max_errors: Annotated[
        int | None, typer.Option(help="Stop once more rows have failed.", show_default="never")
    ] = None,
    progress: Annotated[str, typer.Option(help="auto, json (a line for each part, on stderr) or none.")] = "auto",
) -> None:
    """Compress a whole store: documents, or a log of questions with what was retrieved.

    Running it again resumes: what is finished and unchanged stays, what failed is tried again. See docs/batch.md.
    """
    from rag_compress.cli.batch import EngineKind, Execution, ProgressKind, choice, read_options, run_job

    given = {
        "table": table,
        "text_col": text_col,
        "id_col": id_col,
        "title_col": title_col,
        "query_col": query_col,
        "out_col": out_col,
        "query": query,
        "method": method,
        "tokenizer": tokenizer,
        "write_mode": write_mode,
        "part_rows": part_rows,
    }
    options = {"threshold": threshold, "max_tokens": max_tokens, "max_ratio": max_ratio, **read_options(option or [])}
    kind, shown = choice(EngineKind, engine), choice(ProgressKind, progress)
    how = Execution(kind, workers, gpus, address, shard, max_errors, shown, restart, yes)
    run_job(source, out, given, options, config, how)


def status(out: Out, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show how far a job is, and which rows failed."""
    from rag_compress.cli.batch import show_status

    show_status(out, as_json=as_json)


def verify(out: Out, source: From = None) -> None:
    """Check that every row of a job has a result or an error, and that nothing was altered; exit with 1 otherwise."""
    from rag_compress.cli.batch import verify_job

    verify_job(out, source)


def export(
    out: Out,
    target: Annotated[str, typer.Argument(help="A file, or - for standard output.", metavar="TO")] = "-",
    source: From = None,
) -> None:
    """Write the results as JSON lines with id and text."""
    from rag_compress.cli.batch import export_results

    export_results(out, target, source)
