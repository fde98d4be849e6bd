"""`python -m rag_compress`."""

from rag_compress.cli import main

main()
