"""What a job is: everything that decides its result, as a record that a later run is held against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import rag_compress
from rag_compress.batch.methods import find_method, hash_of_files
from rag_compress.batch.worker import Worker
from rag_compress.checks import check_count
from rag_compress.errors import ChangedJob, InvalidInput, without_password
from rag_compress.stores.protocol import Columns, WriteMode
from rag_compress.tokens import tokenizer_file

_FORMAT = 1


@dataclass(frozen=True)
class Job:
    """A method over a store.

    Attributes:
        source: The address of the store.
        worker: The method with its options.
        columns: What is read and written.
        query: One question for all rows, or `None`.
        table: The table or collection of the store.
        mode: Where results go.
        rows: How many rows make a part; `None`: as many as suit the method.
    """

    source: str
    worker: Worker
    columns: Columns = field(default_factory=Columns)
    query: str | None = None
    table: str | None = None
    mode: WriteMode = WriteMode.column
    rows: int | None = None

    def __post_init__(self) -> None:
        if self.rows is not None:
            check_count("rows", self.rows, least=1)
        if self.query is not None and not self.query.strip():
            raise InvalidInput("The question for all rows must not be blank")
        asked = (self.query is not None) + (self.columns.query is not None)
        if asked == 2:
            raise InvalidInput("Give one question for all rows or the column that holds each row's, not both")
        if find_method(self.worker.method).needs_query != bool(asked):
            needs = "needs a question: give --query or --query-col" if not asked else "takes no question"
            raise InvalidInput(f"The method {self.worker.method!r} {needs}")

    @property
    def part_rows(self) -> int:
        """How many rows make a part."""
        return self.rows or find_method(self.worker.method).rows

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the result, as JSON holds it; no password."""
        return {
            "format": _FORMAT,
            "version": rag_compress.__version__,
            "source": without_password(self.source),
            "table": self.table,
            "columns": asdict(self.columns),
            "query": self.query,
            "method": self.worker.method,
            "options": json.loads(json.dumps(dict(self.worker.options), default=str)),
            "tokenizer": self.worker.tokenizer,
            **self._vocabulary,
            "weights": find_method(self.worker.method).fingerprint(self.worker.options),
            "mode": self.mode.value,
            "rows": self.part_rows,
        }

    @property
    def _vocabulary(self) -> dict[str, str | None]:
        """What a tokenizer's file holds, if it is one: it may be changed in place."""
        file = tokenizer_file(self.worker.tokenizer) if self.worker.tokenizer else None
        return {"vocabulary": hash_of_files([file])} if file else {}

    @cached_property
    def config_hash(self) -> str:
        """What changes whenever the same row could get another result."""
        names = {"version", "method", "options", "tokenizer", "vocabulary", "weights"}
        kept = {k: v for k, v in self.settings.items() if k in names}
        return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode("ascii"), digest_size=8).hexdigest()


def check_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: str) -> None:
    """Checks that a folder's job is the one that is wanted.

    Raises:
        ChangedJob: It is not; the message lists what changed.
    """
    before, after = _flat(found), _flat(wanted)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if names:
        changes = "; ".join(f"{name}: {before.get(name)!r:.200} -> {after.get(name)!r:.200}" for name in names)
        raise ChangedJob(
            f"{folder} belongs to another job ({changes}): choose another folder, or start anew with --restart"
        )


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
