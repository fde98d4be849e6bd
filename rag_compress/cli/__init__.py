"""The command line: data on stdout, everything else on stderr.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some documents could not be read (`--skip-errors`) or some rows
of a store failed; 4 refused, because a job folder belongs to a job with other settings; 5 stopped, because more rows
failed than were allowed; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from rag_compress.errors import ChangedJob, InvalidInput, RagCompressError, TooManyErrors

FAILED, USAGE, SKIPPED, CHANGED, TOO_MANY, INTERRUPTED = 1, 2, 3, 4, 5, 130
_CODES = ((InvalidInput, USAGE), (ChangedJob, CHANGED), (TooManyErrors, TOO_MANY))


def main() -> None:
    """Runs the command line; errors of this library become one line on stderr and an exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller has closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - it stays open to the end
        getattr(sys, name).reconfigure(encoding="utf-8", errors="replace")
    try:
        try:
            from rag_compress.cli.app import app  # here, where Ctrl-C is waited for: it takes a while

            app(standalone_mode=True)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        with suppress(OSError):  # what is still unwritten would fail again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # its reader has gone, as with `| head`
            _show(error)
        sys.exit(FAILED)
    except RagCompressError as error:
        _show(error)
        sys.exit(next((code for kind, code in _CODES if isinstance(error, kind)), FAILED))


def _show(error: Exception) -> None:
    from rag_compress.cli.view import stderr

    stderr.print("[bold red]error:[/]", end=" ")
    stderr.print(str(error), markup=False, highlight=False, soft_wrap=True)
