"""The methods that a job can run, by name; a new one is one row of `METHODS`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from rag_compress.compressors.abstractive import AbstractiveCompressor
from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.compressors.offline import EachDocument
from rag_compress.errors import InvalidInput
from rag_compress.models.summarizers.named import named_summarizer
from rag_compress.named import named_object
from rag_compress.prompts import PromptTemplate
from rag_compress.scorers.named import SCORERS, NamedScorer, default_scorer, encoder_of
from rag_compress.stages import Stage

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """A way to compress.

    Attributes:
        make: Makes the stage from the options and a template, which renders one row's documents and counts tokens.
        needs_query: Whether it compresses for a question; one that does not keeps a text that it would leave empty.
        threads: Whether it uses every core from within one process; otherwise each core gets a process.
        rows: How many rows make a part: what a crash may cost, some seconds of work.
        weights: Returns the files that decide what the model says.
    """

    make: Callable[[Options, PromptTemplate], Stage]
    needs_query: bool = True
    threads: bool = False
    rows: int = 1000
    weights: Callable[[Options], Sequence[Path]] = lambda _: ()

    def fingerprint(self, options: Options) -> str | None:
        """Returns the hash of the model's weights, `None` without any."""
        return hash_of_files(self.weights(options))


def hash_of_files(files: Sequence[Path]) -> str | None:
    """Returns the hash of what files hold, `None` without any."""
    seen = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as content:
                hashlib.file_digest(content, lambda: seen)
        except OSError as error:
            raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    return seen.hexdigest()[:16] if files else None


def _extractive(scorer: str, options: Options, template: PromptTemplate) -> Stage:
    model, rest = _without(options, "model")
    if SCORERS[scorer].encodes:
        model = encoder_of(model)
        model.encode([""])  # what cannot be loaded, or fetched, is an error of the job and not of each row
    return ExtractiveCompressor.named(scorer, model, **rest, template=template)


def _summary(options: Options, template: PromptTemplate) -> Stage:
    model, rest = _needed(options, "summary", "FOLDER or module:object")
    lead = ExtractiveCompressor.lexical()  # without a question no score is worth a model's time
    return EachDocument(writer(model, {"keywords": 8, "fallback": lead, **rest}, template))


def _abstractive(options: Options, template: PromptTemplate) -> Stage:
    model, rest = _needed(options, "abstractive", "FOLDER or module:object")
    names = {field.name for field in fields(AbstractiveCompressor)}
    limits = {name: value for name, value in rest.items() if name not in names and value is not None}
    extract = ExtractiveCompressor.default(**limits, template=template)
    written = {name: value for name, value in rest.items() if name in names}
    return extract >> writer(model, {"fallback": extract, **written}, template)


def writer(model: str, options: Options, template: PromptTemplate) -> AbstractiveCompressor:
    """Returns the compressor of a summarizer, by its name."""
    return AbstractiveCompressor(named_summarizer(model), template=template, **options)


def _summarizer_weights(options: Options) -> list[Path]:
    """Returns the files of a trained model; what stands behind `module:object` is known by its name only."""
    folder = Path(options.get("model", ""))
    files = sorted(folder.iterdir()) if "model" in options and folder.is_dir() else []
    return [file for file in files if file.suffix in {".safetensors", ".bin", ".json", ".model"}]


def _abstractive_weights(options: Options) -> list[Path]:
    return [*_summarizer_weights(options), *SCORERS[default_scorer()].weights(None)]


def _scorer_weights(row: NamedScorer, options: Options) -> Sequence[Path]:
    return row.weights(options.get("model"))


METHODS: dict[str, Method] = {
    **{
        name: Method(partial(_extractive, name), threads=row.threads, weights=partial(_scorer_weights, row))
        for name, row in SCORERS.items()
    },
    "summary": Method(_summary, needs_query=False, threads=True, rows=64, weights=_summarizer_weights),
    "abstractive": Method(_abstractive, threads=True, rows=64, weights=_abstractive_weights),
}
"""By the name that `--method` takes."""

DEFAULT = "extractive"
"""The classifier where onnxruntime is installed, otherwise lexical."""


def resolve(name: str) -> str:
    """Returns the name of the method that a name stands for on this machine."""
    return default_scorer() if name == DEFAULT else name


def find_method(name: str) -> Method:
    """Returns a method by name, or `module:function`, which makes a stage of options and a template.

    Modules of the current folder are found too. The attributes of the function `needs_query`, `threads` and `rows` say
    what those of `Method` say.

    Raises:
        InvalidInput: There is none.
    """
    if name in METHODS:
        return METHODS[name]
    if ":" not in name:
        raise InvalidInput(f"No method {name!r}: give {DEFAULT}, {', '.join(METHODS)}, or module:function")
    make = named_object(name)
    known = {field: getattr(make, field) for field in ("needs_query", "threads", "rows") if hasattr(make, field)}
    return Method(make, **known)


def make_stage(name: str, options: Options, template: PromptTemplate) -> Stage:
    """Returns the stage of a method.

    Raises:
        InvalidInput: There is no such method, or it does not know an option.
        MissingExtra: A package that it needs is not installed.
    """
    try:
        return find_method(name).make(options, template)
    except TypeError as error:
        given = f"{dict(options)!r:.200} ({error})"
        raise InvalidInput(f"The method {name!r} does not take these options: {given}") from error


def _needed(options: Options, method: str, kind: str) -> tuple[str, dict[str, Any]]:
    """Returns the model, which a method cannot do without, and the other options."""
    model, rest = _without(options, "model")
    if not isinstance(model, str) or not model:
        raise InvalidInput(f"The method {method} needs a model: --option model={kind}")
    return model, rest


def _without(options: Options, name: str) -> tuple[Any, dict[str, Any]]:
    """Returns one option (`None` if it is not given) and the others."""
    return options.get(name), {key: value for key, value in options.items() if key != name}
