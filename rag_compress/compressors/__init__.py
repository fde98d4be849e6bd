"""Compressors: stages that rewrite the segments of a context."""

from rag_compress.compressors.extractive import ExtractiveCompressor

__all__ = ["ExtractiveCompressor"]
