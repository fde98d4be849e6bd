"""Compressors: they rewrite the segments of a context. One file each; any two compose with `>>`."""

from rag_compress.compressors.abstractive import AbstractiveCompressor
from rag_compress.compressors.chunking import Chunking
from rag_compress.compressors.exactness import Exactness
from rag_compress.compressors.extractive import ExtractiveCompressor
from rag_compress.compressors.gate import RelevanceGate
from rag_compress.compressors.grounding import Grounding
from rag_compress.compressors.projector import ProjectorCompressor

__all__ = [
    "AbstractiveCompressor",
    "Chunking",
    "Exactness",
    "ExtractiveCompressor",
    "Grounding",
    "ProjectorCompressor",
    "RelevanceGate",
]
