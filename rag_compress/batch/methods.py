"""The methods that a job can run, by name; a new one is one row of `METHODS`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.errors import InvalidInput
from rag_compress.prompts import PromptTemplate
from rag_compress.scorers.classifier import BUNDLED, ClassifierScorer
from rag_compress.selection import Selection
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
        weights: Returns the file that decides what the model says, if there is one.
    """

    make: Callable[[Options, PromptTemplate], Stage]
    needs_query: bool = True
    threads: bool = False
    rows: int = 1000
    weights: Callable[[Options], Path | None] = lambda _: None

    def fingerprint(self, options: Options) -> str | None:
        """Returns the hash of the model's weights, `None` without any."""
        file = self.weights(options)
        if file is None:
            return None
        try:
            with file.open("rb") as content:
                return hashlib.file_digest(content, "sha256").hexdigest()[:16]
        except OSError as error:
            raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error


def _classifier(options: Options, template: PromptTemplate) -> Stage:
    model, rest = _without(options, "model")
    compressor = ExtractiveCompressor.classifier(**rest, template=template)
    return compressor if model is None else replace(compressor, scorer=ClassifierScorer.from_folder(model))


def _lexical(options: Options, template: PromptTemplate) -> Stage:
    return ExtractiveCompressor.lexical(**options, template=template)


def _biencoder(options: Options, template: PromptTemplate) -> Stage:
    from rag_compress.models.torch import SentenceTransformerEncoder
    from rag_compress.scorers.biencoder import BiEncoderScorer

    model, rest = _without(options, "model")
    if model is None:
        raise InvalidInput("The method biencoder needs a model: --option model=NAME_OR_FOLDER")
    return ExtractiveCompressor(
        BiEncoderScorer(SentenceTransformerEncoder(model)), Selection(**rest, template=template)
    )


def _classifier_weights(options: Options) -> Path:
    folder = Path(options["model"]) if "model" in options else BUNDLED
    return folder / "model.int8.onnx"


METHODS: dict[str, Method] = {
    "classifier": Method(_classifier, threads=True, weights=_classifier_weights),
    "lexical": Method(_lexical),
    "biencoder": Method(_biencoder, threads=True),
}
"""By the name that `--method` takes."""

DEFAULT = "extractive"
"""The classifier where onnxruntime is installed, otherwise lexical."""


def resolve(name: str) -> str:
    """Returns the name of the method that a name stands for on this machine."""
    if name != DEFAULT:
        return name
    return "classifier" if ClassifierScorer.is_available() else "lexical"


def find_method(name: str) -> Method:
    """Returns a method by name, or `module:function`, which makes a stage of options and a template.

    The attributes of the function `needs_query`, `threads` and `rows` say what those of `Method` say.

    Raises:
        InvalidInput: There is none.
    """
    if name in METHODS:
        return METHODS[name]
    module, _, function = name.partition(":")
    if not function:
        raise InvalidInput(f"No method {name!r}: give {DEFAULT}, {', '.join(METHODS)}, or module:function")
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"The method {name!r} cannot be imported: {error}") from error
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
        raise InvalidInput(f"The method {name!r} does not take these options: {dict(options)} ({error})") from error


def _without(options: Options, name: str) -> tuple[Any, dict[str, Any]]:
    """Returns one option (`None` if it is not given) and the others."""
    return options.get(name), {key: value for key, value in options.items() if key != name}
