"""What the object store holds of a document comes back as it was written."""

from pathlib import Path

import orjson
import pytest

from ragline.common.errors import ProtocolError
from ragline.common.models import Chunk, Page
from ragline.stores.document_files import DocumentFiles, Manifest, original_key
from ragline.stores.objects import ObjectStore

MANIFEST_KEY = "documents/doc_1/1/manifest.json"


@pytest.fixture(params=["memory", "file"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> DocumentFiles:
    return DocumentFiles(ObjectStore("memory:///" if request.param == "memory" else tmp_path.as_uri()))


def _pages(first: int, last: int, word: str = "page") -> list[Page]:
    return [Page(number=number, text=f"{word} {number}") for number in range(first, last + 1)]


def _manifest(*ids: str) -> Manifest:
    return Manifest(pages=3, chunks=tuple(Chunk(id=chunk_id, page=1, start=0, end=5) for chunk_id in ids))


def _read(files: DocumentFiles, document_id: str = "doc_1", version: int = 1) -> list[Page]:
    return list(files.pages(document_id, version))


def test_pages_come_back_in_order(files: DocumentFiles) -> None:
    files.put_pages("doc_1", 1, _pages(1, 4))
    files.put_pages("doc_1", 1, iter(_pages(5, 5)))
    assert _read(files) == _pages(1, 5)


def test_runs_are_ordered_by_number_and_not_by_digits(files: DocumentFiles) -> None:
    """Runs that begin at 1, 8, 15, ..., 1009, written in any order."""
    starts = range(1, 1010, 7)
    for start in reversed(starts):
        files.put_pages("doc_1", 1, _pages(start, start + 6))
    assert len(starts) > 100
    assert _read(files) == _pages(1, starts[-1] + 6)


def test_order_holds_for_the_largest_documents(files: DocumentFiles) -> None:
    for start in (99_999, 1, 200_000, 1_000_000, 9_999_999):
        files.put_pages("doc_1", 1, _pages(start, start))
    assert [page.number for page in files.pages("doc_1", 1)] == [1, 99_999, 200_000, 1_000_000, 9_999_999]


def test_a_page_of_two_runs_is_read_once(files: DocumentFiles) -> None:
    """A worker dies between write and checkpoint: the next begins at the same page and goes as far as its budget."""
    files.put_pages("doc_1", 1, _pages(1, 10))
    files.put_pages("doc_1", 1, _pages(11, 30))
    files.put_pages("doc_1", 1, _pages(11, 15))
    files.put_pages("doc_1", 1, _pages(16, 40))
    assert _read(files) == _pages(1, 40)


def test_a_run_that_a_frozen_worker_writes_late_takes_no_page_away(files: DocumentFiles) -> None:
    files.put_pages("doc_1", 1, _pages(1, 30))
    files.put_pages("doc_1", 1, _pages(31, 40))
    files.put_pages("doc_1", 1, _pages(1, 10))
    assert _read(files) == _pages(1, 40)


def test_run_without_pages_leaves_nothing(files: DocumentFiles) -> None:
    files.put_pages("doc_1", 1, [])
    assert files.objects.keys("") == []
    assert _read(files) == []


def test_text_of_any_script_is_kept(files: DocumentFiles) -> None:
    pages = [Page(number=1, text=""), Page(number=2, text='Grüße 世界 🏳️‍🌈 a\u0301 \x00\x7f\ufeff\u2028\n\t"\\')]
    files.put_pages("doc_1", 1, pages)
    assert _read(files) == pages


def test_documents_and_versions_do_not_mix(files: DocumentFiles) -> None:
    for document_id, version in (("doc_1", 1), ("doc_1", 11), ("doc_11", 1)):
        files.put_pages(document_id, version, _pages(1, 2, f"{document_id}-{version}"))
        files.put_manifest(document_id, version, _manifest(f"{document_id}-{version}"))
    for document_id, version in (("doc_1", 1), ("doc_1", 11), ("doc_11", 1)):
        assert _read(files, document_id, version) == _pages(1, 2, f"{document_id}-{version}")
        assert files.manifest(document_id, version) == _manifest(f"{document_id}-{version}")


def test_manifest_comes_back_without_texts(files: DocumentFiles) -> None:
    chunks = (Chunk(id="b", page=2, start=0, end=9, text="some text"), Chunk(id="a", page=1, start=3, end=4))
    files.put_manifest("doc_1", 1, Manifest(pages=7, chunks=chunks))
    kept = (Chunk(id="b", page=2, start=0, end=9), Chunk(id="a", page=1, start=3, end=4))
    assert files.manifest("doc_1", 1) == Manifest(pages=7, chunks=kept)


def test_manifest_without_chunks_and_with_many(files: DocumentFiles) -> None:
    many = _manifest(*(f"chunk-{number}" for number in range(5000)))
    for manifest in (_manifest(), many):
        files.put_manifest("doc_1", 1, manifest)
        assert files.manifest("doc_1", 1) == manifest


def test_missing_manifest_is_a_protocol_error(files: DocumentFiles) -> None:
    files.put_pages("doc_1", 1, _pages(1, 1))
    files.put_manifest("doc_1", 2, _manifest("a"))
    with pytest.raises(ProtocolError):
        files.manifest("doc_1", 1)


def test_manifest_of_a_newer_release_is_a_protocol_error(files: DocumentFiles) -> None:
    files.objects.put(MANIFEST_KEY, orjson.dumps({"format": 2, "everything": "else"}))
    with pytest.raises(ProtocolError, match="format 2"):
        files.manifest("doc_1", 1)


@pytest.mark.parametrize("data", [b"", b"{", b'{"format": 1, "pages": 3, "chu', b"\xff\xfe"])
def test_damaged_file_is_a_protocol_error(files: DocumentFiles, data: bytes) -> None:
    files.objects.put(MANIFEST_KEY, data)
    files.objects.put("documents/doc_1/1/pages/0000001.json", data)
    with pytest.raises(ProtocolError, match="damaged"):
        files.manifest("doc_1", 1)
    with pytest.raises(ProtocolError, match="damaged"):
        _read(files)


@pytest.fixture
def stored(files: DocumentFiles) -> DocumentFiles:
    """Two documents, versions 1, 2 and 10 of each, and an original."""
    for document_id in ("doc_1", "doc_2"):
        for version in (1, 2, 10):
            files.put_pages(document_id, version, _pages(1, 2))
            files.put_pages(document_id, version, _pages(3, 3))
            files.put_manifest(document_id, version, _manifest("a"))
    files.objects.put(original_key("upload_1"), b"%PDF-")
    assert len(files.objects.keys("")) == 2 * 3 * 3 + 1
    return files


def _folders(files: DocumentFiles) -> set[str]:
    return {"/".join(key.split("/")[1:3]) for key in files.objects.keys("documents/")}


def test_deleting_a_version_keeps_the_others(stored: DocumentFiles) -> None:
    stored.delete_version("doc_1", 1)
    assert _folders(stored) == {"doc_1/2", "doc_1/10", "doc_2/1", "doc_2/2", "doc_2/10"}
    assert _read(stored, "doc_1", 10) == _pages(1, 3)
    stored.delete_version("doc_1", 1)
    assert stored.objects.get(original_key("upload_1")) == b"%PDF-"


def test_deleting_a_document_keeps_the_others(stored: DocumentFiles) -> None:
    stored.delete_all("doc_1")
    assert _folders(stored) == {"doc_2/1", "doc_2/2", "doc_2/10"}
    stored.delete_all("doc_1")
    stored.delete_all("doc")
    assert _folders(stored) == {"doc_2/1", "doc_2/2", "doc_2/10"}
    assert stored.objects.get(original_key("upload_1")) == b"%PDF-"


def test_original_is_named_by_its_upload_alone() -> None:
    assert original_key("upload_1") == "originals/upload_1.pdf"
