"""The section of the report on LangChain and LlamaIndex."""

from __future__ import annotations

from collections.abc import Iterator

from eval.markdown import table
from eval.results import find_result

_EXPLANATION = """\
`{command}`: {questions} questions of {data}, each with its own passages; means. Chains and engines are the frameworks'
own; tokens are estimated alike for all. "Kept" and "untouched" are shares of the questions, but evidence is the share
of the labelled sentences that stand word for word in the prompt. The LLM of `LLMChainExtractor` is a fake that answers
with the labels, so its evidence is what a perfect one would keep, and its time is without any LLM's.
"""


def framework_sections() -> Iterator[str]:
    """Yields a table for each framework: its own compressors and ours."""
    if result := find_result("frameworks"):
        yield "## In LangChain and LlamaIndex\n"
        yield _EXPLANATION.format(command=result.command, **result.details)
        systems = list(dict.fromkeys(key.partition(": ")[0] for key in result.scores))
        figures = list(dict.fromkeys(key.partition(": ")[2] for key in result.scores))
        for framework in dict.fromkeys(system.partition(", ")[0] for system in systems):
            rows: list[list[str | float | None]] = [
                [system.partition(", ")[2], *(result.scores[f"{system}: {figure}"] for figure in figures)]
                for system in systems
                if system.startswith(framework)
            ]
            yield table([framework, *figures], rows)
