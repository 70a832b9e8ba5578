"""What the object store holds of a document: its original, the text of its pages and the manifest of its chunks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from ragline.common.errors import ProtocolError
from ragline.common.models import Chunk, Page
from ragline.stores.objects import ObjectStore

__all__ = ["DocumentFiles", "Manifest", "original_key"]

_MANIFEST_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The chunks of one version of a document. While that version is the visible one, exactly these chunks count."""

    pages: int
    chunks: tuple[Chunk, ...]


def original_key(upload_id: str) -> str:
    """Where the bytes of an upload lie. No name given by a user is part of it."""
    return f"originals/{upload_id}.pdf"


class DocumentFiles:
    """Reads and writes a document's files; a version's files are never changed once its manifest is there."""

    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects

    def delete_all(self, document_id: str) -> None:
        """Remove page text and manifests of every version."""
        self.objects.delete_prefix(f"documents/{document_id}/")

    def delete_version(self, document_id: str, version: int) -> None:
        """Remove page text and manifest of one version."""
        self.objects.delete_prefix(f"{_folder(document_id, version)}/")

    def manifest(self, document_id: str, version: int) -> Manifest:
        """The manifest of a version.

        Raises
        ------
        ProtocolError
            There is none, it is damaged, or it was written by a newer release.
        """
        raw = self._read(f"{_folder(document_id, version)}/manifest.json")
        if raw["format"] != _MANIFEST_FORMAT:
            raise ProtocolError("object store", "get", f"manifest format {raw['format']} is not known")
        chunks = (Chunk(id=chunk[0], page=chunk[1], start=chunk[2], end=chunk[3]) for chunk in raw["chunks"])
        return Manifest(pages=raw["pages"], chunks=tuple(chunks))

    def pages(self, document_id: str, version: int) -> Iterator[Page]:
        """All pages of a version in order, each once: runs of a frozen worker and of its successor may overlap.

        Raises
        ------
        ProtocolError
            A part is damaged.
        """
        last = 0
        for key in self.objects.keys(f"{_folder(document_id, version)}/pages/"):
            for number, text in self._read(key):
                if number > last:
                    yield Page(number=number, text=text)
                    last = number

    def put_manifest(self, document_id: str, version: int, manifest: Manifest) -> None:
        """Write the manifest of a version."""
        chunks = [[chunk.id, chunk.page, chunk.start, chunk.end] for chunk in manifest.chunks]
        data = orjson.dumps({"format": _MANIFEST_FORMAT, "pages": manifest.pages, "chunks": chunks})
        self.objects.put(f"{_folder(document_id, version)}/manifest.json", data)

    def put_pages(self, document_id: str, version: int, pages: Iterable[Page]) -> None:
        """Write one run of neighbouring pages; writing the same run again replaces it, and no other."""
        rows = [[page.number, page.text] for page in pages]
        if rows:
            run = f"{rows[0][0]:07d}-{rows[-1][0]:07d}"
            self.objects.put(f"{_folder(document_id, version)}/pages/{run}.json", orjson.dumps(rows))

    def versions(self, document_id: str) -> set[int]:
        """Versions of which there is page text or a manifest."""
        return {int(key.split("/")[2]) for key in self.objects.keys(f"documents/{document_id}/")}

    def _read(self, key: str) -> Any:  # noqa: ANN401 - JSON of ours
        try:
            return orjson.loads(self.objects.get(key))
        except orjson.JSONDecodeError as error:
            raise ProtocolError("object store", "get", f"{key} is damaged") from error


def _folder(document_id: str, version: int) -> str:
    return f"documents/{document_id}/{version}"
