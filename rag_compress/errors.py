"""Every error that this library raises on purpose.

RagCompressError
├── InvalidInput        a value from the caller (also a ValueError)
│   └── BudgetTooSmall  a prompt that cannot fit even without any context
├── DocumentError       a document that cannot be read; names its file and line
├── MissingExtra        an optional dependency that is not installed (also an ImportError)
├── ModelError          a model that returned something else than its protocol promises
├── IndexFolderError    an index folder that cannot be used
│   ├── DamagedIndex        files are missing, half-written or altered
│   └── IncompatibleIndex   written by a newer version, of another kind, or with another encoder
├── StoreError          a document store that cannot be read or written
└── JobError            a batch job that cannot go on; what it had finished stands
    ├── ChangedJob          its folder belongs to a job with other settings
    └── TooManyErrors       more rows failed than were allowed
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/\s]*(?=@)|(?<=[?&]password=)[^&\s]*|(?<=[?&]sslpassword=)[^&\s]*")
_SHOWN = 10


def without_password(text: str) -> str:
    """Returns an address, or a message that holds addresses, without their passwords."""
    return _PASSWORD.sub(lambda match: match[1] or "", text)


def shown(names: Iterable[object]) -> str:
    """Returns the first of many names for an error; `none` where there are none."""
    return f"{', '.join(map(repr, islice(names, _SHOWN))) or 'none':.300}"


def counted(number: int, noun: str) -> str:
    """Returns a number of things in words: `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class RagCompressError(Exception):
    """Base of all errors of this library; a message shows no password of an address."""

    def __init__(self, message: object = "") -> None:
        super().__init__(without_password(str(message)))


class InvalidInput(RagCompressError, ValueError):
    """A value from the caller is not usable; the message says which, and what would be."""


class BudgetTooSmall(InvalidInput):
    """The prompt is longer than `max_tokens` even without any context."""


class DocumentError(RagCompressError):
    """A document cannot be read; `str(error)` starts with its file and line."""


class MissingExtra(RagCompressError, ImportError):
    """An optional dependency is not installed, or is broken (`reason`); the message holds the pip line."""

    def __init__(self, package: str, extra: str, purpose: str, reason: str = "") -> None:
        why = f" ({reason:.300})" if reason else ""
        super().__init__(f'{purpose} needs the package {package!r}{why}: pip install "rag-compress[{extra}]"')
        self.package, self.extra, self.purpose, self.reason = package, extra, purpose, reason

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str, str]]:
        """Pickles the error: it may come from another process."""
        return type(self), (self.package, self.extra, self.purpose, self.reason)


@contextmanager
def importing(package: str, extra: str, purpose: str) -> Iterator[None]:
    """Makes an `ImportError` into the `MissingExtra` that says what is to be installed."""
    try:
        yield
    except MissingExtra:
        raise
    except ImportError as error:
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == package.replace("-", "_")
        raise MissingExtra(package, extra, purpose, "" if is_absent else str(error) or type(error).__name__) from error


class ModelError(RagCompressError):
    """A model returned something else than its protocol promises."""


class IndexFolderError(RagCompressError):
    """An index folder cannot be used."""


class DamagedIndex(IndexFolderError):
    """Files of an index folder are missing, half-written or altered; build the index again."""


class IncompatibleIndex(IndexFolderError):
    """An index folder was written by a newer version, holds another kind of index, or used another encoder."""


class StoreError(RagCompressError):
    """A document store cannot be read or written; the message says which, and why."""


class JobError(RagCompressError):
    """A batch job cannot go on; the parts that it had finished stand, and running it again resumes it."""


class ChangedJob(JobError):
    """A job folder belongs to a job with other settings; the message lists what changed."""


class TooManyErrors(JobError):
    """More rows failed than the caller allowed."""
