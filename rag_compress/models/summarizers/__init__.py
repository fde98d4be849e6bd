"""Summarizers: local ones, and any chat model of LangChain; by name in `named.py`."""
