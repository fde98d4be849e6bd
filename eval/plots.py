"""Draws evidence recall against the share of words kept, in each set and on average, and speed against quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

Curve = Sequence[float]
Curves = Mapping[str, Curve]
"""Percentages by system, one for each share of the words."""

_COLOURS = {"lead": "#9aa0a6", "random": "#c9b27c", "bm25": "#4c78a8", "lexical": "#e45756", "biencoder": "#54a24b"}
_MORE_COLOURS = ("#b279a2", "#f58518", "#72b7b2", "#9d755d")


def plot_sets(curves: Mapping[str, Curves], shares: Sequence[float], file: Path, columns: int = 4) -> None:
    """Writes one small plot for each set, all on the same axes, with one legend."""
    rows = -(-len(curves) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.9 * columns, 2.5 * rows), sharex=True, sharey=True, squeeze=False
    )
    colours = _colours({system for systems in curves.values() for system in systems})
    for axis, (name, systems) in zip(axes.flat, curves.items(), strict=False):
        _draw(axis, systems, shares, colours)
        axis.set_title(name, fontsize=10)
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    lines = dict(line for axis in axes.flat for line in zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(lines.values(), lines.keys(), loc="upper center", ncols=len(lines), frameon=False)
    figure.supxlabel("words kept, %", fontsize=10)
    figure.supylabel("evidence sentences kept, %", fontsize=10)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.32 / (2.5 * rows)))
    _save(figure, file)


def plot_mean(curves: Curves, shares: Sequence[float], file: Path, title: str) -> None:
    """Writes one plot; each curve has its name at its end."""
    figure, axis = plt.subplots(figsize=(6.4, 4.2))
    colours = _colours(set(curves))
    _draw(axis, curves, shares, colours)
    ends = _apart({name: values[-1] for name, values in curves.items()}, 4.6)
    for name, height in ends.items():
        place = (100 * shares[-1], height)
        axis.annotate(name, place, (7, 0), textcoords="offset points", va="center", fontsize=9, color=colours[name])
    axis.set_title(title, fontsize=11)
    axis.set_xlabel("words kept, %")
    axis.set_ylabel("evidence sentences kept, %")
    figure.tight_layout()
    _save(figure, file)


def plot_bars(groups: Mapping[str, Mapping[str, float]], label: str, file: Path) -> None:
    """Writes groups of bars beside each other, with a legend."""
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    width = 0.8 / len(groups)
    for number, (name, bars) in enumerate(groups.items()):
        places = [i + width * (number - (len(groups) - 1) / 2) for i in range(len(bars))]
        axis.bar(places, list(bars.values()), width, label=name, color=_MORE_COLOURS[number])
    names = list(next(iter(groups.values())))
    axis.set_xticks(range(len(names)), names)
    axis.set_ylabel(label)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.legend(frameon=False)
    figure.tight_layout()
    _save(figure, file)


def plot_speed(rates: Mapping[str, float], qualities: Mapping[str, float], file: Path) -> None:
    """Writes speed against quality; systems whose quality is not known stand below, each on a line of its own."""
    figure, axis = plt.subplots(figsize=(7.2, 4.4))
    bottom = min(qualities.values(), default=0) - 3
    unknown = sorted((name for name in rates if name not in qualities), key=lambda name: -rates[name])
    heights = {name: bottom - 1.6 * place for place, name in enumerate(unknown)} | dict(qualities)
    for name, rate in rates.items():
        known = name in qualities
        axis.plot(rate, heights[name], "o" if known else "x", color="#4c78a8" if known else "#9aa0a6")
        axis.annotate(name, (rate, heights[name]), (7, 0), textcoords="offset points", va="center", fontsize=8)
    axis.axhline(bottom + 1.5, color="#dddddd", linewidth=1)
    axis.set_xscale("log")
    axis.set_xlim(min(rates.values()) / 2, max(rates.values()) * 5)
    axis.set_ylim(min(heights.values()) - 1.5, max(heights.values()) + 3)
    axis.set_yticks([tick for tick in axis.get_yticks() if bottom + 1.5 < tick < max(heights.values()) + 3])
    axis.set_xlabel("passages of 130 words a second")
    axis.set_ylabel("evidence kept in 20% of the words, mean of sets, %\n(crosses: not measured)", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    _save(figure, file)


def _apart(heights: Mapping[str, float], gap: float) -> dict[str, float]:
    """Returns the heights of labels, those that would overlap moved up and down until there is a gap between them."""
    names = sorted(heights, key=lambda name: heights[name])
    up = list(accumulate((heights[name] for name in names), lambda last, height: max(height, last + gap)))
    down = list(accumulate((heights[name] for name in names[::-1]), lambda last, height: min(height, last - gap)))
    return {name: (high + low) / 2 for name, high, low in zip(names, up, down[::-1], strict=True)}


def _colours(systems: set[str]) -> dict[str, str]:
    """Returns a colour for each system, always the same for the baselines."""
    others = zip(sorted(systems - set(_COLOURS)), cycle(_MORE_COLOURS), strict=False)
    return _COLOURS | dict(others)


def _draw(axis: Any, curves: Curves, shares: Sequence[float], colours: Mapping[str, str]) -> None:
    x = [0, *(100 * share for share in shares)]
    axis.plot([0, x[-1]], [0, x[-1]], color="#dddddd", linewidth=1, zorder=0)
    for system, values in curves.items():
        axis.plot(x, [0, *values], color=colours[system], marker="o", markersize=3, linewidth=1.6, label=system)
    axis.set_xlim(0, x[-1] * 1.02)
    axis.set_ylim(0, 101)
    axis.set_xticks([100 * share for share in shares])
    axis.grid(axis="y", color="#eeeeee")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _save(figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130, metadata={"Software": None})
    plt.close(figure)
