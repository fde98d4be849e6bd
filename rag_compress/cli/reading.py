"""Reads the documents that a command names, with a progress bar, and says what was left out."""

from __future__ import annotations

import sys

from rag_compress.checks import is_folder
from rag_compress.cli import SKIPPED
from rag_compress.cli.options import Sources
from rag_compress.cli.view import progress, stderr
from rag_compress.documents import TEXT_SUFFIXES, raise_error, read_documents
from rag_compress.errors import DocumentError, InvalidInput
from rag_compress.types import Document

_SHOWN = 10


class Skipped(list[DocumentError]):
    """The documents that were left out; `exit` ends the command with the right code."""

    def exit(self) -> None:
        """Ends with exit code 3 if anything was left out."""
        if self:
            sys.exit(SKIPPED)


def read(sources: Sources) -> tuple[list[Document], Skipped]:
    """Returns the documents, and those that were left out.

    Raises:
        DocumentError: One cannot be read and `skip_errors` is off.
        InvalidInput: There is none.
    """
    skipped = Skipped()
    on_error = skipped.append if sources.skip_errors else raise_error
    documents = list(progress(read_documents(sources.names, sources.encoding, on_error), "reading"))
    for error in skipped[:_SHOWN]:
        stderr.print(f"skipped {error}", style="yellow", markup=False, soft_wrap=True)
    if len(skipped) > _SHOWN:
        stderr.print(f"skipped {len(skipped) - _SHOWN} more", style="yellow")
    if not documents:
        of_folders = f"; of folders, {' '.join(sorted(TEXT_SUFFIXES))} are read"
        shown = of_folders if any(map(is_folder, sources.names)) else ""
        raise InvalidInput(f"No documents found in {', '.join(sources.names)}{shown}")
    return documents, skipped
