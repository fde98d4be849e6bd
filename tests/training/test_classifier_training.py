"""Training: what it learns, that it resumes exactly, and what it leaves behind."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_classifier import RIVERS, write_encoder, write_examples

from rag_compress.errors import DocumentError, InvalidInput, MissingExtra
from rag_compress.models.classifier.windows import WindowCutter, load_tokenizer, pool
from rag_compress.models.protocols import Passage
from rag_compress.scorers.classifier import ClassifierScorer
from rag_compress.training.calibration import UNCALIBRATED, calibrate
from rag_compress.training.examples import Example, Source, read_examples

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
from transformers import T5Config, T5EncoderModel  # noqa: E402

from rag_compress.models.classifier.network import ClassifierNetwork, pool_tokens  # noqa: E402
from rag_compress.training import classifier  # noqa: E402
from rag_compress.training.classifier import (  # noqa: E402
    ClassifierTraining,
    Schedule,
    evidence_recall,
    train,
)
from rag_compress.training.targets import losses_of, targets_of  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]
QUICK = Schedule(steps=4, step_tokens=60, shards=2, learning_rate=1e-2, freeze_embeddings=False)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ClassifierTraining:
    """A run of four steps on eight examples."""
    folder = tmp_path_factory.mktemp("training")
    path = write_examples(folder / "rivers.jsonl", RIVERS)
    return ClassifierTraining(
        (Source(path),), str(folder / "out"), str(write_encoder(folder / "encoder")), dev=(path,), schedule=QUICK
    )


@pytest.fixture(scope="module")
def trained(options: ClassifierTraining) -> Path:
    """The folder of a longer run."""
    schedule = replace(QUICK, steps=40)
    return train(replace(options, schedule=schedule, out=f"{options.out}-long"))


def test_the_graphs_name_no_path(trained: Path) -> None:
    """The exported graphs hold no stack trace: nobody learns where a model was made."""
    for name in ("model.onnx", "model.int8.onnx"):
        content = (trained / name).read_bytes()
        assert b"site-packages" not in content
        assert str(Path(__file__).parent.parent.parent).encode() not in content


def test_it_learns(trained: Path, options: ClassifierTraining) -> None:
    """After forty steps, the exported and calibrated model prefers the evidence to the other sentences."""
    examples = list(read_examples(options.dev[0]))
    scorer = ClassifierScorer.from_folder(trained)
    passages = [[p.passage for p in example.passages] for example in examples]
    scores = scorer.score([example.query for example in examples], passages)
    assert evidence_recall(examples, scores, 0.6) == 1
    assert all(arrays[0][0] > 0.5 > arrays[0][1] for arrays in scores)
    relevance = scorer.relevance([examples[0].query], passages[:1])[0]
    assert relevance[0] > 0.5 > relevance[1]


def test_the_folder_says_what_it_is(trained: Path) -> None:
    """Beside the graphs lie a card with data and licences, and the log of the run."""
    card = (trained / "README.md").read_text()
    assert "| rivers.jsonl | 8 | 1 | 4 | not stated |" in card
    assert '"learning_rate": 0.01' in card
    assert [json.loads(line)["step"] for line in (trained / "log.jsonl").read_text().splitlines()] == [40]


def test_the_card_is_true(options: ClassifierTraining, tmp_path: Path) -> None:
    """Paths, numpy's numbers and odd licences end up in a card and a checkpoint; dev files of one name stay apart."""
    lines = [line | {"licence": ["MIT", "CC0"]} for line in RIVERS]
    dev = [tmp_path / name / "dev.jsonl" for name in ("a", "b")]
    for path in dev:
        path.parent.mkdir()
        write_examples(path, RIVERS)
    made = replace(
        options,
        data=(Source(Path(write_examples(tmp_path / "mine.jsonl", lines))),),
        out=tmp_path / "out",
        dev=tuple(dev),
        seed=np.int64(3),
    )
    train(made)
    card = (train(replace(made, out=str(made.out), seed=3)) / "README.md").read_text()
    assert "| mine.jsonl | 8 | 1 | 4 | ['MIT', 'CC0'] |" in card
    assert '"seed": 3' in card
    assert "| step | 4 |" in card
    assert "words, dev | [" in card
    assert f"words, {dev[1]} | [" in card


def test_bad_files_are_found_first(options: ClassifierTraining, tmp_path: Path) -> None:
    """A dev file that is not there, and a line that would be drawn after hours or never, are said before training."""
    cut_off = tmp_path / "cut.jsonl"
    cut_off.write_bytes(Path(options.dev[0]).read_bytes() + b'{"query": "which')
    made = replace(options, encoder="nowhere", out=str(tmp_path / "out"))
    for change, message in (
        ({"dev": (str(tmp_path / "typo.jsonl"),)}, r"typo\.jsonl cannot be read"),
        ({"dev": (str(cut_off),)}, r"cut\.jsonl:9: not a training example"),
        ({"data": (Source(str(cut_off)),)}, r"cut\.jsonl:9: not a training example"),
    ):
        with pytest.raises((DocumentError, InvalidInput), match=message):
            train(replace(made, **change))
    assert not Path(made.out).exists()


def test_onnxruntime_is_missed_first(options: ClassifierTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the end of a run needs is asked for before it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"rag-compress\[cpu\]"):
        train(replace(options, encoder="nowhere"))


def test_resuming_is_exact(options: ClassifierTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run broken off after two steps ends with the weights of one that was not."""
    monkeypatch.setattr(classifier, "finish", lambda options, *_: Path(options.out))  # exports take the longest
    whole = train(replace(options, out=f"{options.out}-whole"))
    parts = replace(options, out=f"{options.out}-parts", evaluate_every=2)
    constant = replace(QUICK, warmup=0, decay=0)
    train(replace(parts, schedule=replace(constant, steps=2)))
    train(replace(parts, schedule=constant))
    train(replace(options, schedule=constant, out=f"{options.out}-constant"))
    one, other, decayed = (
        torch.load(f"{options.out}-{name}/checkpoint.pt", weights_only=True)["network"]
        for name in ("constant", "parts", "whole")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], decayed[name]) for name in one)
    assert whole.is_dir()


def test_training_on_after_use(options: ClassifierTraining) -> None:
    """A model that was used is trained on in the same process: its graphs and probabilities are the new network's."""
    used = replace(options, out=f"{options.out}-used")
    train(replace(used, schedule=replace(QUICK, steps=2)))
    river = [[Passage("", "The Loire is in France.", [(0, 23)])]]
    ClassifierScorer.from_folder(used.out).score(["Where is the Loire?"], river)
    longer = replace(QUICK, steps=12, learning_rate=1e-2, warmup=0, decay=0)
    train(replace(used, schedule=longer))
    again = ClassifierScorer.from_folder(used.out)
    assert json.loads((Path(used.out) / "config.json").read_text())["calibration"] == calibrate(
        again, {options.dev[0]: list(read_examples(options.dev[0], used.dev_examples))}
    )


def test_a_kill_at_the_end(options: ClassifierTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that breaks off while it is finished leaves the folder's old model whole, or none; the next one ends it."""
    run = replace(options, out=f"{options.out}-killed", schedule=replace(QUICK, steps=2))
    names = ("config.json", "model.int8.onnx", "model.onnx", "README.md", "tokenizer.json")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def files() -> dict[str, bytes]:
        return {name: (Path(run.out) / name).read_bytes() for name in names if (Path(run.out) / name).exists()}

    for steps in (2, 4):
        run = replace(run, schedule=replace(QUICK, steps=steps))
        before = files()
        with monkeypatch.context() as patch:
            patch.setattr(classifier, "calibrate", killed)
            with pytest.raises(KeyboardInterrupt):
                train(run)
        assert files() == before
        train(run)
        assert len(files()) == len(names)
        assert files() != before
    assert not (Path(run.out) / "unfinished").exists()


def test_a_checkpoint_of_another_run_is_refused(options: ClassifierTraining, trained: Path) -> None:
    """A folder that holds a run with another recipe is not overwritten; only the pace may change."""
    others = replace(options.schedule, lexical=0, weight_decay=0.5, shards=3, freeze_embeddings=True, warmup=0.5)
    with pytest.raises(InvalidInput, match=r"other options \(seed\)"):
        train(replace(options, out=str(trained), seed=1))
    with pytest.raises(InvalidInput, match=r"\(freeze_embeddings, lexical, max_tokens, shards, weight_decay\)"):
        train(replace(options, out=str(trained), schedule=others, max_tokens=300))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frozen": "("}, "not a regular expression"),
        ({"lexical": float("nan")}, "lexical must be a number"),
        ({"step_tokens": 1, "shards": 2}, "step_tokens must be at least shards"),
    ],
)
def test_a_schedule_is_checked(change: dict, message: str) -> None:
    """What cannot be is an error when the schedule is made."""
    with pytest.raises(InvalidInput, match=message):
        Schedule(**change)


def test_what_cannot_be_trained(options: ClassifierTraining, tmp_path: Path) -> None:
    """What is frozen, too long, no encoder alone, or a start of another kind is said before training."""
    made = replace(options, out=str(tmp_path / "out"))
    t5 = T5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5EncoderModel(t5).save_pretrained(tmp_path / "t5")
    with pytest.raises(InvalidInput, match="T5Model has a decoder, too"):
        train(replace(made, encoder=str(tmp_path / "t5")))
    with pytest.raises(InvalidInput, match="All parameters are frozen"):
        train(replace(made, schedule=replace(QUICK, frozen=".")))
    with pytest.raises(InvalidInput, match="the encoder reads 512 tokens"):
        train(replace(made, score_tokens=1024))
    with pytest.raises(InvalidInput, match="seed must be"):
        replace(made, seed=-1)
    torch.save({"network": {"a": torch.zeros(1)}}, tmp_path / "other.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name, message in (("other.pt", "no checkpoint of a classifier"), ("empty.pt", "cannot be read")):
        with pytest.raises(InvalidInput, match=message):
            train(replace(made, start=str(tmp_path / name)))


def test_one_script_without_evidence(trained: Path, options: ClassifierTraining) -> None:
    """A lone question in another script does not undo the calibration of the others."""
    examples = list(read_examples(options.dev[0]))
    lone = examples[0]._replace(query="Где река?", passages=[p._replace(labels=None) for p in examples[0].passages])
    scorer = ClassifierScorer.from_folder(trained)
    assert calibrate(scorer, {"dev": [*examples, lone]}) == calibrate(scorer, {"dev": examples})


def test_schedule() -> None:
    """The rate rises in the warm-up, is held, and falls to nothing."""
    schedule = Schedule(steps=100, learning_rate=1.0, warmup=0.1, decay=0.2)
    assert [round(schedule.rate(step), 2) for step in (0, 4, 9, 50, 80, 90, 99)] == [0.1, 0.5, 1, 1, 1, 0.5, 0.05]


def test_targets_of_long_passages(options: ClassifierTraining) -> None:
    """Of a long passage only a few windows are kept, one with evidence among them; the others are labelled as none."""
    line = RIVERS[0] | {"contexts": [dict(RIVERS[0]["contexts"][0])]}
    text = "the loire is in france. " * 100
    spans = [[24 * i, 24 * i + 23] for i in range(100)]
    line["contexts"][0] |= {"text": text, "sentences": spans, "evidence": [70]}
    path = write_examples(Path(options.out).parent / "long.jsonl", [line])
    cutter = WindowCutter(load_tokenizer(Path(options.encoder) / "tokenizer.json"), 256)
    for seed in range(5):
        targets = targets_of(next(read_examples(path)), cutter, 2, np.random.default_rng(seed))
        assert sorted(target.gold for target in targets) == [0, 1]
        assert sorted(target.labels.sum() for target in targets) == [0, 1]


def test_evidence_across_a_border(options: ClassifierTraining) -> None:
    """A window into which evidence only reaches is neither called relevant nor irrelevant."""
    cutter = WindowCutter(load_tokenizer(Path(options.encoder) / "tokenizer.json"), 256)
    text = "the loire is in france. " * 150
    line = RIVERS[0] | {"contexts": [RIVERS[0]["contexts"][0] | {"text": text, "gold": True}]}
    seen = set()
    for place in range(150):
        rest = [[24 * i, 24 * i + 23] for i in range(150)]
        line["contexts"][0] |= {"sentences": rest, "evidence": [place]}
        path = write_examples(Path(options.out).parent / "border.jsonl", [line])
        targets = targets_of(next(read_examples(path)), cutter, 9, np.random.default_rng(0))
        golds = [target.gold for target in targets]
        inside = [bool((target.labels >= 0.5).any()) for target in targets]
        assert [gold == 1 for gold in golds] == inside
        assert any(inside) or np.isnan(golds).any()
        seen.add(any(inside))
    assert seen == {True, False}


def test_losses_by_hand(options: ClassifierTraining) -> None:
    """Unknown labels count nowhere; evidence competes with its own query's other sentences."""
    examples = list(read_examples(options.dev[0]))
    cutter = WindowCutter(load_tokenizer(Path(options.encoder) / "tokenizer.json"), 256)
    targets = targets_of(examples[0], cutter, 2, np.random.default_rng(0), 0)
    targets += [t._replace(labels=np.full(2, np.nan, np.float32), gold=np.nan) for t in targets[:1]]
    logits = torch.tensor([1.0, -1.0, 0.0, 0.5, 9.0, 9.0])
    sentence, listwise, passage, distilled = losses_of(logits, torch.tensor([2.0, 0.0, 9.0]), targets, 0.0)
    softplus = torch.nn.functional.softplus
    negatives = torch.tensor([-1.0, 0.0, 0.5])
    assert sentence == pytest.approx(float((softplus(torch.tensor(-1.0)) + softplus(negatives).sum()) / 4))
    assert listwise == pytest.approx(float(softplus(negatives.logsumexp(0) - 1)))
    assert passage == pytest.approx(float((softplus(torch.tensor(-2.0)) + softplus(torch.tensor(0.0))) / 2))
    assert distilled == 0


def test_distillation_by_hand(options: ClassifierTraining) -> None:
    """The distance from the teacher's ranking counts over the sentences that it scored, and is 0 where they agree."""
    examples = list(read_examples(options.dev[0]))
    cutter = WindowCutter(load_tokenizer(Path(options.encoder) / "tokenizer.json"), 256)
    targets = targets_of(examples[0], cutter, 2, np.random.default_rng(0), 0)
    targets = [targets[0]._replace(logits=np.array([3.0, 1.0], np.float32)), targets[1]]
    passages = torch.zeros(2)
    alike = losses_of(torch.tensor([13.0, 11.0, 0.0, 0.5]), passages, targets, 0.0)[3]
    apart = losses_of(torch.tensor([0.0, 2.0, 0.0, 0.5]), passages, targets, 0.0)[3]
    wanted, own = 1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(1.0))
    divergence = wanted * np.log(wanted / own) + (1 - wanted) * np.log((1 - wanted) / (1 - own))
    assert alike == pytest.approx(0, abs=1e-6)
    assert apart == pytest.approx(4 * divergence, rel=1e-5)


def test_what_is_frozen_stays(options: ClassifierTraining) -> None:
    """Parameters that the expression names are the same after training; others are not."""
    encoder = ClassifierNetwork.from_encoder(options.encoder).state_dict()
    schedule = replace(QUICK, frozen=r"attention|embeddings")
    train(replace(options, out=f"{options.out}-frozen", schedule=schedule))
    learned = torch.load(f"{options.out}-frozen/checkpoint.pt", weights_only=True)["network"]
    changed = {name for name in encoder if "encoder." in name and not torch.equal(encoder[name], learned[name])}
    assert changed
    assert not any("attention" in name or "embeddings" in name for name in changed)


def test_products_in_bfloat16(options: ClassifierTraining) -> None:
    """They may be asked for on a CPU, too: gradients differ in rounding, and stay float32."""
    runs = [classifier._Run(replace(options, bf16=bf16)) for bf16 in (None, False, True)]
    targets = [run._draw(200) for run in runs]
    plain, same, rounded = (run._gradient(drawn)[0] for run, drawn in zip(runs, targets, strict=True))
    flat, other = (torch.cat([part.flatten() for part in each]) for each in (plain, rounded))
    assert all(torch.equal(a, b) for a, b in zip(plain, same, strict=True))
    assert other.dtype == torch.float32
    assert not torch.equal(flat, other)
    assert torch.nn.functional.cosine_similarity(flat, other, dim=0) > 0.99


def test_pooling_in_torch_is_pooling_in_numpy() -> None:
    """Training and scoring make the same sentence logits from the same token outputs."""
    outputs = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))
    owners = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    expected = pool(outputs.numpy(), [(0, 3), (3, 5), (5, 7)])
    np.testing.assert_allclose(pool_tokens(outputs, owners, 3), expected, rtol=1e-5)


def test_evidence_recall_by_hand(options: ClassifierTraining) -> None:
    """A sentence is taken, best first, when its words fit what is left of the budget."""
    examples = list(read_examples(options.dev[0]))[:1]
    assert examples[0].passages[0].passage == Passage("t", "the loire is in france. a b c.", [(0, 23), (24, 30)])
    scores = [[np.array([1.0, 2.0]), np.array([0.0, 0.0])]]
    assert evidence_recall(examples, scores, 0.3) == 0
    assert evidence_recall(examples, scores, 8 / 13) == 1
    assert evidence_recall([*examples, Example("q?", [])], [*scores, []], 8 / 13) == 1


def test_evidence_recall_counts_words_of_any_script(tmp_path: Path) -> None:
    """A sentence of Chinese is as many words as it is long, not one: the short one fits a fifth of the text."""
    passage = {"text": "河。" + "卢瓦尔河是法国最长的河流" * 3, "sentences": [[0, 2], [2, 38]], "evidence": [0]}
    line = {"query": "哪条河？", "contexts": [passage]}
    examples = list(read_examples(write_examples(tmp_path / "zh.jsonl", [line])))
    assert evidence_recall(examples, [[np.array([1.0, 0.0])]], 0.2) == 1


def test_nothing_to_learn(options: ClassifierTraining, tmp_path: Path) -> None:
    """Examples without any label end the run with a reason; they were drawn without end before."""
    line = {"query": "q?", "contexts": [{"text": "The Loire. It rains.", "sentences": [[0, 10], [11, 20]]}]}
    path = write_examples(tmp_path / "unlabelled.jsonl", [line])
    with pytest.raises(InvalidInput, match="There is nothing to learn"):
        train(replace(options, data=(Source(path),), out=str(tmp_path / "out")))


def test_another_encoder_is_another_run(options: ClassifierTraining, trained: Path) -> None:
    """A checkpoint is not taken up with another encoder, start or mixture."""
    for changes in ({"encoder": f"{options.encoder}/."}, {"data": (replace(options.data[0], weight=2.0),)}):
        with pytest.raises(InvalidInput, match=r"other options \((encoder|mixture)\)"):
            train(replace(options, out=str(trained), schedule=replace(QUICK, steps=40), **changes))


@pytest.mark.parametrize("options_of", [{"workers": 0}, {"evaluate_every": 0}, {"max_tokens": "9"}], ids=str)
def test_options_are_checked(options: ClassifierTraining, options_of: dict[str, object]) -> None:
    """Counts that make no sense are refused before anything is loaded."""
    with pytest.raises(InvalidInput, match=next(iter(options_of))):
        replace(options, **options_of)
    with pytest.raises(InvalidInput, match="steps"):
        Schedule(steps=0)


def test_the_device_is_checked(options: ClassifierTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that torch does not know, or cannot find, is refused before anything is read."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device, message in (("gpu", "device must be cpu or cuda, not 'gpu'"), ("cuda", "torch finds no GPU")):
        with pytest.raises(InvalidInput, match=message):
            train(replace(options, device=device))


def test_passages_of_one_kind(trained: Path, options: ClassifierTraining) -> None:
    """Where all passages help, sentences are calibrated and passages are left as they are."""
    examples = [
        example._replace(passages=[p for p in example.passages if p.gold]) for example in read_examples(options.dev[0])
    ]
    found = calibrate(ClassifierScorer.from_folder(trained), {"dev": examples})
    assert found["latin"]["passage"] == UNCALIBRATED["latin"]["passage"]
    assert found["latin"]["sentence"] != UNCALIBRATED["latin"]["sentence"]
