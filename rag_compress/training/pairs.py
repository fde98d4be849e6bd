"""Makes training examples from pairs of a question and the sentence that answers it, for want of whole passages.

Sentences of neighbouring pairs (which come from the same article) stand around the evidence, as prose or as the turns
of a dialogue; other runs of neighbours are the negatives.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rag_compress.errors import InvalidInput
from rag_compress.training.content import content_of
from rag_compress.training.examples import write_examples

_NAMES = "Anna Ben Carla David Emma Frank Grace Hugo Irene Jack Kate Leo Maria Nick Olga Paul Rita Sam Tina".split()
_FILLERS = (
    "Okay.", "Really?", "I know.", "What do you mean?", "Yeah, right.", "Oh.", "Hmm, I see.", "Go on.", "No way!",
    "Well, I am not sure about that.", "Thank you.", "So what happened then?", "Let us talk about that later.",
)  # fmt: skip
_SPACED = ((" ,", ","), (" .", "."), (" ?", "?"), (" 's", "'s"), (" n't", "n't"), (" ;", ";"), (" :", ":"))
_QUOTED = (("`` ", '"'), (" ''", '"'), (" -lrb- ", " ("), (" -rrb-", ")"), ("-lrb- ", "("))


def write_examples_of_pairs(pairs: str, out: str, seed: int = 0) -> int:
    """Writes one example for each pair in a `.jsonl.gz` file of `query` and `sentence`; returns how many.

    Of the examples, 12% hold no evidence, a third are dialogues and a third are one longer passage.

    Raises:
        InvalidInput: The file cannot be read, or holds no pairs.
    """
    content = content_of(pairs)
    try:
        rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        rows = [row for row in rows if _plain(row["query"]).strip()]
        sentences = list(dict.fromkeys(_plain(row["sentence"]) for row in rows))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(f"{pairs} cannot be read as question-sentence pairs: {error!r:.100}") from error
    if not rows:
        raise InvalidInput(f"{pairs} holds no question-sentence pairs")
    place = {sentence: i for i, sentence in enumerate(sentences)}
    rng = random.Random(seed)  # noqa: S311 - not for secrets
    examples = [_example(row, place[_plain(row["sentence"])], sentences, rng) for row in rows]
    rng.shuffle(examples)
    return write_examples(examples, out)


def _example(row: Mapping[str, Any], place: int, sentences: Sequence[str], rng: random.Random) -> dict[str, Any]:
    kind = rng.choice(["short", "long", "dialogue"])
    count = rng.randint(3, 6) if kind == "short" else rng.randint(6, 11)
    first = max(0, place - rng.randrange(count))
    own = list(range(first, min(len(sentences), first + count)))
    contexts = [_context(own, place, sentences, rng, dialogue=kind == "dialogue")]
    if kind == "short":
        for distance in (rng.randint(6, 12), rng.randint(13, 30)):
            start = place + rng.choice([-1, 1]) * distance
            run = [i for i in range(start, start + rng.randint(3, 5)) if 0 <= i < len(sentences) and i not in own]
            contexts += [_context(run, place, sentences, rng, dialogue=False)] if run else []
        contexts = contexts[1:] if rng.random() < 0.36 and len(contexts) > 1 else contexts
        rng.shuffle(contexts)
    return {"query": _plain(row["query"]), "contexts": contexts, "licence": row.get("licence")}


def _context(
    run: Sequence[int], evidence: int, sentences: Sequence[str], rng: random.Random, *, dialogue: bool
) -> dict[str, Any]:
    pieces = list(_turns(run, sentences, rng)) if dialogue else [(i, sentences[i]) for i in run]
    text, spans = "", []
    for _, piece in pieces:
        text += ("\n" if dialogue else " ") if text else ""
        spans.append([len(text), len(text) + len(piece)])
        text += piece
    found = [n for n, (i, _) in enumerate(pieces) if i == evidence]
    return {"title": "", "text": text, "sentences": spans, "evidence": found, "gold": bool(found)}


def _turns(run: Sequence[int], sentences: Sequence[str], rng: random.Random) -> Iterator[tuple[int, str]]:
    """Yields sentences as turns of two or three speakers, with turns between that say nothing (numbered -1)."""
    speakers = rng.sample(_NAMES, rng.randint(2, 3))
    for i in run:
        if rng.random() < 0.5:
            yield -1, f"{rng.choice(speakers)}: {rng.choice(_FILLERS)}"
        yield i, f"{rng.choice(speakers)}: {sentences[i]}"


def _plain(text: str) -> str:
    """Returns the text without the spaces and brackets of a tokenized corpus."""
    for spaced, plain in (*_QUOTED, *_SPACED):
        text = text.replace(spaced, plain)
    return text
