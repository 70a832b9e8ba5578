"""Names and ids: how they are made and which are accepted."""

import hashlib
import os
import random
import re
import secrets
import unicodedata

from ragline.common.constants import MAX_NAME_BYTES
from ragline.common.errors import InvalidRequest

__all__ = [
    "COLLECTION_NAME",
    "check_collection_name",
    "check_document_name",
    "chunk_id",
    "embedding_space",
    "is_collection_name",
    "is_id",
    "new_id",
    "physical_collection",
    "random_hex",
]

_ID = re.compile(r"(?:job|doc)_[0-9a-f]{24}")
COLLECTION_NAME = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
"""What a collection may be called, as a pattern in the language of JSON Schema too."""
_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiner: Persian, Indic scripts and emoji are spelled with them. Other format characters only make
one name look like another, as U+202E does with ``fdp.exe``."""

_random = random.Random()  # noqa: S311 - for ids that are no secrets
os.register_at_fork(after_in_child=_random.seed)


def new_id(prefix: str) -> str:
    """A random id of 96 bits such as ``doc_3f...``; its prefix tells people what it names."""
    return f"{prefix}_{secrets.token_hex(12)}"


def random_hex(digits: int) -> str:
    """An id of a trace, a span or a request: never all zeros, which W3C Trace Context forbids, and nobody's secret.

    Unlike `new_id` without a system call: that lets go of Python's lock, and a server with busy threads gets it back
    late. Three ids made so were a tenth of accepting a document (measured).
    """
    return f"{_random.getrandbits(4 * digits) or 1:0{digits}x}"


def is_id(prefix: str, text: str) -> bool:
    """Whether the text is an id that `new_id` may have made with this prefix: no other one can name anything.

    Keys of the ledger are made of ids and of suffixes such as ``:events``; what only looks like an id is not asked for.
    """
    return text.startswith(f"{prefix}_") and _ID.fullmatch(text) is not None


def chunk_id(*, tenant: str, collection: str, document_id: str, text: str, occurrence: int) -> str:
    """Content-defined id of a chunk: 128 bits in hex.

    Parameters
    ----------
    occurrence
        0 for the first chunk of the document with this text, 1 for the second, ... Neither page nor position is part
        of the id, so a page inserted in front changes no id and costs no embedding.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (tenant, collection, document_id, text, str(occurrence)):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()


def embedding_space(provider: str, model: str) -> str:
    """Name of the space that vectors of this provider and model live in, such as ``local/all-MiniLM-L6-v2``."""
    return f"{provider}/{model}"


def physical_collection(space: str) -> str:
    """Name of the Chroma collection that holds all vectors of an embedding space: letters, digits and ``-``.

    One physical collection for all of a space's logical ones: each costs Chroma 2.6 MB and 4 open files (measured).
    """
    readable = re.sub(r"[^a-z0-9]+", "-", space.lower()).strip("-")[:40].strip("-")
    return f"ragline-{readable}-{hashlib.blake2b(space.encode(), digest_size=4).hexdigest()}"


def is_collection_name(name: str) -> bool:
    """Whether a collection may have this name; see `check_collection_name`."""
    return re.fullmatch(COLLECTION_NAME, name) is not None


def check_collection_name(name: str) -> str:
    """The name unchanged.

    Raises
    ------
    InvalidRequest
        Unless it has 1 to 63 letters, digits, ``.``, ``_`` or ``-``, beginning and ending with a letter or digit.
    """
    if not is_collection_name(name):
        raise InvalidRequest(
            "A collection name has 1 to 63 letters, digits, '.', '_' or '-' and begins and ends with a letter or digit"
        )
    return name


def check_document_name(name: str) -> str:
    """The name in Unicode NFC. It is only ever a label: no path is made of it.

    Raises
    ------
    InvalidRequest
        If it is empty, longer than 255 bytes, holds characters nobody sees, or looks like a path.
    """
    normal = unicodedata.normalize("NFC", name)
    if not normal.strip():
        raise InvalidRequest("A document needs a name: of the file in a form, or as ?name=")
    if len(normal.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise InvalidRequest(f"A document name has at most {MAX_NAME_BYTES} bytes")
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in normal):
        raise InvalidRequest("A document name holds no control characters")
    if any(unicodedata.category(char) == "Cf" and char not in _JOINERS for char in normal):
        raise InvalidRequest("A document name holds no invisible format characters")
    if "/" in normal or "\\" in normal or normal in {".", ".."}:
        raise InvalidRequest("A document name is not a path")
    return normal
