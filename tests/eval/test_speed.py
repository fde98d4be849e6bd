"""The comparison of speed: who runs what when, and how times become figures."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_extractive_figures import RIVERS

from eval import speed
from eval.speed import OURS, Texts, Worker, duel, figures_of, floor_figures, serve, started
from eval.speed_floor import cut_into, exponent, flops, matrix_rate
from eval.speed_systems import SYSTEMS

TEXTS = Texts([f"query {i}" for i in range(50)], [f"passage {i}" for i in range(7)])


class Clockwork:
    """Takes as many seconds as it is told for each passage, and remembers its tasks."""

    def __init__(self, seconds: float, log: list[tuple[float, str, int]]) -> None:
        self.each = seconds
        self.log = log

    def seconds(self, query, passages) -> float:
        """Returns the seconds."""
        self.log.append((self.each, query, len(passages)))
        return self.each * len(passages)


def test_texts_are_the_beginnings_of_long_passages():
    """Shorter passages are left out, and one that comes twice is taken once."""
    texts = Texts.of([RIVERS, RIVERS], words=5)
    assert texts.passages == ["The Rhine rises in Switzerland.", "The Loire is a river"]
    assert texts.queries == [RIVERS.query] * 2


def test_runs_differ_and_go_round():
    """Another run asks another question of the next passages; after the last comes the first."""
    assert TEXTS.task(0, 3) == ("query 0", ["passage 0", "passage 1", "passage 2"])
    assert TEXTS.task(2, 3) == ("query 2", ["passage 6", "passage 0", "passage 1"])


def test_a_duel_takes_turns_on_the_same_tasks():
    """Each task goes to ours and then to the peer, and no question comes twice."""
    log: list[tuple[float, str, int]] = []
    found = duel(Clockwork(0.001, log), Clockwork(0.1, log), TEXTS, 6.0, counts=(2, 4))
    assert {count: (len(ours), len(theirs)) for count, (ours, theirs) in found.items()} == {2: (14, 14), 4: (7, 7)}
    pairs = log[4:]
    assert [task[1:] for task in pairs[::2]] == [task[1:] for task in pairs[1::2]]
    assert len({query for _, query, _ in pairs}) == len(pairs) / 2
    assert found[4][1] == [0.4] * 7


def test_a_slow_peer_only_gets_the_smallest_number():
    """Three runs of the smallest number are made however long they take; larger ones only in time."""
    log: list[tuple[float, str, int]] = []
    assert list(duel(Clockwork(0.001, log), Clockwork(10.0, log), TEXTS, 30.0)) == [5]
    assert list(duel(Clockwork(0.001, log), Clockwork(0.2, log), TEXTS, 30.0)) == [5, 20]


def test_figures_are_percentiles_and_rates():
    """Rates are those of the largest number of passages."""
    figures = figures_of("a", {5: [0.1, 0.3, 0.2], 20: [0.5, 0.4, 0.5]}, tokens_a_passage=200)
    assert figures["a: p50 ms, 5"] == pytest.approx(200)
    assert figures["a: p95 ms, 5"] == pytest.approx(290)
    assert figures["a: passages/s"] == pytest.approx(40)
    assert figures["a: tokens/s"] == pytest.approx(8000)


def test_a_worker_answers_each_line():
    """A task with passages is run and timed; one without asks for the peak of memory."""
    seen, out = [], io.StringIO()
    tasks = [json.dumps({"query": "q", "passages": ["p"]}), "{}"]
    serve(lambda query, passages: seen.append((query, passages)), tasks, out)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert seen == [("q", ["p"])]
    assert 0 <= first["seconds"] < 1
    assert second["peak"] > 1


def test_a_system_runs_in_its_own_process(monkeypatch):
    """The process is started, answers, tells its memory and ends."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]))
    with started("lexical", 1, TEXTS) as worker:
        assert worker.seconds("query", ["passage one."]) > 0
        assert worker.cold > worker.seconds("query", ["passage one."])
        assert worker.peak() > 10
    assert worker.process.returncode == 0


def test_a_process_that_breaks_is_an_error():
    """A process that ends without an answer is reported with its exit code, not waited for."""
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.wait()
        with pytest.raises(RuntimeError, match="exit code 3"):
            Worker(process, 1.0).seconds("q", ["p"])
        process.communicate()


def test_scaled_systems_say_so():
    """Only a system built with fewer layers is scaled, and the table says how; ours is real."""
    scaled = [system for system in SYSTEMS.values() if system.scale != 1]
    assert all(f"times {system.scale:g}" in system.title and system.weights == "random" for system in scaled)
    assert SYSTEMS[OURS].weights == "real"


def test_operations_of_a_pass():
    """A pass over 200 tokens takes about 4.7 billion operations, and twice the tokens more than twice as many."""
    assert flops(200) == pytest.approx(4.62e9, rel=0.01)
    assert flops(400) > 2 * flops(200)


@pytest.mark.parametrize("kind", ["fp32", "torch fp32", "int8"])
def test_matrix_products_are_measured(kind):
    """All run, at a rate that no machine is below and none above."""
    pytest.importorskip("onnx")
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    try:
        assert 1e8 < matrix_rate(kind, threads=1, seconds=0.03) < 1e14
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("found", [None, "a spec"])
def test_the_floor_is_measured_without_torch(found, monkeypatch):
    """Its rate is left out, as its peers are, and what was measured before is not lost."""
    monkeypatch.setattr(speed, "find_spec", lambda name: found)
    monkeypatch.setattr(speed, "matrix_rate", lambda kind, threads: 1e9)
    monkeypatch.setattr(speed, "graph_seconds", lambda query, passages, threads: (1.0, 1e9, 100))
    monkeypatch.setattr(speed, "_outside_the_graph", lambda texts, threads: 0.1)
    figures = floor_figures(TEXTS, 1)
    assert figures["floor: fp32 GFLOP/s"] == figures["floor: int8 GOP/s"] == 1
    assert ("floor: torch fp32 GFLOP/s" in figures) == bool(found)


def test_the_exponent_of_growth():
    """Time that doubles with size has the exponent 1, one that does not change 0."""
    assert exponent({1: 2.0, 2: 4.0, 8: 16.0}) == pytest.approx(1)
    assert exponent({1: 3.0, 2: 3.0}) == pytest.approx(0)


def test_a_text_is_cut_into_pieces():
    """The pieces are as many as wanted and hold every word once."""
    text = "one two three four five six seven"
    pieces = cut_into(text, 3)
    assert " ".join(text[start:end] for start, end in pieces) == text
    assert len(pieces) == 3
