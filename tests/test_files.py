"""Files are whole or absent."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aczerots.errors import StorageError
from aczerots.storage.files import atomic_write, scratch_array, write_bytes_atomic, write_text_atomic


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let this process write no file beyond ``size`` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def interrupt(path: Path) -> None:
    """A person presses Ctrl-C half-way."""
    path.write_text("half")
    raise KeyboardInterrupt


def test_writes_and_replaces_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    write_text_atomic(path, "µm\r\n")
    assert path.read_bytes() == b"\xc2\xb5m\r\n"
    write_bytes_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(path.parent) == ["table.csv"]


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text_atomic(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_disk_full_is_one_clear_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_bytes_atomic(path, b"old")
    with room_for(1000), pytest.raises(StorageError) as caught:
        write_bytes_atomic(path, bytes(5000))
    assert caught.value.where == str(path)
    assert "space" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "Free some space"), (errno.EROFS, "may write"), (errno.EIO, "Check")]
)
def test_says_how_to_fix_it(tmp_path: Path, code: int, words: str) -> None:
    with pytest.raises(StorageError, match=words), atomic_write(tmp_path / "a"):
        raise OSError(code, os.strerror(code))
    assert names(tmp_path) == []


def test_a_file_and_a_folder_in_each_others_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="another name"):
        write_text_atomic(tmp_path / "file" / "inner", "y")
    with pytest.raises(StorageError, match="another name"):
        write_text_atomic(tmp_path / "folder", "y")
    assert names(tmp_path) == ["file", "folder"]


def test_other_errors_pass_through_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a") as temporary:
        interrupt(temporary)
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a") as temporary:
        temporary.write_bytes((tmp_path / "no such input").read_bytes())
    assert names(tmp_path) == []


def _write_forever(path: Path) -> None:
    """Replace a file by one of two contents, again and again."""
    for letter in iter(lambda: b"ab", None):
        write_bytes_atomic(path, letter[:1] * 300_000)
        write_bytes_atomic(path, letter[1:] * 300_000)


def test_a_kill_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_bytes_atomic(path, b"a" * 300_000)
    writer = multiprocessing.get_context("spawn").Process(target=_write_forever, args=(path,))
    writer.start()
    changed = False
    while not changed:  # the writer is at work once the content has changed
        content = path.read_bytes()
        assert content in (b"a" * 300_000, b"b" * 300_000)
        changed = content[:1] == b"b"
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert path.read_bytes() in (b"a" * 300_000, b"b" * 300_000)


def test_a_scratch_array_leaves_no_file_behind(tmp_path: Path) -> None:
    array = scratch_array((3, 4), "float16", tmp_path / "new")
    array[1] = 2.0
    assert array.sum() == 8.0
    assert (array.shape, array.dtype.name) == ((3, 4), "float16")
    assert names(tmp_path / "new") == []
    assert not scratch_array((3,), "float32", None).any()


def test_a_scratch_array_that_the_disk_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="No space left"):
        scratch_array((3,), "float32", tmp_path)
    assert names(tmp_path) == []
