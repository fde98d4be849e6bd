"""Scorers: how much each sentence helps to answer the query. One file each, all behind `models.protocols`."""

from rag_compress.scorers.biencoder import BiEncoderScorer
from rag_compress.scorers.cascade import CascadeScorer
from rag_compress.scorers.classifier import ClassifierScorer
from rag_compress.scorers.ensemble import EnsembleScorer
from rag_compress.scorers.lexical import LexicalScorer

__all__ = ["BiEncoderScorer", "CascadeScorer", "ClassifierScorer", "EnsembleScorer", "LexicalScorer"]
