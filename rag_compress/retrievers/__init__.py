"""Retrievers: stages that fill in the documents of a context."""
