"""What kind of file a slide is, and a fast fingerprint of large files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from aczerots.errors import InputError

Kind = Literal["png", "jpeg", "tiff", "dicom", "other"]

_ENDS = 64 * 2**10
_SAMPLES, _SAMPLE = 64, 4096


class NoResolutionError(InputError):
    """A slide has no resolution, and one is needed."""


def look_at(path: Path) -> Kind:
    """The kind of a file, from its first bytes.

    Raises:
        InputError: Missing, a folder, empty, or not readable.
    """
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except FileNotFoundError:
        raise InputError("the file is missing", where=path) from None
    except IsADirectoryError:
        raise InputError("this is a folder", where=path, fix="Give the slides in it by name") from None
    except OSError as error:
        raise InputError(f"the file cannot be read ({error.strerror})", where=path) from None
    if not head:
        raise InputError("the file is empty (0 bytes)", where=path, fix="Copy it again")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "tiff"
    return "dicom" if head[128:132] == b"DICM" else "other"


def ends_oddly(path: Path) -> bool:
    """Whether a PNG or JPEG file ends otherwise than most, as after an interrupted copy; it may still be readable."""
    with path.open("rb") as file:
        head = file.read(3)
        file.seek(max(0, path.stat().st_size - 12))
        tail = file.read()
    marks = {b"\x89PN": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}
    return head in marks and marks[head] not in tail


def is_cut_off(path: Path) -> bool:
    """Whether a TIFF ends before its last directory, as after an interrupted copy (TIFF 6.0, section 2; BigTIFF)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
        big = int.from_bytes(head[2:4], order) == 43
        count_bytes, entry, width = (8, 20, 8) if big else (2, 12, 4)
        at = int.from_bytes(head[8:16] if big else head[4:8], order)
        visited: set[int] = set()
        while at and at not in visited:
            visited.add(at)
            file.seek(at)
            entries = int.from_bytes(file.read(count_bytes), order)
            end = at + count_bytes + entries * entry
            if end + width > size:
                return True
            file.seek(end)
            at = int.from_bytes(file.read(width), order)
    return False


def fingerprint_files(paths: Sequence[Path]) -> str:
    """Hash of the files of a slide that reads only samples of large ones.

    SHA-256 over, for each file: its ending and size, its first and last 64 KiB, and 64 evenly spaced blocks of 4 KiB in
    between. Files up to 384 KiB are hashed whole; times do not matter. A change in place between the blocks that keeps
    the size is missed; files that scanners and converters write anew differ in their headers.

    Raises:
        InputError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            size = path.stat().st_size
            # Only the ending of the name: a renamed slide has the same pixels.
            digest.update(f"{path.suffix}|{size}|".encode())
            with path.open("rb") as file:
                if size <= 2 * _ENDS + _SAMPLES * _SAMPLE:
                    digest.update(file.read())
                    continue
                digest.update(file.read(_ENDS))
                for i in range(_SAMPLES):
                    file.seek(_ENDS + (size - 2 * _ENDS - _SAMPLE) * i // (_SAMPLES - 1))
                    digest.update(file.read(_SAMPLE))
                file.seek(size - _ENDS)
                digest.update(file.read(_ENDS))
        except OSError as error:
            raise InputError(f"the slide cannot be read ({error.strerror})", where=path) from None
    return digest.hexdigest()
