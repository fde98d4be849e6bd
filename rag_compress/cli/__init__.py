"""The command line: data on stdout, everything else on stderr.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some documents could not be read (`--skip-errors`) or some rows
of a store failed; 4 refused, because a job folder belongs to a job with other settings; 5 stopped, because more rows
failed than were allowed; 130 interrupted.
"""

from __future__ import annotations

import os
import sys

from rag_compress.errors import ChangedJob, InvalidInput, RagCompressError, TooManyErrors

FAILED, USAGE, SKIPPED, CHANGED, TOO_MANY, INTERRUPTED = 1, 2, 3, 4, 5, 130
_CODES = ((InvalidInput, USAGE), (ChangedJob, CHANGED), (TooManyErrors, TOO_MANY))


def main() -> None:
    """Runs the command line; errors of this library become one line on stderr and an exit code."""
    from rag_compress.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it is None when the caller closed it
            stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        app(standalone_mode=True)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except RagCompressError as error:
        from rag_compress.cli.view import stderr

        stderr.print("[bold red]error:[/]", end=" ")
        stderr.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(next((code for kind, code in _CODES if isinstance(error, kind)), FAILED))
