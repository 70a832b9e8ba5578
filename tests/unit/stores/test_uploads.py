"""Only files below the upload root can be opened, and one error text tells nothing of the rest."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragline.common.errors import NotFound
from ragline.stores.uploads import open_upload

INSIDE, OUTSIDE = b"inside", b"outside"

ORIGINAL_ROOT = "/app/storage/uploads"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An upload folder with ``a.pdf`` and ``folder/b.pdf``, and next to it files that are nobody's business."""
    root = tmp_path / "uploads"
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "a.pdf").write_bytes(INSIDE)
    (root / "folder" / "b.pdf").write_bytes(INSIDE)
    for outside in (tmp_path / "outside", tmp_path / "uploads-2"):
        outside.mkdir()
        for name in ("a.pdf", "b.pdf"):
            (outside / name).write_bytes(OUTSIDE)
    return root


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as a list of numbers, of which one is the list's own
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


def _refused(root: Path, name: str) -> None:
    with pytest.raises(NotFound) as raised:
        open_upload(root, name)
    assert raised.value.detail == "There is no such file in the upload folder"


@pytest.mark.parametrize(
    "name",
    [
        "folder/b.pdf",
        "./folder//./b.pdf",
        "folder/b.pdf/",
        "{root}/folder/b.pdf",
        "{root}//folder/b.pdf",
        ORIGINAL_ROOT + "/folder/b.pdf",
        ORIGINAL_ROOT + "/./folder/b.pdf",
    ],
)
def test_file_below_the_root_is_opened(root: Path, name: str) -> None:
    file_name, file = open_upload(root, name.format(root=root))
    with file:
        assert file_name == "b.pdf"
        assert file.read() == INSIDE


@pytest.mark.parametrize(
    "name",
    [
        "Grüße 世界 🏳️‍🌈.pdf",
        " leading",
        "...",
        "..a",
        "a..",
        "~",
        "$HOME",
        "a\\..\\b",
        "a\nb",
        "-rf",
        "%2e%2e",
        "x" * 255,
    ],
)
def test_odd_file_name_is_a_name_like_any_other(root: Path, name: str) -> None:
    (root / name).write_bytes(INSIDE)
    for path in (name, f"{root}/{name}", f"{ORIGINAL_ROOT}/{name}"):
        file_name, file = open_upload(root, path)
        with file:
            assert (file_name, file.read()) == (name, INSIDE)


def test_relative_root_takes_relative_and_absolute_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    for name in ("a.pdf", f"{root}/a.pdf", ORIGINAL_ROOT + "/a.pdf"):
        with open_upload(Path("uploads"), name)[1] as file:
            assert file.read() == INSIDE


def test_root_itself_may_be_a_link(root: Path) -> None:
    """An operator's own link, as a mounted volume often is."""
    link = root.parent / "link"
    link.symlink_to(root)
    for name in ("folder/b.pdf", f"{link}/folder/b.pdf"):
        with open_upload(link, name)[1] as file:
            assert file.read() == INSIDE


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "./.",
        "/",
        "{root}",
        "{root}/",
        ORIGINAL_ROOT,
        "folder",
        "folder/",
        "folder/inner",
        "missing.pdf",
        "missing/b.pdf",
        "a.pdf/b.pdf",
        "A.PDF",
        "..",
        "../outside/a.pdf",
        "folder/../../outside/a.pdf",
        "folder/../a.pdf",
        "./../uploads/a.pdf",
        "{root}/../outside/a.pdf",
        "{root}/../uploads/a.pdf",
        "{root}-2/a.pdf",
        ORIGINAL_ROOT + "/../a.pdf",
        ORIGINAL_ROOT + "-2/a.pdf",
        "/app/storage/a.pdf",
        "//app/storage/uploads/a.pdf",
        "app/storage/uploads/a.pdf",
        "{outside}/a.pdf",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/stdin",
        "~/a.pdf",
        "file://{root}/a.pdf",
        "a.pdf\0",
        "\0",
        "a.pdf\0/../../outside/a.pdf",
        "lone surrogate \ud800",
        # Look like dots and slashes, and some become them when they are normalised.
        "\uff0e\uff0e/outside/a.pdf",
        "\u2025/outside/a.pdf",
        "\uff0e\uff0e\uff0foutside\uff0fa.pdf",
        "..\u2215outside\u2215a.pdf",
        "\u2024\u2024/outside/a.pdf",
        ".\u200b./outside/a.pdf",
        "\uff41.pdf",
        "%2e%2e/outside/a.pdf",
        "..%2foutside%2fa.pdf",
        "..\\outside\\a.pdf",
        "x" * 256,
        "x" * 100_000,
        "x/" * 3000 + "a.pdf",
        "./" * 3000 + "missing",
    ],
)
def test_anything_else_is_not_found(root: Path, name: str) -> None:
    _refused(root, name.format(root=root, outside=root.parent / "outside"))


def test_missing_root_is_not_found(tmp_path: Path) -> None:
    _refused(tmp_path / "missing", "a.pdf")
    (tmp_path / "file").touch()
    _refused(tmp_path / "file", "a.pdf")


@pytest.mark.parametrize("target", ["../outside/a.pdf", "{outside}/a.pdf", "a.pdf", "missing", "link", "/dev/null"])
def test_link_to_a_file_is_not_found(root: Path, target: str) -> None:
    (root / "link").symlink_to(target.format(outside=root.parent / "outside"))
    _refused(root, "link")
    _refused(root, f"{root}/link")


@pytest.mark.parametrize("target", ["../outside", "{outside}", "folder", "/", "."])
def test_link_to_a_folder_in_the_middle_is_not_found(root: Path, target: str) -> None:
    (root / "link").symlink_to(target.format(outside=root.parent / "outside"))
    (root / "folder" / "link").symlink_to(target.format(outside=root.parent / "outside"))
    for name in ("link/a.pdf", "link/b.pdf", "folder/link/b.pdf", "link/etc/passwd"):
        _refused(root, name)


@pytest.mark.timeout(5)
def test_named_pipe_is_not_found_and_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe")
    _refused(root, "pipe")


def test_socket_is_not_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The address of a socket is short; the path of a test is not.
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        _refused(root, "socket")


@pytest.mark.timeout(5)
@pytest.mark.parametrize("name", ["null", "zero", "tty", "/dev/full", "fd/0"])
def test_device_is_not_found(name: str) -> None:
    _refused(Path("/dev"), name)


def _swapping(first: Callable[[], None], second: Callable[[], None], stop: threading.Event) -> threading.Thread:
    """Does one and the other in turn until it is stopped."""

    def swap() -> None:
        while not stop.is_set():
            first()
            second()

    thread = threading.Thread(target=swap)
    thread.start()
    return thread


@pytest.mark.parametrize("name", ["swapped/b.pdf", "folder/swapped/b.pdf"])
def test_folder_swapped_for_a_link_never_leads_outside(root: Path, name: str) -> None:
    """Both kinds of outcome are seen, so the race did take place."""
    place = root / Path(name).parent
    real, link = root / "real", root / "link"
    real.mkdir()
    (real / "b.pdf").write_bytes(INSIDE)
    link.symlink_to(root.parent / "outside")

    def folder_in() -> None:
        real.rename(place)

    def link_in() -> None:
        place.rename(real)
        link.rename(place)
        place.rename(link)

    _race(root, name, folder_in, link_in)


def test_file_swapped_for_a_link_never_leads_outside(root: Path) -> None:
    place, real, link = root / "swapped", root / "real", root / "link"

    def file_in() -> None:
        real.write_bytes(INSIDE)
        real.rename(place)

    def link_in() -> None:
        link.symlink_to(root.parent / "outside" / "a.pdf")
        link.rename(place)

    _race(root, "swapped", file_in, link_in)


def _race(root: Path, name: str, first: Callable[[], None], second: Callable[[], None]) -> None:
    stop = threading.Event()
    thread = _swapping(first, second, stop)
    outcomes = {"opened": 0, "refused": 0}
    try:
        for _ in range(20_000):
            try:
                _, file = open_upload(root, name)
            except NotFound:
                outcomes["refused"] += 1
            else:
                outcomes["opened"] += 1
                with file:
                    assert file.read() == INSIDE
            if sum(outcomes.values()) >= 3000 and min(outcomes.values()) >= 20:
                break
    finally:
        stop.set()
        thread.join()
    assert min(outcomes.values()) >= 20, outcomes
