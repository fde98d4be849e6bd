"""Makes training examples from plain documents: a word or name of a sentence is asked for with the others around it.

"The tower was finished in 1889 by Eiffel's company." becomes "when was tower finished by Eiffel's company?" The
sentence is the evidence; the passage around it and others of the same document are the contexts. So the classifier
meets texts of a domain that nobody has asked questions about.

Source: Lewis, Denoyer, Riedel, "Unsupervised Question Answering by Cloze Translation", 2019 (noisy clozes).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rag_compress.text import Offsets, cut
from rag_compress.training.examples import write_examples
from rag_compress.types import Document

_ANSWERS = (
    (re.compile(r"\b(?:1[5-9]|20)\d\d\b"), ("when", "in what year", "what year")),
    (re.compile(r"\b\d[\d.,]*\d%?|\b\d+%?"), ("how many", "how much", "what number")),
    (re.compile(r"(?<=[a-z,] )[A-Z][\w'-]+(?: [A-Z][\w'-]+)*"), ("who", "what", "where", "which")),
    (re.compile(r"(?<=\b(?:is|as) )(?:an?|the) \w+ ?\w*|(?<=\bby )\w+ \w+"), ("what", "how", "which")),
    (re.compile(r"(?<=because )\w+ \w+ \w+"), ("why",)),
)
_REACH = 14
"""How many words on each side of the answer may be in the question."""
_DROPPED = 0.2
_WITHOUT_EVIDENCE = 0.12
_PASSAGES = 3


def write_examples_of_documents(documents: Iterable[Document], out: str, per_document: int = 2, seed: int = 0) -> int:
    """Writes examples made from documents into a `.jsonl.gz` file; returns how many.

    Args:
        documents: Texts of the domain; those with fewer than a dozen sentences give nothing.
        out: The file.
        per_document: How many examples each document gives at most.
        seed: Of every random choice.
    """
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    examples = [
        e for document in documents for _, e in zip(range(per_document), _examples(document, rng), strict=False)
    ]
    rng.shuffle(examples)
    return write_examples(examples, out)


def _examples(document: Document, rng: random.Random) -> Iterator[dict[str, Any]]:
    pieces = cut(document.text)
    if len(pieces) < 4 * _PASSAGES:
        return
    places = [i for i, (start, end) in enumerate(pieces) if _is_prose(document.text[start:end])]
    rng.shuffle(places)
    for place in places:
        start, end = pieces[place]
        query = question_of(document.text[start:end], rng)
        if query:
            contexts = list(_contexts(document, pieces, place, rng))
            yield {"query": query, "contexts": contexts, "licence": document.metadata.get("licence")}


def _is_prose(piece: str) -> bool:
    return 40 <= len(piece) <= 400 and sum(c.isalnum() or c in " ,.'" for c in piece) > 0.95 * len(piece)


def question_of(sentence: str, rng: random.Random) -> str:
    """Returns a question that the sentence answers, or a few of its words; empty when there is nothing to ask for."""
    if rng.random() < 0.25:
        rare = sorted(set(re.findall(r"\w{4,}", sentence)), key=lambda word: (-len(word), word))[:6]
        return " ".join(rng.sample(rare, min(len(rare), rng.randint(3, 4)))) if len(rare) > 3 else ""
    found = [(match, asks) for pattern, asks in _ANSWERS for match in pattern.finditer(sentence)]
    if not found:
        return ""
    match, asks = rng.choice(found)
    before = sentence[: match.start()].split()[-_REACH:]
    after = sentence[match.end() :].split()[:_REACH]
    around = [*after, *before] if rng.random() < 0.3 else [*before, *after]
    kept = [word.strip(".,;:!?()\"'*`_") for word in around if rng.random() >= _DROPPED]
    kept = [word for word in kept if word]
    return f"{rng.choice(asks)} {' '.join(kept)}?" if len(kept) >= 3 else ""


def _contexts(
    document: Document, pieces: Sequence[Offsets], place: int, rng: random.Random
) -> Iterator[dict[str, Any]]:
    """Yields the passage around a sentence (mostly) and others of the document that do not touch it."""
    first = max(0, place - rng.randint(0, 8))
    last = min(len(pieces), place + 1 + rng.randint(1, 8))
    others = [i for i in range(len(pieces) - 4) if i >= last or i + 10 <= first]
    spans = [] if rng.random() < _WITHOUT_EVIDENCE and others else [(first, last)]
    starts = rng.sample(others, min(len(others), _PASSAGES - 1))
    spans += [(start, min(start + rng.randint(4, 10), len(pieces) if start >= last else first)) for start in starts]
    rng.shuffle(spans)
    for start, end in spans:
        base, stop = pieces[start][0], pieces[end - 1][1]
        evidence = [place - start] if start <= place < end else []
        yield {
            "title": document.title,
            "text": document.text[base:stop],
            "sentences": [[a - base, b - base] for a, b in pieces[start:end]],
            "evidence": evidence,
            "gold": bool(evidence),
        }
