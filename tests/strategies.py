"""Hypothesis strategies: texts, documents and contexts, ordinary and nasty."""

from __future__ import annotations

from hypothesis import strategies as st

from rag_compress import Context, Document

_FRAGMENTS = [
    "The Loire is a river in France.", "It is 1,006 km long. ", "Dr. Smith met Mr. Jones at 3.50 p.m. ", "\n\n", "\n",
    "# Heading\n", "- first item\n- second item\n", "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "```python\nx = 1\n\ny = 2\n```\n", "Alice: where is it?\nBob: in France.\n", "これは文です。次の文です！",
    "สวัสดีครับ ผมชื่อสมชาย ", "هل هذا صحيح؟ نعم. ", "यह एक वाक्य है। ", "{context}", "{query}", "<xRAG>", "[1] ",
    "\ud800", "\x00", "👩‍👩‍👧‍👦", "e\u0301", "\u2028", "Vitamin D\u3000. Next", "a" * 1200, " ", "...",
    ">>> 1 + 1\n2\n", "\r\n", "France France river",
]  # fmt: skip

texts = st.one_of(
    st.lists(st.sampled_from(_FRAGMENTS), max_size=12).map("".join),
    st.text(st.characters(), max_size=80),
)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    """A query with up to five documents."""
    documents = [
        Document(f"d{i}", draw(texts), title=draw(st.sampled_from(["", "Rivers", "{text}"])), metadata={"i": i})
        for i in range(draw(st.integers(0, 5)))
    ]
    return Context.whole(draw(texts), documents)
