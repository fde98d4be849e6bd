"""Soft tokens: the projector that makes them, and the LLM that reads them."""
