"""Reads what a job has written: its tally, its results, and whether all of it is as it was left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rag_compress.batch.folder import JobFolder
from rag_compress.batch.outputs import is_as_left
from rag_compress.batch.tally import Tally
from rag_compress.errors import JobError
from rag_compress.stores import decode_part, open_store
from rag_compress.stores.protocol import Columns, FileStore, Row, WriteMode, parse_note


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
    """Yields the rows that have a result, with `id` and `value`, in the order of the store, or of its parts.

    Args:
        folder: Of the job.
        source: The store, where its address in the job is not enough: with a password, or after it has moved.

    Raises:
        JobError: There is no job, or a part cannot be read or is not as it was written.
    """
    settings = job_of(folder)
    for row in _rows(folder, settings, source):
        if row.value is not None:
            yield row


def check_job(folder: JobFolder, source: str | None = None) -> Iterator[str]:
    """Yields what is wrong with a job's output; nothing if all is well.

    Parts are missing, altered or unfinished; rows have neither result nor error, or another result than was written;
    their number is not what was counted.
    """
    settings = job_of(folder)
    finished = folder.finished()
    yield from unfinished(folder)
    records = {record["part"]: record for record in folder.records()}
    for number in range(max((each["parts"] for each in finished), default=len(records))):
        if number not in records:
            yield f"part {number}: has no record"
        elif records[number]["file"]:
            yield from _altered(folder, records[number])
    counted = sum(record["tally"]["rows"] for record in records.values())
    in_table = not any(record["file"] for record in records.values())  # a file is sealed as a whole
    columns, mode = Columns(**settings["columns"]), WriteMode(settings["mode"])
    rows = _rows(folder, settings, source)
    yield from _check_rows(rows, counted, lambda row: not in_table or is_as_left(row, columns, mode))


def unfinished(folder: JobFolder) -> Iterator[str]:
    """Yields what of a job is not finished: nothing once one run, or all shards of it, have come to the same end."""
    finished = folder.finished()
    if not finished:
        yield "the job is not finished"
        return
    parts = {each["shard"][0]: each["parts"] for each in finished}
    of = finished[0]["shard"][1]  # a run removes the marks of any other number of shards
    if missing := [str(i) for i in range(of) if i not in parts]:
        yield f"the shards {', '.join(missing)} of {of} are not finished"
    elif behind := [str(i) for i, count in sorted(parts.items()) if count != max(parts.values())]:
        yield f"the store has changed since the shards {', '.join(behind)} of {of} were finished: run all shards again"


def _altered(folder: JobFolder, record: dict[str, Any]) -> Iterator[str]:
    try:
        folder.content(record)
    except JobError as error:
        yield str(error)


def _check_rows(rows: Iterator[Row], counted: int, as_left: Callable[[Row], bool]) -> Iterator[str]:
    number = 0
    try:
        for row in rows:
            number += 1
            if row.note is None:
                yield f"row {row.id!r:.80} has neither a result nor an error"
            elif not as_left(row):
                yield f"row {row.id!r:.80}: its result is not as it was written: run the job again"
    except (JobError, ValueError) as error:
        yield f"the rows cannot be read: {error}"
        return
    if number != counted:
        yield f"there are {number} rows, but {counted} were counted"


def _rows(folder: JobFolder, settings: dict[str, Any], source: str | None) -> Iterator[Row]:
    columns = Columns(**settings["columns"])
    records = [record for record in folder.records() if record["file"]]
    if not records and settings["mode"] != WriteMode.sidecar.value:
        store = open_store(source or settings["source"], settings["table"], columns)
        for part in [] if isinstance(store, FileStore) else store.parts(settings["rows"]):
            yield from part.rows
        return
    for record in records:
        name = record["file"]
        for number, row in enumerate(decode_part(name, folder.content(record), columns), start=1):
            place = parse_note(row.note).get("row", f"{name}:{number}")  # of a row that failed, no note says it
            yield row if row.id is not None else row._replace(id=place)
