"""Finding images and their masks in folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aczerots.errors import InputError
from aczerots.slides.image import IMAGE_SUFFIXES


def require_folder(path: Path) -> None:
    """Raise an InputError if the path is missing, a file, or not readable."""
    try:
        if not path.exists():
            raise InputError("the folder does not exist", where=path)
        if not path.is_dir():
            raise InputError("this is a file, not a folder", where=path)
    except PermissionError:
        raise InputError("no permission to read the folder", where=path) from None


def images_in(folder: Path) -> dict[str, Path]:
    """Image files of a folder by name without ending, sorted by name.

    Raises:
        InputError: The folder is missing or unreadable, holds no image, or two files of one name.
    """
    require_folder(folder)
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != ".")
    except OSError as error:
        raise InputError(f"the folder cannot be read ({error.strerror})", where=folder) from None
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise InputError(f"{found[path.stem].name} and {path.name} have the same name", where=folder)
        found[path.stem] = path
    if not found:
        raise InputError("there is no image in the folder", where=folder, fix="Put PNG, JPEG or TIFF there")
    return found


def some_names(names: Iterable[str], most: int = 5) -> str:
    """The first few names for an error message."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def require_masks(images: dict[str, Path], masks: dict[str, Path], folder: Path) -> None:
    """Raise an InputError that names the images without a mask, if there are any."""
    missing = images.keys() - masks.keys()
    if missing:
        what = f"{len(missing)} image(s) without a mask: {some_names(missing)}"
        raise InputError(what, where=folder, fix="Every image needs a mask of the same name")
