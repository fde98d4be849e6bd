"""Where a job's results go, and what an earlier run left there: files of the job's folder, or the store itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from rag_compress.batch.folder import JobFolder
from rag_compress.batch.inputs import Input, hash_of, in_place, texts_in
from rag_compress.batch.tally import Tally
from rag_compress.errors import InvalidInput
from rag_compress.stores import decode_part
from rag_compress.stores.jsonl import encode_lines
from rag_compress.stores.protocol import (
    Columns,
    Derived,
    FileStore,
    Part,
    Row,
    Store,
    TableStore,
    Value,
    WriteMode,
    parse_note,
)

Record = Mapping[str, Any]
"""What the folder keeps of a part that was finished."""


class Done(NamedTuple):
    """A row that is finished.

    Attributes:
        derived: What is stored.
        tokens: Before and after.
        error: Why there is no result.
        seconds: What computing took.
        fresh: Whether this run computed it; otherwise an earlier result stands.
        pieces: Its pieces, if it is an example.
    """

    derived: Derived
    tokens: tuple[int, int] = (0, 0)
    error: str | None = None
    seconds: float = 0.0
    fresh: bool = True
    pieces: tuple[tuple[bool, str], ...] = ()


class Output(Protocol):
    """A place for results."""

    def finished(self, record: Record | None, part: Part) -> Tally | None:
        """Returns the tally of a part that is finished and still as it was, otherwise `None`."""
        ...

    def earlier(self, record: Record | None, part: Part) -> Earlier:
        """Returns what an earlier run, which left this record, made of the rows of a part."""
        ...

    def derive(self, row: Row, content: Input, value: Value, tokens: tuple[int, int]) -> Derived:
        """Returns what is stored for a result."""
        ...

    def write(self, number: int, part: Part, done: Sequence[Done], tally: Tally) -> None:
        """Writes the rows of a part, and then that it is finished."""
        ...


class Earlier(Protocol):
    """What an earlier run made of a part's rows."""

    def __call__(self, row: Row, content: Input, /) -> Done | None:
        """Returns the result of a row that has not changed, or why it can have none any more; otherwise `None`."""
        ...


@dataclass(frozen=True)
class Notes:
    """Writes and reads the notes that stand beside results."""

    config: str

    def of(self, content: str, tokens: tuple[int, int], **more: Any) -> str:
        """Returns the note of a result."""
        return json.dumps({"content": content, "config": self.config, "tokens": list(tokens), **more})

    def of_error(self, error: str) -> str:
        """Returns the note of a row without a result."""
        return json.dumps({"error": error, "config": self.config})


def read_note(note: str | None) -> Mapping[str, Any]:
    """Returns what a note says; nothing if there is none, if it is not ours, or if it tells of an error."""
    found = parse_note(note)
    return found if {"content", "config", "tokens"} <= found.keys() else {}


@dataclass(frozen=True)
class FileOutput:
    """A file of the job's folder for each part.

    A result is found again by its content within the part of the same number, so that a row that was added or removed
    makes one row of each later part be computed again, not all.
    """

    store: FileStore
    folder: JobFolder
    mode: WriteMode
    notes: Notes
    columns: Columns

    def finished(self, record: Record | None, part: Part) -> Tally | None:
        """Returns the tally of a part without errors whose rows have not changed."""
        if record is None or record["digest"] != self.store.digest(part) or record["tally"]["errors"]:
            return None
        content = self.folder.content_as_left(record)
        if content is None or self._is_misplaced(record, content, part):
            return None
        return Tally.from_json(record["tally"])

    def earlier(self, record: Record | None, part: Part) -> Earlier:
        """Returns what the part's file holds, by content.

        Raises:
            InvalidInput: Where results are to go stands something that no job has left there.
        """
        c = self.columns
        if self.mode is WriteMode.column:
            _check_free((row.id, row.fields.get(c.out), row.fields.get(c.note)) for row in part.rows)
        content = self.folder.content_as_left(record) if record else None
        rows = decode_part(record["file"], content, c) if record and content is not None else iter(())
        known = {note["content"]: (row, note) for row in rows if (note := read_note(row.note))}

        def find(row: Row, content: Input) -> Done | None:
            if not known:  # the first run needs no hash
                return None
            kept, note = known.get(content.content_hash(), (None, {}))
            if kept is None or note["config"] != self.notes.config or isinstance(kept.value, list) != content.listed:
                return None
            if note.get("replaced"):  # only the texts are those of an earlier run, all else is the row's own
                kept = kept._replace(value=in_place(row.fields[self.columns.text], texts_in(kept.value)))
            said = {name: value for name, value in note.items() if name != "row"}
            return _kept(kept._replace(note=json.dumps(said | self._place(row))), note)

        return find

    def derive(self, row: Row, content: Input, value: Value, tokens: tuple[int, int]) -> Derived:
        """Returns what is stored for a result."""
        if self.mode is WriteMode.replace:
            note = self.notes.of(content.content_hash(), tokens, replaced=True, **self._place(row))
            return Derived(in_place(row.fields[self.columns.text], value), note)
        return Derived(value, self.notes.of(content.content_hash(), tokens, **self._place(row)))

    def _is_misplaced(self, record: Record, content: bytes, part: Part) -> bool:
        """Returns whether rows without an id are noted under other places than they have now."""
        places = [self._place(row) for row in part.rows]
        if not any(places):
            return False
        left = (parse_note(row.note) for row in decode_part(record["file"], content, self.columns))
        return any(note.get("row") != place.get("row") for note, place in zip(left, places, strict=True))

    def _place(self, row: Row) -> dict[str, str]:
        """Returns what a note says of a row without an id: its place in the store, which the file does not know."""
        if row.fields.get(self.columns.id) is not None:
            return {}
        return {"row": str(row.id)}

    def write(self, number: int, part: Part, done: Sequence[Done], tally: Tally) -> None:
        """Writes the part's file, then its record."""
        content = self.store.encode(part, [each.derived for each in done], self.mode)
        record = {"digest": self.store.digest(part), "tally": tally.to_json()}
        self.folder.commit(number, record, self.store.suffix, content)


@dataclass(frozen=True)
class TableOutput:
    """The store itself: rows know what was made of them, so that the records of parts only count.

    The note holds a hash of the result, too, so that what is altered later is noticed, and a text that was replaced is
    not compressed again, whatever the question. `anew` computes other results again that an earlier run left.
    """

    store: TableStore
    folder: JobFolder
    mode: WriteMode
    notes: Notes
    columns: Columns
    anew: bool = False

    def finished(self, record: Record | None, part: Part) -> Tally | None:  # noqa: ARG002 - the rows have to be looked at
        """Returns `None`: rows may have been changed or restored by others."""
        return None

    def earlier(self, record: Record | None, part: Part) -> Earlier:
        """Returns what stands beside each row.

        Raises:
            InvalidInput: Where results are to go stands something that no job has left there.
        """
        if record is None:
            self._check_part(part)
        return partial(self._find, anew=self.anew and record is None)  # with a record, it was done since the restart

    def check_free(self, rows: int) -> None:
        """Reads the whole table, by so many rows, before anything is written; raises as `earlier`."""
        for part in self.store.parts(rows):
            self._check_part(part)

    def derive(self, row: Row, content: Input, value: Value, tokens: tuple[int, int]) -> Derived:
        """Returns what is stored for a result."""
        if self.mode is WriteMode.replace:
            left = _with(content, value).content_hash()
            note = self.notes.of(left, tokens, replaced=True, result=hash_of(_listed(value)))
            return Derived(in_place(row.fields[self.columns.text], value), note)
        return Derived(value, self.notes.of(content.content_hash(), tokens, result=hash_of(value)))

    def write(self, number: int, part: Part, done: Sequence[Done], tally: Tally) -> None:
        """Writes the rows that are new to the store, then the part's record."""
        pairs = zip(part.rows, done, strict=True)
        changed = [(row, each.derived) for row, each in pairs if _changes(row, each.derived)]
        if changed:
            self.store.update(changed, replace=self.mode is WriteMode.replace)
        self.folder.commit(number, {"digest": None, "tally": tally.to_json()})

    def _check_part(self, part: Part) -> None:
        """Raises as `earlier`; a note that no job wrote is the user's own, too, and stands nowhere else."""
        for row in part.rows:
            is_ours = "config" in parse_note(row.note)
            has_result = row.value is not None and self.mode is not WriteMode.replace
            _check_free([(row.id, row.value if has_result else row.note or None, row.note if is_ours else None)])

    def _find(self, row: Row, content: Input, *, anew: bool) -> Done | None:
        note = read_note(row.note)
        if not note:
            return None
        replaces, same = self.mode is WriteMode.replace, note["config"] == self.notes.config
        same = same and note["content"] == content.content_hash()
        if not note.get("replaced"):
            stands = same and not replaces and not anew and note.get("result") == hash_of(row.value)
            return _kept(row, note) if stands else None
        if "result" in note and note["result"] != hash_of([text for _, text in content.documents]):
            return None  # it has a new text
        if replaces and same:
            return _kept(row, note)
        gone = "its text was replaced under other settings or for another question, and the original is gone"
        return Done(Derived(None, row.note or ""), error=gone, fresh=False)  # what stands there stays


@dataclass(frozen=True)
class Sidecar:
    """Makes a `FileStore` of a table whose results go to files of their own, as JSON lines."""

    store: TableStore
    columns: Columns
    suffix: str = ".jsonl"

    def parts(self, rows: int) -> Any:
        """Yields the table's parts."""
        return self.store.parts(rows)

    def digest(self, part: Part) -> str:
        """Returns the hash of what is read of the rows."""
        content = repr([(row.id, sorted(row.fields.items(), key=repr)) for row in part.rows])
        return hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=16).hexdigest()

    def encode(self, part: Part, derived: Sequence[Derived], mode: WriteMode) -> bytes:  # noqa: ARG002 - there is one
        """Returns a line with id, result and note for each row."""
        return encode_lines(part.rows, derived, self.columns)


def make_output(
    store: Store, folder: JobFolder, mode: WriteMode, config: str, columns: Columns, *, anew: bool = False
) -> Output:
    """Returns where the results of a job go; `anew`: nothing that an earlier run left counts.

    Raises:
        InvalidInput: The store can be read only.
    """
    notes = Notes(config)
    if isinstance(store, FileStore):
        return FileOutput(store, folder, mode, notes, columns)
    if not isinstance(store, TableStore):
        raise InvalidInput(f"{store!r:.80} is neither a FileStore nor a TableStore")
    if mode is WriteMode.sidecar:
        return FileOutput(Sidecar(store, columns), folder, mode, notes, columns)
    return TableOutput(store, folder, mode, notes, columns, anew)


def is_as_left(row: Row, columns: Columns, mode: WriteMode) -> bool:
    """Returns whether a table's row holds the result that its note tells of."""
    if "error" in parse_note(row.note):
        return row.value is None or mode is WriteMode.replace
    note = read_note(row.note)
    value = _listed(texts_in(row.fields.get(columns.text))) if note.get("replaced") else row.value
    return bool(note.get("result") == hash_of(value))


def _changes(row: Row, derived: Derived) -> bool:
    """Returns whether a row is to be written; no error may take the place of a note that says "replaced"."""
    if derived.value is None and read_note(row.note).get("replaced"):
        return False
    return derived != (row.value, row.note)


def _listed(value: Value) -> Value:
    return value if isinstance(value, list) else [value]


def _check_free(rows: Iterable[tuple[Any, Value, Any]]) -> None:
    """Checks, by id, value and note, that where results are to go stands nothing, or what a job has left there."""
    for own, value, note in rows:
        if value is not None and note is None:
            raise InvalidInput(
                f"Row {own!r:.80} has {value!r:.80} where the result would go: choose another name with --out-col"
            )


def _kept(row: Row, note: Mapping[str, Any]) -> Done:
    before, after = note["tokens"]
    return Done(Derived(row.value, row.note or ""), (before, after), fresh=False)


def _with(row: Input, value: Value) -> Input:
    """Returns what would be read of a row whose text is its result."""
    pairs = zip(row.documents, _listed(value), strict=True)
    return row._replace(documents=tuple((title, text) for (title, _), text in pairs))
