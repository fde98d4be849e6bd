"""The matrix of expected figures, and result files."""

from __future__ import annotations

from eval.matrix import Row, read_matrix
from eval.results import Result, read_result

ROW = Row("lead", "toy", "true", "toy", {"EV@20": 50.0}, 0.5, at_least={"AUROC": 70.0}, at_most={"seconds": 1.0})


def test_figures_within_the_tolerance_hold():
    """Half a point off is fine, and bounds may be met exactly."""
    assert all(check.holds for check in ROW.checks({"EV@20": 50.5, "AUROC": 70.0, "seconds": 1.0}))


def test_figures_that_are_off_or_missing_do_not_hold():
    """A figure too low, one beyond its bound and a missing one all fail."""
    assert [check.holds for check in ROW.checks({"EV@20": 49.4, "seconds": 1.1})] == [False, False, False]


def test_every_row_of_the_matrix_expects_something():
    """The matrix can be read, no command stands in it twice, and each is a module of this harness."""
    rows = read_matrix()
    assert all(row.expected or row.at_least or row.at_most for row in rows)
    assert len({row.command for row in rows}) == len(rows)
    assert all(row.command.startswith("python -m eval.") for row in rows)


def test_results_survive_a_round_trip(tmp_path):
    """What is written is read again, without figures that are not numbers."""
    Result("true", {"EV@20": 12.34567, "none": float("nan")}, {"n": 1}, {"EV@20": [0.5, 1.0]}).write("toy", tmp_path)
    assert read_result("toy", tmp_path) == Result("true", {"EV@20": 12.3457}, {"n": 1}, {"EV@20": [0.5, 1.0]})
