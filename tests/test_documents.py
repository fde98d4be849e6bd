"""Reading documents: what is read, and how what cannot be read is named."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
from pathlib import Path

import pytest

from rag_compress import BM25Retriever, Document
from rag_compress.documents import read_documents
from rag_compress.errors import DocumentError, InvalidInput


def read(*sources: object, **options: object) -> list[Document]:
    """Returns the documents of some sources."""
    return list(read_documents([str(s) for s in sources], **options))  # type: ignore[arg-type]


def failures(*sources: object) -> list[str]:
    """Returns the messages of what could not be read."""
    errors: list[DocumentError] = []
    list(read_documents([str(s) for s in sources], on_error=errors.append))
    return [str(error) for error in errors]


def test_a_folder(tmp_path: Path) -> None:
    """All text files and JSON lines of a folder are read in order of name; other and hidden files are not."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.md").write_text("b")
    (tmp_path / "sub" / "a.txt").write_text("é", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "one"}\n\n{"text": "two"}\n')
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0")
    (tmp_path / ".hidden.txt").write_text("hidden")
    assert [(d.title, d.text) for d in read(tmp_path)] == [("", "one"), ("", "two"), ("b.md", "b"), ("a.txt", "é")]
    assert [d.id for d in read(tmp_path)][:2] == ["1", f"{tmp_path / 'a.jsonl'}:3"]


def test_fields_of_a_record(tmp_path: Path) -> None:
    """The usual names of fields are known; all others become metadata."""
    record = {"_id": "x", "page_content": "t", "title": "T", "metadata": {"a": 1}, "year": 1999}
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    assert read(tmp_path / "a.jsonl") == [Document("x", "t", "T", metadata={"a": 1, "year": 1999})]


@pytest.mark.parametrize("number", [7, 7.0, 2.5])
def test_an_id_that_is_a_number(number: float, tmp_path: Path) -> None:
    """A number is an id, whole or not: a table with gaps in its column of ids makes 7.0 of 7."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": number, "text": "t"}))
    assert [document.id for document in read(tmp_path)] == [str(number)]


def test_packed_lines_and_byte_order_marks(tmp_path: Path) -> None:
    """Gzipped JSON lines are unpacked, and a byte order mark is no part of the text."""
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'\xef\xbb\xbf{"text": "one"}'))
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbftwo")
    assert [d.text for d in read(tmp_path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "texts"),
    [(b'\xef\xbb\xbf {"text": "a"}\n{"text": "b"}', ["a", "b"]), (b"plain\ntext", ["plain\ntext"])],
)
def test_standard_input(content: bytes, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is JSON lines if it starts with a brace, otherwise one text."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert [d.text for d in read("-")] == texts


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "must hold an object, not [1]"),
        (b"null", "must hold an object, not None"),
        (b'"text"', "must hold an object, not 'text'"),
        (b'{"body_text": "a"}', "has no field 'text', only 'body_text'"),
        (b"{}", "only none"),
        (b'{"%s": 1}' % (b"a" * 10_000), "has no field 'text', only 'aaa"),
        (b'{"text": null}', "the field 'text' must be a string, not NoneType"),
        (b'{"text": 3}', "must be a string, not int"),
        (b'{"text": "a", "id": [1]}', "the id must be a string or a number"),
        (b'{"text": "a", "title": 3}', "the title a string"),
        (b'{"text": "\xff"}', "is not utf-8 text"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"text": "first", "id": "first"}', "the id 'first' came before, at"),
    ],
)
def test_a_bad_line(line: bytes, reason: str, tmp_path: Path) -> None:
    """A line that is no document is named by file and line; the others are read."""
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "first", "id": "first"}\n' + line + b'\n{"text": "last"}\n')
    (failure,) = failures(file)
    assert failure.startswith(f"{file}:2: ")
    assert reason in failure
    assert len(failure) < len(str(file)) + 500
    errors: list[DocumentError] = []
    assert [d.text for d in read_documents([file], on_error=errors.append)] == ["first", "last"]
    with pytest.raises(DocumentError, match=r"a\.jsonl:2"):
        read(file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Binary, wrongly encoded, absent and damaged files are named with the reason."""
    (tmp_path / "binary.txt").write_bytes(b"a\0b")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}' * 100)[:-9])
    (tmp_path / "fake.jsonl.gz").write_bytes(b"no gzip")
    reasons = ["binary.txt: is binary", "latin.txt: is not utf-8", "cut.jsonl.gz: cannot", "fake.jsonl.gz: cannot"]
    for reason in reasons:
        (failure,) = failures(tmp_path / reason.partition(":")[0])
        assert reason in failure
    assert "No such file" in failures(tmp_path / "absent")[0]
    assert [d.text for d in read(tmp_path / "latin.txt", encoding="latin-1")] == ["é"]


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "rot13", "undefined"])
def test_unknown_encoding(encoding: str, tmp_path: Path) -> None:
    """An encoding that is unknown, or none of text, is an error that names some that exist."""
    with pytest.raises(InvalidInput, match=f"'{encoding}': try utf-8"):
        read(tmp_path, encoding=encoding)


def test_other_encodings(tmp_path: Path) -> None:
    """JSON lines and texts are read in encodings of two bytes, too."""
    (tmp_path / "a.jsonl").write_text('{"text": "é"}\n{"text": "ü"}\n', encoding="utf-16")
    (tmp_path / "b.txt").write_text("ö", encoding="utf-16")
    assert [d.text for d in read(tmp_path, encoding="utf-16")] == ["é", "ü", "ö"]
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe{\x00\n")
    errors: list[DocumentError] = []
    list(read_documents([tmp_path / "a.jsonl"], "utf-16", errors.append))
    assert "is not" in str(errors[0])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_known_by_its_mark(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Windows calls Unicode is read beside UTF-8, from files, JSON lines and standard input."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "a.jsonl").write_bytes(f'{mark}{{"text": "é"}}\n{{"text": "ü"}}\n'.encode(encoding))
    (tmp_path / "b.txt").write_bytes(f"{mark}ö".encode(encoding))
    (tmp_path / "c.txt").write_text("ß", encoding="utf-8")
    assert [d.text for d in read(tmp_path)] == ["é", "ü", "ö", "ß"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "a.jsonl").read_bytes())))
    assert [d.text for d in read("-")] == ["é", "ü"]


def test_links(tmp_path: Path) -> None:
    """Linked folders are read, each once, and a circle of links ends."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("a")
    (tmp_path / "docs" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "circle").symlink_to(tmp_path / "docs")
    assert [d.text for d in read(tmp_path / "docs")] == ["a"]


def test_a_place_of_two_names(tmp_path: Path) -> None:
    """A folder that a link names, too, has the first of its names in order, whatever the file system lists first."""
    for number in range(20):
        (tmp_path / f"{number}-new").mkdir()
        (tmp_path / f"{number}-new" / "a.txt").write_text("a")
        (tmp_path / f"{number}-latest").symlink_to(f"{number}-new")
    assert all(Path(document.id).parent.name.endswith("latest") for document in read(tmp_path))


def test_what_is_left_out_of_a_folder_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder of reports in PDF is not passed over without a word; hidden files are."""
    for name in ("a.txt", "b.PDF", "c.pdf", "Makefile", ".hidden.pdf"):
        (tmp_path / name).write_text("a")
    assert len(read(tmp_path)) == 1
    [record] = caplog.records
    assert record.getMessage() == f"{tmp_path}: left out what is not known to be text: 2 .pdf, 1 Makefile"


def test_a_link_to_nothing(tmp_path: Path) -> None:
    """A broken link is named, as any other file that cannot be read."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").symlink_to(tmp_path / "absent")
    assert failures(tmp_path) == [f"{tmp_path / 'b.txt'}: is a link to nothing"]


def test_our_own_folders_are_no_documents(tmp_path: Path) -> None:
    """An index or a job within a folder holds the folder's texts once more; named itself, it is read."""
    (tmp_path / "a.txt").write_text("a")
    BM25Retriever.from_documents(["a"]).save(tmp_path / "index")
    (tmp_path / "job" / "_job").mkdir(parents=True)
    (tmp_path / "job" / "part-000000.jsonl").write_text('{"text": "a"}\n')
    assert [d.id for d in read(tmp_path)] == [str(tmp_path / "a.txt")]
    assert [d.text for d in read(tmp_path / "job")] == ["a"]


def test_a_named_pipe(tmp_path: Path) -> None:
    """A pipe that has a text file's name is passed over, not waited for."""
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "a.txt").write_text("a")
    assert [d.text for d in read(tmp_path)] == ["a"]


def test_an_altered_gzip_file(tmp_path: Path) -> None:
    """A gzip file with a wrong byte is named."""
    content = bytearray(gzip.compress(b'{"text": "a"}' * 50))
    content[10] ^= 0xFF
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    (failure,) = failures(tmp_path / "a.jsonl.gz")
    assert failure.startswith(f"{tmp_path / 'a.jsonl.gz'}")


def test_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty name, an empty standard input and a closed one are errors."""
    assert "not the name of a file" in failures("")[0]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert failures("-") == ["<stdin>: is empty"]
    monkeypatch.setattr(sys, "stdin", None)
    assert failures("-") == ["<stdin>: is empty"]


@pytest.mark.parametrize("one", ["wanted.md", Path("wanted.md")], ids=["text", "path"])
def test_one_path_is_no_list(one: object) -> None:
    """A single path is refused: letter by letter, `.` and `/` would be whole folders."""
    with pytest.raises(InvalidInput, match=r"must be a list of paths, not .*wanted.md.*: put it into a list"):
        list(read_documents(one))  # type: ignore[arg-type]


def test_sources_are_asked_for_one_by_one(tmp_path: Path) -> None:
    """A document comes out before the next path is there, as where files are fetched."""
    (tmp_path / "a.txt").write_text("Hello")
    asked = [tmp_path / "a.txt", tmp_path / "b.txt"]
    assert next(read_documents(asked.pop(0) for _ in range(2))).text == "Hello"
    assert asked == [tmp_path / "b.txt"]


@pytest.mark.parametrize("name", ["utf-16", "UTF-16", "utf16", "U16", "utf_32"])
def test_encodings_have_many_names(tmp_path: Path, name: str) -> None:
    """However it is spelled, an encoding that writes zeros is no sign of a binary file."""
    (tmp_path / "a.txt").write_bytes("Hello".encode(name))
    assert [document.text for document in read(tmp_path / "a.txt", encoding=name)] == ["Hello"]


@pytest.mark.parametrize("empty", [{}, None], ids=repr)
def test_empty_metadata_stay_empty(tmp_path: Path, empty: object) -> None:
    """A field for metadata with nothing in it adds nothing; one that holds something else is a field like others."""
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "t", "metadata": empty}))
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "t", "metadata": [1]}))
    assert [document.metadata for document in read(tmp_path)] == [{}, {"metadata": [1]}]


def test_a_name_that_is_too_long() -> None:
    """A text where a path should be is an error like that of any other missing file."""
    (message,) = failures("word " * 100)
    assert "cannot be read" in message
