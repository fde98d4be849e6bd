"""What the tables of SQL have in common: statements with quoted names, pages by key, and ids that must be unique."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rag_compress.errors import InvalidInput
from rag_compress.stores.protocol import Columns, Part, Row, Value, parse_note, split

Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Statements:
    """The statements for one table.

    Attributes:
        table: Its name.
        name: The same, quoted.
        columns: What to read and to write.
        mark: What stands for a parameter, `{}` for its number.
        kind: The type of the ids, where an id has to be cast to it: a float of Python is more exact than a `real`.
    """

    table: str
    name: str
    columns: Columns
    mark: str
    kind: str | None = None

    @property
    def count(self) -> str:
        """Counts the rows."""
        return f"SELECT COUNT(*) FROM {self.name}"  # noqa: S608 - all names are quoted

    @property
    def repeated(self) -> str:
        """Selects one id that is there twice, or is null."""
        own = quoted(self.columns.id)
        groups = f"SELECT {own} FROM {self.name} GROUP BY {own}"  # noqa: S608
        return f"{groups} HAVING COUNT(*) > 1 OR {own} IS NULL LIMIT 1"

    @property
    def update(self) -> str:
        """Sets result and note by id."""
        out, note = quoted(self.columns.out), quoted(self.columns.note)
        return self._update(f"{out} = {self._mark(1)}, {note} = {self._mark(2)}")

    def replace(self, kind: str = "TEXT") -> str:
        """Sets text, which is of this type, and note by id; the text stays where the result is null."""
        text, note = quoted(self.columns.text), quoted(self.columns.note)
        return self._update(f"{text} = COALESCE(CAST({self._mark(1)} AS {kind}), {text}), {note} = {self._mark(2)}")

    def page(self, names: Sequence[str], *, first: bool) -> str:
        """Selects the next rows by id."""
        own, listed = quoted(self.columns.id), ", ".join(map(quoted, names))
        after = "" if first else f" WHERE {own} > {self._id(1)}"
        return f"SELECT {listed} FROM {self.name}{after} ORDER BY {own} LIMIT {self._mark(2 - first)}"  # noqa: S608

    def add(self, name: str) -> str:
        """Adds a column of text."""
        return f"ALTER TABLE {self.name} ADD COLUMN {quoted(name)} TEXT"

    def _update(self, values: str) -> str:
        return f"UPDATE {self.name} SET {values} WHERE {quoted(self.columns.id)} = {self._id(3)}"  # noqa: S608

    def _mark(self, number: int) -> str:
        return self.mark.format(number)

    def _id(self, number: int) -> str:
        return f"CAST({self._mark(number)} AS {self.kind})" if self.kind else self._mark(number)


def quoted(name: str) -> str:
    """Returns a name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def pages(query: Query, statements: Statements, present: Sequence[str], rows: int) -> Iterator[Part]:
    """Yields all rows by key, so that no statement stays open while they are worked on.

    Args:
        query: Runs a statement with its parameters.
        statements: Of the table.
        present: The columns that the table has.
        rows: The most in a part.

    Raises:
        InvalidInput: The table lacks a column, or an id is null or there twice.
    """
    c = statements.columns
    check_columns(statements.table, c, present)
    if found := query(statements.repeated, []):
        raise bad_id(statements.table, c, found[0][0])
    ((total,),) = query(statements.count, [])
    names = [*c.read, *(name for name in (c.out, c.note) if name in present)]
    read, last = 0, None
    while page := query(statements.page(names, first=last is None), [rows] if last is None else [last, rows]):
        last = page[-1][0]
        for found_rows, _ in split(
            ((as_row(dict(zip(names, row, strict=True)), c), None) for row in page), rows, c.text
        ):
            read += len(found_rows)
            yield Part(found_rows, None, min(read / total, 1.0) if total else 1.0)


def check_table(where: str, table: str | None, kind: str = "table") -> None:
    """Checks that a table is named, in a store that has several.

    Args:
        where: The store.
        table: The name.
        kind: What the store calls its tables.

    Raises:
        InvalidInput: It is not.
    """
    if table is None:
        raise InvalidInput(f"{where}: name the {kind} with --table")


def check_columns(table: str, columns: Columns, present: Sequence[str]) -> None:
    """Checks that a table has what is to be read.

    Raises:
        InvalidInput: It lacks a column.
    """
    if missing := [name for name in columns.read if name not in present]:
        known = ", ".join(map(repr, present)) or "none: is there such a table?"
        raise InvalidInput(f"{table} has no column {missing[0]!r:.80}; its columns are {known:.1000}")


def bad_id(table: str, columns: Columns, own: Any) -> InvalidInput:
    """Returns the error of a table whose ids do not tell its rows apart."""
    return InvalidInput(f"{table}: the id {own!r:.80} in {columns.id!r} is null or there twice")


def as_row(fields: dict[str, Any], columns: Columns) -> Row:
    """Returns the row of a table's fields."""
    note, value = fields.pop(columns.note, None), fields.pop(columns.out, None)
    return Row(fields[columns.id], fields, None, note, _parsed(value, fields, note, columns))


def as_text(value: Value) -> str | None:
    """Returns a result for a column of text: a list as JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _parsed(value: Any, fields: dict[str, Any], note: str | None, columns: Columns) -> Any:
    """Returns the result that stands in a row: a list of texts where the row has a list of documents."""
    if parse_note(note).get("replaced"):
        return fields.get(columns.text)
    if not (isinstance(fields.get(columns.text), list) and isinstance(value, str)):
        return value
    try:
        return json.loads(value)
    except ValueError:  # not what was written
        return value
