"""The report of a job as one HTML file that needs nothing else: figures, plots drawn as SVG, rows to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from rag_compress.batch.tally import RATE_BINS, Tally

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b2430; }}
h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.1rem; margin-top: 2.2rem }}
table {{ border-collapse: collapse }} td, th {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums }} .plots {{ display: flex; flex-wrap: wrap; gap: 2rem }}
figure {{ margin: 0 }} figcaption {{ font-size: .85rem; color: #5b6675 }} code {{ overflow-wrap: anywhere }}
.kept {{ background: #d9f2e0 }} .dropped {{ color: #a0a7b0; text-decoration: line-through }}
.example {{ border-left: 3px solid #d5dae0; padding-left: 1rem; margin: 1rem 0; white-space: pre-wrap }}
</style></head><body>
{body}
</body></html>
"""
_BLUE, _GREY = "#2f6fb2", "#b9c3cf"
_WIDTH, _HEIGHT, _BELOW = 400, 180, 22


def render_report(settings: Mapping[str, Any], tally: Tally, finished: Sequence[Mapping[str, Any]]) -> str:
    """Returns the report.

    Args:
        settings: Of the job.
        tally: Of all its rows.
        finished: What each finished shard says of itself.
    """
    title = f"{settings['method']} over {settings['source']}"
    parts = [f"<h1>{escape(title)}</h1>", _figures(tally, finished), _plots(tally)]
    parts += [_slowest(tally), _most_compressed(tally), _errors(tally), _examples(tally), _settings(settings)]
    return _PAGE.format(title=escape(title), body="\n".join(part for part in parts if part))


def bars(values: Sequence[Sequence[float]], labels: Sequence[str], caption: str) -> str:
    """Returns a bar chart as an HTML figure.

    Args:
        values: One or two series of the same length.
        labels: One for each place of a series; empty ones are left out.
        caption: What is shown.
    """
    highest = max((value for series in values for value in series), default=0) or 1
    step = _WIDTH / max(len(labels), 1)
    width = step * 0.86 / len(values)
    shapes: list[str] = []
    for series, colour in zip(values, (_BLUE,) if len(values) == 1 else (_GREY, _BLUE), strict=True):
        offset = step * 0.07 + width * (len(shapes) > 0) * (len(values) - 1)
        shapes.append(
            "".join(_bar(i * step + offset, width, value / highest, colour, value) for i, value in enumerate(series))
        )
    style = f'y="{_HEIGHT + 15}" font-size="10" text-anchor="middle"'
    texts = "".join(
        f'<text x="{(i + 0.5) * step:.1f}" {style}>{escape(label)}</text>' for i, label in enumerate(labels) if label
    )
    axis = f'<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}" stroke="#5b6675"/>'
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" width="{_WIDTH}" role="img"'
    return f"<figure><svg {box}>{''.join(shapes)}{axis}{texts}</svg><figcaption>{escape(caption)}</figcaption></figure>"


def _bar(x: float, width: float, share: float, colour: str, value: float) -> str:
    height = share * (_HEIGHT - 8)
    place = f'x="{x:.1f}" y="{_HEIGHT - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{colour}"><title>{value:,}</title></rect>'


def _figures(tally: Tally, finished: Sequence[Mapping[str, Any]]) -> str:
    seconds = sum(each["seconds"] for each in finished)
    rows = [
        ("rows", f"{tally.rows:,}"),
        ("failed", f"{tally.errors:,}"),
        ("tokens before", f"{tally.tokens_before:,}"),
        ("tokens after", f"{tally.tokens_after:,}"),
        ("kept", f"{tally.rate:.1%} of the tokens"),
        ("computing", f"{tally.seconds:,.1f} s, all workers together"),
        ("last runs", f"{seconds:,.1f} s, {len(finished)} finished shard(s)"),
    ]
    return _table((), rows)


def _plots(tally: Tally) -> str:
    sizes = sorted({int(size) for size in [*tally.sizes_before, *tally.sizes_after]})
    span = range(sizes[0], sizes[-1] + 1) if sizes else range(0)
    series = [[counts.get(str(size), 0) for size in span] for counts in (tally.sizes_before, tally.sizes_after)]
    labels = [f"{2 ** (size - 1):,}" if size else "0" for size in span]
    tokens = bars(series, labels, "rows by tokens, at least: grey before, blue after")
    marks = [f"{100 * i // RATE_BINS}%" if i % 4 == 0 else "" for i in range(RATE_BINS)]
    rates = bars([tally.rates], marks, "rows by compression rate: tokens after as a share of those before")
    return f'<div class="plots">{tokens}{rates}</div>'


def _slowest(tally: Tally) -> str:
    rows = [(str(row), f"{1000 * seconds:,.1f}") for seconds, row in tally.slowest]
    return _section("Slowest rows", _table(("row", "ms, of a batch by its share of the characters"), rows))


def _most_compressed(tally: Tally) -> str:
    rows = [(str(row), f"{before:,}", f"{rate:.1%}") for rate, before, row in tally.most_compressed]
    return _section("Most compressed rows", _table(("row", "tokens before", "kept"), rows))


def _errors(tally: Tally) -> str:
    if not tally.errors:
        return ""
    shown = _table(("row", "error"), [(str(row), error) for row, error in tally.failed])
    return _section(f"Errors: {len(tally.failed):,} of {tally.errors:,}", shown)


def _examples(tally: Tally) -> str:
    blocks = []
    for row, pieces in tally.examples:
        text = " ".join(
            f'<span class="{"kept" if kept else "dropped"}">{escape(piece)}</span>' for kept, piece in pieces
        )
        blocks.append(f'<div class="example"><b>{escape(str(row))}</b>\n{text}</div>')
    return _section("Examples: what is kept, and what is dropped", "".join(blocks)) if blocks else ""


def _settings(settings: Mapping[str, Any]) -> str:
    rows = [(name, f"{value}") for name, value in settings.items() if value not in (None, {})]
    return _section("Settings", _table((), rows))


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = "".join(
        "<tr>" + "".join(f"<td{'' if i == 0 else _NUMBER}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{lines}</table>"


_NUMBER = ' class="n"'
