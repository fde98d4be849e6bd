"""Says which sentences state a report's findings, for a question about an effect.

Scientific reports have the same sections (introduction, methods, results, discussion: Sollaci, Pereira, "The
introduction, methods, results, and discussion (IMRAD) structure: a fifty-year survey", 2004). What the methods say of a
treatment has the words of a question about its effect, and is no answer; that comes with its statistics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rag_compress.models.protocols import Passage

_EFFECT = re.compile(
    r"\b(?:effects?|effective(?:ness)?|efficacy|impact|influence\w*|affect\w*|differ(?:s|ence|ences)?|compared|better|worse)\b",
    re.IGNORECASE,
)
_PERHAPS_EFFECT = re.compile(
    r"(?:\A|[.:-])\W{0,5}(?:is|are|was|were|do|does|did|can|could|should|will|would|has|have)\b"
    r"|\b(?:outcomes?|results?|findings?|found|benefits?|risks?|associat\w+|correlat\w+|predict\w*|improve\w*"
    r"|increase\w*|decrease\w*|reduc\w+|prevent\w*)\b",
    re.IGNORECASE,
)
"""A question for yes or no, or about something that has effects: it wants the section, if there is one."""
_SIGNIFICANCE = re.compile(
    r"\bp[\s-]?(?:[<=>]|values?\b)|\b95\s?% (?:CI|confidence)|\bstatistical\w* significan"
    r"|\b(?:no|not|non)[\s-](?:\w+ )?significan"
    r"|\bsignificant(?:ly)? (?:\w+ )?(?:differ|higher|lower|better|worse|more|fewer|less|greater|increas|decreas|improv"
    r"|reduc|associat|correlat|effect|interaction|chang)",
    re.IGNORECASE,
)
_FINDINGS = re.compile(r"\b(?:results?|findings)\b", re.IGNORECASE)
_NAME = (
    r"(?:(?:main |key |primary )?(?:results?|findings)|abstract|background|introduction|objectives?|aims?|purpose"
    r"|design|setting|participants|patients|subjects|materials?|methods?|statistical analys[ie]s|discussion"
    r"|conclusions?|limitations?|acknowledge?ments?|funding|references)"
)
_HEADING = re.compile(rf"[\W\d_]*{_NAME}(?: and {_NAME})?[*_ ]*(?:[:.\n]|\Z)", re.IGNORECASE)
_TITLE_ENDS = re.compile(r"[.:/>|#\n\u2013\u2014]| - ")


def pointed_findings(query: str, passages: Sequence[Passage]) -> list[NDArray[np.float64]]:
    """Returns, for each passage, float64 `(sentences,)`: 1 in a section of findings, and 0.5 for a significant effect.

    Questions that ask for no findings give 0. The section is named by the passage's title, or its last part (`Asthma in
    children: Results`), and by headings and labels within the text (`RESULTS: ...`).
    """
    effect = bool(_EFFECT.search(query))
    if effect or _PERHAPS_EFFECT.search(query):
        return [_findings(passage, effect=effect) for passage in passages]
    return [np.zeros(len(passage.sentences)) for passage in passages]


def _findings(passage: Passage, *, effect: bool) -> NDArray[np.float64]:
    inside = _is_of_findings(_HEADING.match(_TITLE_ENDS.split(passage.title)[-1]))
    found = np.zeros(len(passage.sentences))
    for i, (start, end) in enumerate(passage.sentences):
        heading = _HEADING.match(passage.text, start, end)
        inside = _is_of_findings(heading) if heading else inside
        found[i] = inside + 0.5 * (effect and bool(_SIGNIFICANCE.search(passage.text, start, end)))
    return found


def _is_of_findings(heading: re.Match[str] | None) -> bool:
    return bool(heading and _FINDINGS.search(heading.group()))
