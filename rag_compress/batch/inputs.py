"""Makes of a store's row what a method reads: a question and documents; or says why it cannot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from rag_compress.documents import TEXT_FIELDS
from rag_compress.errors import InvalidInput, shown
from rag_compress.stores.protocol import Columns, Row, Value
from rag_compress.types import Context, Document


class Input(NamedTuple):
    """What a method reads of one row.

    Attributes:
        query: The question; empty for a method that needs none.
        documents: The title and text of each.
        listed: Whether the row holds a list of documents, not one.
    """

    query: str
    documents: tuple[tuple[str, str], ...]
    listed: bool

    def context(self) -> Context:
        """Returns the context that keeps all documents whole; an id is a document's place."""
        documents = (Document(str(i), text, title) for i, (title, text) in enumerate(self.documents))
        return Context.whole(self.query, documents)

    def content_hash(self) -> str:
        """Returns what changes whenever the question, a title or a text does."""
        return hash_of([self.query, self.documents])


def hash_of(value: Any) -> str:
    """Returns the hash of a value as JSON; of what JSON does not hold, as Python shows it."""
    content = json.dumps(value, ensure_ascii=True, default=repr)
    return hashlib.blake2b(content.encode("ascii"), digest_size=12).hexdigest()


def read_input(row: Row, columns: Columns, query: str | None) -> Input:
    """Returns what a method reads of a row.

    Args:
        row: As the store gave it.
        columns: Where text, title and question stand.
        query: One question for all rows; `None`: that of the row's own column, or none.

    Raises:
        InvalidInput: The row cannot be read, or a field is missing or of the wrong type.
    """
    if row.error is not None:
        raise InvalidInput(row.error)
    asked = query or ""
    if columns.query is not None and not (asked := _string(row.fields, columns.query)).strip():
        raise InvalidInput(f"the question in the field {columns.query!r} is blank")
    value = _field(row.fields, columns.text)
    if isinstance(value, list | tuple):
        return Input(asked, tuple(_listed(item, columns.text, i) for i, item in enumerate(value)), listed=True)
    return Input(asked, ((_title(row.fields, columns.title), _text(value, columns.text)),), listed=False)


def in_place(field: Any, value: Value) -> Value:
    """Returns a result as it takes the place of a row's text: of a list of objects all but the texts stays."""
    if not isinstance(field, list | tuple):
        return value
    pairs = zip(field, value, strict=True)
    return [{**item, _text_field(item): text} if isinstance(item, dict) else text for item, text in pairs]


def texts_in(value: Value) -> Value:
    """Returns the texts of what `in_place` made."""
    if not isinstance(value, list | tuple):
        return value
    return [item.get(_text_field(item)) if isinstance(item, dict) else item for item in value]


def _field(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise InvalidInput(f"has no field {name!r}, only {shown(fields)}")
    return fields[name]


def _string(fields: Mapping[str, Any], name: str) -> str:
    return _text(_field(fields, name), name)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        raise InvalidInput(f"the field {name!r} must be a string, not {kind}: {value!r:.80}")
    return value


def _title(fields: Mapping[str, Any], name: str | None) -> str:
    return "" if name is None or fields.get(name) is None else _string(fields, name)


def _listed(item: Any, name: str, place: int) -> tuple[str, str]:
    """Returns title and text of one of a list of documents: strings, or objects as `rag_compress.documents` reads."""
    name = f"{name}[{place}]"
    if not isinstance(item, dict):
        return "", _text(item, name)
    try:
        return _title(item, "title"), _string(item, _text_field(item))
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from error


def _text_field(item: Mapping[str, Any]) -> str:
    return next((field for field in TEXT_FIELDS if field in item), "text")
