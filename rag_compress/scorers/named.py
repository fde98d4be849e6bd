"""The scorers by name, for the command line, jobs and adapters; a new one is one row of `SCORERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from rag_compress.errors import InvalidInput
from rag_compress.models.protocols import Encoder, SentenceScorer
from rag_compress.models.torch import SentenceTransformerEncoder, as_encoder
from rag_compress.scorers.biencoder import BiEncoderScorer
from rag_compress.scorers.classifier import BUNDLED, ClassifierScorer
from rag_compress.scorers.ensemble import EnsembleScorer
from rag_compress.scorers.lexical import LexicalScorer

Model = Encoder | str | PathLike[str]
"""The folder of a classifier; the name or folder of a bi-encoder, or an `Encoder`."""
DEFAULT = "default"


class NamedScorer(NamedTuple):
    """A scorer that can be asked for by name.

    Attributes:
        make: Makes it with a model; `None`: with the one that it has of its own.
        threshold: What a sentence must score where no other threshold is given; `None`: nothing.
        threads: Whether it uses every core from within one process.
        encodes: Whether its model is a bi-encoder (see `encoder_of`), which may have to be fetched.
        weights: Returns the files that decide its scores, as far as they are known by name.
    """

    make: Callable[[Model | None], SentenceScorer]
    threshold: float | None = None
    threads: bool = True
    encodes: bool = False
    weights: Callable[[Model | None], Sequence[Path]] = lambda _: ()


def named_scorer(name: str) -> NamedScorer:
    """Returns the row of a scorer; that of `default` is the classifier's where it can run, otherwise `lexical`.

    Raises:
        InvalidInput: There is none.
    """
    row = SCORERS.get(default_scorer() if name == DEFAULT else name)
    if row is None:
        raise InvalidInput(f"No scorer {name!r:.80}: give {', '.join((DEFAULT, *SCORERS))}")
    return row


def default_scorer() -> str:
    """Returns the name of the scorer that `default` stands for on this machine."""
    return "classifier" if ClassifierScorer.is_available() else "lexical"


def _classifier(model: Model | None) -> ClassifierScorer:
    if model is None:
        return ClassifierScorer()
    if not isinstance(model, str | PathLike):
        raise InvalidInput(f"The classifier's model is a folder, not {model!r:.80}")
    return ClassifierScorer.from_folder(model)


def _lexical(model: Model | None) -> LexicalScorer:
    if model is not None:
        hint = "" if ClassifierScorer.is_available() else '; for a classifier: pip install "rag-compress[cpu]"'
        raise InvalidInput(f"The lexical scorer has no model, so that {model!r:.80} cannot be it{hint}")
    return LexicalScorer()


def encoder_of(model: Model | None) -> Encoder:
    """Returns the bi-encoder of a model; `None`: all-MiniLM-L6-v2."""
    return SentenceTransformerEncoder() if model is None else as_encoder(model)


def _biencoder(model: Model | None) -> BiEncoderScorer:
    return BiEncoderScorer(encoder_of(model))


def _ensemble(model: Model | None) -> EnsembleScorer:
    return EnsembleScorer(ClassifierScorer(), _biencoder(model))


def _weights(folder: Model | None) -> list[Path]:
    return [(BUNDLED if folder is None else Path(str(folder))) / "model.int8.onnx"]


SCORERS: dict[str, NamedScorer] = {
    "classifier": NamedScorer(_classifier, 0.02, weights=_weights),
    "lexical": NamedScorer(_lexical, 0.05, threads=False),
    "biencoder": NamedScorer(_biencoder, encodes=True),
    "ensemble": NamedScorer(_ensemble, 0.02, encodes=True, weights=lambda _: _weights(None)),
}
"""By the name that `--scorer` and `--method` take; the thresholds are those of `ExtractiveCompressor.default`."""
