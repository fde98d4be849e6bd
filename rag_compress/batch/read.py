"""Reads what a job has written: its tally, its results, and whether all of it is as it was left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from rag_compress.batch.folder import JobFolder
from rag_compress.batch.tally import Tally
from rag_compress.errors import JobError
from rag_compress.stores import decode_part, open_store
from rag_compress.stores.protocol import Columns, FileStore, Row, WriteMode


def job_of(folder: JobFolder) -> dict[str, Any]:
    """Returns the settings of a folder's job.

    Raises:
        JobError: There is none.
    """
    settings = folder.settings()
    if settings is None:
        raise JobError(f"There is no job in {folder.address}: start one with `rag-compress run`")
    return settings


def whole_tally(folder: JobFolder) -> Tally:
    """Returns the tally of all finished parts, whichever run and shard finished them."""
    tally = Tally()
    for record in folder.records():
        tally.merge(Tally.from_json(record["tally"]))
    tally.fresh = 0  # the last run may have left a part alone
    return tally


def results(folder: JobFolder, source: str | None = None) -> Iterator[Row]:
    """Yields the rows that have a result, with `id` and `value`, in the order of the store.

    Args:
        folder: Of the job.
        source: The store, where its address in the job is not enough: with a password, or after it has moved.

    Raises:
        JobError: There is no job, or a part cannot be read.
    """
    settings = job_of(folder)
    for row in _rows(folder, settings, source):
        if row.value is not None:
            yield row


def check_job(folder: JobFolder, source: str | None = None) -> Iterator[str]:
    """Yields what is wrong with a job's output; nothing if all is well.

    Parts are missing, altered or unfinished; rows have neither result nor error; their number is not what was counted.
    """
    settings = job_of(folder)
    finished = folder.finished()
    yield from _unfinished(finished)
    records = {record["part"]: record for record in folder.records()}
    for number in range(max((each["parts"] for each in finished), default=len(records))):
        if number not in records:
            yield f"part {number}: has no record"
        elif records[number]["file"]:
            yield from _altered(folder, records[number])
    counted = sum(record["tally"]["rows"] for record in records.values())
    yield from _check_rows(_rows(folder, settings, source), counted)


def _unfinished(finished: list[dict[str, Any]]) -> Iterator[str]:
    if not finished:
        yield "the job is not finished"
        return
    shards = {tuple(each["shard"]) for each in finished}
    of = next(iter(shards))[1]
    if missing := [i for i in range(of) if (i, of) not in shards]:
        yield f"the shards {', '.join(map(str, missing))} of {of} are not finished"


def _altered(folder: JobFolder, record: dict[str, Any]) -> Iterator[str]:
    try:
        content = folder.read(record["file"])
    except JobError as error:
        yield str(error)
        return
    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        yield f"{folder.address}/{record['file']} is not as it was written"


def _check_rows(rows: Iterator[Row], counted: int) -> Iterator[str]:
    number = 0
    try:
        for row in rows:
            number += 1
            if row.note is None:
                yield f"row {row.id!r} has neither a result nor an error"
    except (JobError, ValueError) as error:
        yield f"the rows cannot be read: {error}"
        return
    if number != counted:
        yield f"there are {number} rows, but {counted} were counted"


def _rows(folder: JobFolder, settings: dict[str, Any], source: str | None) -> Iterator[Row]:
    columns = Columns(**settings["columns"])
    names = [record["file"] for record in folder.records() if record["file"]]
    if not names and settings["mode"] != WriteMode.sidecar.value:
        store = open_store(source or settings["source"], settings["table"], columns)
        for part in [] if isinstance(store, FileStore) else store.parts(settings["rows"]):
            yield from part.rows
        return
    for name in names:
        for place, row in enumerate(decode_part(name, folder.read(name), columns), start=1):
            yield row if row.id is not None else row._replace(id=f"{name}:{place}")
