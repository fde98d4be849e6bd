"""What the harness measures on small questions, and that the library chooses as it does."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from math import ceil

import pytest
import typer

from eval import metrics
from eval.datasets import GivenSentences, Passage, Question, measured, unanswerable
from eval.extractive import budget_figures, language_figures, main, passage_figures, score_questions, threshold_figures
from eval.results import Result, read_result
from eval.systems import LeadScorer, PlainBM25Scorer, RandomScorer, scorer_named
from eval.words import count_words
from rag_compress.compressors import ExtractiveCompressor
from rag_compress.prompts import PromptTemplate
from rag_compress.scorers import LexicalScorer
from rag_compress.selection import Selection
from rag_compress.testing import OverlapScorer

PLAIN = PromptTemplate(template="{context}{query}", source="{text}", separator="\n", tokenizer=count_words)
"""Renders nothing but sentences, so that its tokens are the words of the evaluation."""


def passage(*sentences: str, evidence: tuple[int, ...] | None = (), gold: bool | None = False) -> Passage:
    """Returns a passage of these sentences, separated by spaces."""
    offsets, start = [], 0
    for sentence in sentences:
        offsets.append((start, start + len(sentence)))
        start += len(sentence) + 1
    return Passage("", " ".join(sentences), gold, tuple(offsets), evidence)


RIVERS = Question(
    "rivers",
    "Which river is in France?",
    ("Loire", "the Loire"),
    (
        passage("The Rhine rises in Switzerland.", "It is long."),
        passage("The Loire is a river in France.", "It has many castles.", evidence=(0,), gold=True),
    ),
)
NOTHING = replace(RIVERS, id="nothing", passages=(passage("Cats sleep."),), answers=())


def test_sentences_are_those_of_the_data_set():
    """The compressor scores the given sentences, in order through all passages."""
    (scored,) = score_questions(LeadScorer(), [RIVERS])
    assert scored.texts[2] == "The Loire is a river in France."
    assert scored.words == [5, 3, 7, 4]
    assert scored.evidence == {2}
    assert scored.gold == [False, False, True, True]


def test_figures_at_a_budget():
    """The evidence sentence, 7 of 19 words, fits a half but not a third."""
    figures, samples = budget_figures(score_questions(OverlapScorer(), [RIVERS]))
    assert (figures["EV@20"], figures["EV@35"], figures["EV@50"]) == (0, 100, 100)
    assert (figures["ANS@20"], figures["ANS@50"]) == (0, 100)
    assert samples["EV@20"] == [0.0]


def test_sets_with_passage_labels_only_get_the_gold_share():
    """Without sentence labels there is no evidence recall."""
    passages = tuple(replace(p, evidence=None) for p in RIVERS.passages)
    figures, _ = budget_figures(score_questions(LeadScorer(), [replace(RIVERS, passages=passages)]))
    assert "EV@50" not in figures
    assert figures["GC@50"] == 0


def test_each_language_has_its_figure():
    """Evidence recall is given apart for each language, and not at all where there is one."""
    short = (passage("The Loire is in France.", evidence=(0,), gold=True), passage("word " * 40))
    german = [replace(RIVERS, id=f"xquad-de-{i}", passages=short) for i in range(2)]
    figures, samples = language_figures(score_questions(OverlapScorer(), [*german, replace(RIVERS, id="xquad-el-1")]))
    assert figures == {"EV@20 de": 100, "EV@20 el": 0}
    assert samples == {"EV@20 de": [1, 1], "EV@20 el": [0]}
    assert language_figures(score_questions(OverlapScorer(), german)) == ({}, {})


def test_passages_are_ranked_by_their_best_sentence():
    """The gold passage holds the best sentence, so both figures are perfect."""
    assert passage_figures(score_questions(OverlapScorer(), [RIVERS])) == {"passage AUROC": 100, "passage nDCG@10": 100}


def test_a_threshold_may_keep_nothing():
    """Lexical scores keep the evidence and leave the unanswerable question empty."""
    answerable, without = score_questions(LexicalScorer(), [RIVERS]), score_questions(LexicalScorer(), [NOTHING])
    figures = threshold_figures(answerable, without, 0.3)
    assert figures["EV at threshold"] == 100
    assert (figures["empty, answerable"], figures["empty, unanswerable"]) == (0, 100)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.35, 0.5])
@pytest.mark.parametrize("scorer", [RandomScorer(3), OverlapScorer(), LeadScorer()])
def test_the_library_chooses_what_the_harness_chooses(scorer, share):
    """`Selection` with words as tokens and a plain template keeps the sentences of `kept_within`."""
    question = replace(RIVERS, passages=tuple(_many_sentences(seed) for seed in range(4)))
    (scored,) = score_questions(scorer, [question])
    kept = metrics.kept_within(scored.scores, scored.words, share)
    budget = ceil(share * sum(scored.words))
    compressor = ExtractiveCompressor(
        scorer, Selection(max_tokens=budget, template=PLAIN), splitter=GivenSentences.of([question])
    )
    (context,) = compressor([question.context])
    assert [segment.text for segment in context.segments] == [scored.texts[i] for i in sorted(kept)]


def test_a_ratio_is_the_same_budget():
    """With 20 words in all, `max_ratio` and the share of the words are the same number of words."""
    question = replace(RIVERS, passages=(*RIVERS.passages, passage("Yes.")))
    (scored,) = score_questions(OverlapScorer(), [question])
    kept = metrics.kept_within(scored.scores, scored.words, 0.5)
    selection = Selection(max_ratio=0.5, template=PLAIN)
    (context,) = ExtractiveCompressor(OverlapScorer(), selection, GivenSentences.of([question]))([question.context])
    assert [segment.text for segment in context.segments] == [scored.texts[i] for i in sorted(kept)]


def test_questions_are_sampled_by_the_digest_of_their_id():
    """The sample does not depend on the order of the file, and holds questions with evidence only."""
    questions = [replace(RIVERS, id=str(i)) for i in range(20)]
    sample = measured([*questions, NOTHING], limit=5)
    assert sample == measured([NOTHING, *reversed(questions)], limit=5)
    assert NOTHING not in sample


def test_unanswerable_questions_have_no_gold_passage():
    """A question whose passages are labelled and hold nothing is unanswerable; one without labels is not."""
    unlabelled = replace(NOTHING, passages=(passage("Cats sleep.", evidence=None, gold=None),))
    assert unanswerable([RIVERS, NOTHING, unlabelled]) == [NOTHING]


def test_plain_bm25_prefers_the_sentence_with_the_rare_words():
    """The sentence that holds river and France is the best."""
    (scored,) = score_questions(PlainBM25Scorer(), [RIVERS])
    assert scored.scores.index(max(scored.scores)) == 2


def test_random_scores_depend_on_the_question_alone():
    """A question's scores do not change with its batch-mates."""
    both = score_questions(RandomScorer(), [NOTHING, RIVERS])
    assert both[1].scores == score_questions(RandomScorer(), [RIVERS])[0].scores


def test_the_oracle_keeps_what_is_labelled():
    """Evidence comes first, the shortest before the others; gold passages where no sentence is labelled."""
    long = passage("The Loire is long.", "It is French.", "It has castles and more.", evidence=(0, 1), gold=True)
    plain = passage("The Loire.", "A river.", evidence=None, gold=True)
    question = replace(RIVERS, passages=(passage("The Rhine."), long, plain))
    (scored,) = score_questions(scorer_named("oracle", [question]), [question])
    order = sorted(range(len(scored.scores)), key=lambda i: -scored.scores[i])
    assert order[:4] == [4, 5, 2, 1]
    assert all(score < 1 for score in (scored.scores[0], scored.scores[3]))


def test_any_scorer_is_found_by_name():
    """A class named as module:object is made without arguments."""
    assert scorer_named("rag_compress.testing:OverlapScorer") == OverlapScorer()
    assert scorer_named("lexical") == LexicalScorer()


def test_an_unknown_system_names_the_known_ones():
    """The error lists what there is."""
    with pytest.raises(typer.BadParameter, match="lead, random, bm25, lexical"):
        scorer_named("nothing")


def test_a_limited_run_leaves_the_full_result_as_it_is(tmp_path):
    """Another `--limit` needs another folder, and is told so before anything is measured."""
    line = {"id": "a", "query": "Who sleeps?", "answers": ["Cats"]}
    context = {"id": "c", "title": None, "text": "Cats sleep.", "gold": True, "sentences": [[0, 11]], "evidence": [0]}
    (tmp_path / "evidence").mkdir()
    with gzip.open(tmp_path / "evidence/toy-test.jsonl.gz", "wt") as file:
        file.write(json.dumps({**line, "contexts": [context]}))
    command = "python -m eval.extractive --system lexical --set toy --split test"
    full = Result(command, {"EV@20": 12.0}).write("extractive-lexical-toy-test", tmp_path)
    with pytest.raises(typer.BadParameter, match=f"`{command}`: give another folder with --out"):
        main("lexical", "toy", limit=1, data=tmp_path, out=tmp_path)
    assert read_result(full.stem, tmp_path).scores == {"EV@20": 12.0}
    main("lexical", "toy", limit=1, data=tmp_path, out=tmp_path / "tries")
    assert read_result(full.stem, tmp_path / "tries").command == f"{command} --limit 1"
    main("lexical", "toy", data=tmp_path, out=tmp_path)
    assert read_result(full.stem, tmp_path).scores["EV@50"] == 0


def _many_sentences(seed: int) -> Passage:
    lengths = [(seed * 7 + i * 5) % 11 + 1 for i in range(9)]
    return passage(*(f"s{seed}x{i} " + "river " * (n - 1) + "end." for i, n in enumerate(lengths)))
