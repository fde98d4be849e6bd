"""Training data: what is read from a line, and what is drawn from a mixture."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from tiny_classifier import RIVERS, example, write_examples

from rag_compress.errors import DocumentError, InvalidInput
from rag_compress.testing import OverlapScorer
from rag_compress.training.distillation import read_candidates
from rag_compress.training.examples import Mixture, Source, read_examples
from rag_compress.training.pairs import write_examples_of_pairs
from rag_compress.training.teacher import write_taught_examples


def test_labels(tmp_path: Path) -> None:
    """`null` evidence is not known, unless the passage is known not to help; `[]` is no evidence."""
    line = example("q", "a. b.", "c.", "d.", evidence=[[1], [], None])
    line["contexts"].append(dict(line["contexts"][2], gold=True))
    (found,) = read_examples(write_examples(tmp_path / "x.jsonl", [line]))
    first, second, third, fourth = (p.labels for p in found.passages)
    assert fourth is None
    assert [list(labels) for labels in (first, second, third)] == [[0, 1], [0], [0]]  # type: ignore[arg-type]


def test_a_passage_without_sentences(tmp_path: Path) -> None:
    """It is one sentence where it is not labelled; evidence without sentences is an error."""
    line = {"query": "q", "contexts": [{"text": "a. b.", "gold": True}]}
    (found,) = read_examples(write_examples(tmp_path / "x.jsonl", [line]))
    assert found.passages[0].passage.sentences == [(0, 5)]
    line["contexts"][0]["evidence"] = [0]  # type: ignore[index]
    with pytest.raises(DocumentError, match="sentences"):
        list(read_examples(write_examples(tmp_path / "x.jsonl", [line])))


def test_teacher_scores(tmp_path: Path) -> None:
    """A teacher's probabilities are the labels, or half of them when there is evidence too."""
    alone = example("q", "a. b.", evidence=[None], teacher=[0.2, 0.6], gold=True)
    both = example("q", "a. b.", evidence=[[1]], teacher=[0.2, 0.6])
    labels = [e.passages[0].labels for e in read_examples(write_examples(tmp_path / "x.jsonl.gz", [alone, both]))]
    np.testing.assert_allclose(labels, [[0.2, 0.6], [0.1, 0.8]], rtol=1e-6)


def test_teacher_logits(tmp_path: Path) -> None:
    """A teacher's logits stand beside the labels; one for each sentence, or the line is refused."""
    path = tmp_path / "x.jsonl"
    line = example("q", "a. b.", evidence=[[1]], teacher_logits=[-2, 6.5])
    (found,) = read_examples(write_examples(path, [line]))
    assert [list(array) for array in found.passages[0][1:4:2]] == [[0, 1], [-2, 6.5]]
    for wrong in ([1.0], [1.0, float("nan")], [[1.0, 2.0]]):
        line["contexts"][0]["teacher_logits"] = wrong
        with pytest.raises(DocumentError, match="teacher_logits must be 2 finite numbers"):
            list(read_examples(write_examples(path, [line])))


def test_a_scorer_is_a_teacher(tmp_path: Path) -> None:
    """Its scores of the sentences, over all passages of a query, become the teacher's logits; the rest stays."""
    path = write_examples(
        tmp_path / "x.jsonl", [example("loire", "the loire. b.", "the loire is long.", evidence=[[0], None])]
    )
    assert write_taught_examples(path, OverlapScorer(), str(tmp_path / "y.jsonl.gz")) == 1
    (plain,), (taught,) = read_examples(path), read_examples(str(tmp_path / "y.jsonl.gz"))
    expected = OverlapScorer().score(["loire"], [[p.passage for p in plain.passages]])[0]
    for before, after, scores in zip(plain.passages, taught.passages, expected, strict=True):
        np.testing.assert_array_equal(after.logits, scores)
        assert after.passage == before.passage
        assert (after.labels is None) == (before.labels is None)


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    """A line that is no example is an error with its file and number; so is a file that is missing or empty."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"query": "q", "contexts": []}\n{"query": "q"}\n')
    with pytest.raises(DocumentError, match=r"x.jsonl:2: not a training example"):
        list(read_examples(str(path)))
    path.write_text('{"query": "q", "contexts": %s}' % ("[" * 100_000))
    with pytest.raises(DocumentError, match=r"x.jsonl:1: not a training example"):
        list(read_examples(str(path)))
    path.write_text('{"query": "q", "contexts": []}\n\n\n{"query": "q"}\n')
    with pytest.raises(DocumentError, match=r"x.jsonl:4: not a training example"):
        list(read_examples(str(path)))
    path.write_text("\n")
    with pytest.raises(InvalidInput, match="holds no example"):
        list(read_examples(str(path)))
    with pytest.raises(InvalidInput, match="cannot be read"):
        list(read_examples(str(tmp_path / "none.jsonl")))


def test_a_mixture_depends_on_seed_and_place_only(tmp_path: Path) -> None:
    """The n-th example is the same however it is reached, and another seed gives another order."""
    path = write_examples(tmp_path / "x.jsonl", RIVERS)
    sources = (Source(path, weight=2), Source(path, weight=1, passages=1))
    one, other = Mixture(sources, seed=1), Mixture(sources, seed=1)
    expected = [one[n].query for n in range(40)]
    assert [other[n].query for n in reversed(range(40))] == expected[::-1]
    assert [Mixture(sources, seed=2)[n].query for n in range(40)] != expected


def test_a_file_is_gone_through_before_it_repeats(tmp_path: Path) -> None:
    """Each pass over a file draws each of its examples once."""
    mixture = Mixture((Source(write_examples(tmp_path / "x.jsonl", RIVERS)),), mark_dropout=0)
    for epoch in range(3):
        assert len({mixture[8 * epoch + n].query for n in range(8)}) == 8


def test_passages_are_capped(tmp_path: Path) -> None:
    """Of many passages, gold ones and those most like the query are kept, in their order."""
    texts = ["x y.", "river a.", "gold.", "z.", "river b."]
    line = example("which river a", *texts, evidence=[[], [], [0], [], []])
    mixture = Mixture((Source(write_examples(tmp_path / "x.jsonl", [line]), passages=2, foreign=0),))
    for n in range(5):
        assert [p.passage.text for p in mixture[n].passages] == ["river a.", "gold."]


def test_a_foreign_passage_takes_the_place_of_a_negative(tmp_path: Path) -> None:
    """Of many passages, too, one is of another query, and the gold one stays."""
    lines = [example(f"q{i}", *[f"text {i} {j}." for j in range(5)], evidence=[[0], [], [], [], []]) for i in range(3)]
    for line, title in zip(lines, "abc", strict=True):
        for context in line["contexts"]:
            context["title"] = title
    mixture = Mixture((Source(write_examples(tmp_path / "x.jsonl", lines), passages=3, foreign=1.0),))
    drawn = [mixture[n] for n in range(30)]
    assert all(len(each.passages) == 3 and any(p.gold for p in each.passages) for each in drawn)
    own = [{p.passage.text.split()[1] for p in each.passages} for each in drawn]
    assert sum(len(documents) > 1 for documents in own) > 15


@pytest.mark.parametrize(
    "options", [{"weight": float("nan")}, {"passages": 0}, {"windows": 0}, {"foreign": 2}], ids=str
)
def test_a_source_is_checked(options: dict) -> None:
    """Numbers that cannot be are refused when the source is named."""
    with pytest.raises(InvalidInput, match=next(iter(options))):
        Source("x.jsonl", **options)


def test_foreign_passages_are_never_evidence(tmp_path: Path) -> None:
    """A passage of another query is labelled as no help, and never one that the query has too."""
    lines = [example("q", f"text {i}.", evidence=[[0]]) for i in range(3)]
    for i, line in enumerate(lines):
        line["contexts"][0]["title"] = f"title {i}"
    mixture = Mixture((Source(write_examples(tmp_path / "x.jsonl", lines), foreign=1.0),), title_dropout=0)
    drawn = [mixture[n].passages for n in range(30)]
    foreign = [passages[1] for passages in drawn if len(passages) == 2]
    assert foreign
    assert all(not p.gold and p.labels is not None and not p.labels.any() for p in foreign)
    assert all(passages[0].passage != passages[1].passage for passages in drawn if len(passages) == 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("query", None),
        ("title", 7),
        ("text", ["a"]),
        ("teacher", [0.5]),
        ("teacher", [5, 7]),
        ("teacher", "ab"),
        ("evidence", [-1]),
        ("evidence", True),
        ("evidence", 0),
        ("evidence", [True]),
        ("gold", "no"),
        ("sentences", [[0, 99]]),
        ("sentences", [[3, 1]]),
        ("sentences", [[0.0, 2.0]]),
    ],
    ids=str,
)
def test_fields_are_checked(tmp_path: Path, field: str, value: object) -> None:
    """A field of the wrong kind is an error with file and line, not one from the depths of training."""
    line = example("q", "a. b.", evidence=[[1]])
    (line if field == "query" else line["contexts"][0])[field] = value
    with pytest.raises(DocumentError, match=r"x.jsonl:1: not a training example"):
        list(read_examples(write_examples(tmp_path / "x.jsonl", [line])))


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"{}" * 1000)[:30]], ids=["none", "cut off"])
def test_files_that_are_no_gzip(tmp_path: Path, content: bytes) -> None:
    """A compressed file that is none, or is cut off, is named."""
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"x.jsonl.gz cannot be read as training data"):
        list(read_examples(str(path)))
    with pytest.raises(InvalidInput, match=r"x.jsonl.gz cannot be read as training data"):
        list(read_candidates(path))
    with pytest.raises(InvalidInput, match=r"x.jsonl.gz cannot be read as training data"):
        write_examples_of_pairs(str(path), str(tmp_path / "out.jsonl.gz"))


def test_answers_are_a_list(tmp_path: Path) -> None:
    """One answer that is not in a list is refused: its first letter would be learned."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"query": "q", "text": "t", "summaries": ["s"], "answers": "Paris"}\n')
    with pytest.raises(DocumentError, match=r"x.jsonl:1: .*answers are lists"):
        list(read_candidates(path))
