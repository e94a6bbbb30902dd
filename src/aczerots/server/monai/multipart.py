"""Bodies of ``multipart/form-data`` (RFC 7578), read and written whole."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message

from aczerots.errors import InputError

MAX_PARTS = 32


@dataclass(frozen=True)
class FormField:
    """A field of a form: its bytes, the name of its file (None for a plain field) and its content type."""

    data: bytes
    file: str | None = None
    kind: str = "text/plain"


def read_form(content_type: str, body: bytes) -> dict[str, FormField]:
    """The fields of a body by name; of several with one name the last counts.

    Raises:
        InputError: It is no such body.
    """
    boundary = _parameter("content-type", content_type, "boundary")
    if not content_type.lower().startswith("multipart/form-data") or not boundary:
        raise InputError("the request is no multipart/form-data with a boundary", where="body")
    _, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("utf-8", "replace"))
    if not pieces or not pieces[-1].startswith(b"--") or len(pieces) > MAX_PARTS:
        raise InputError(f"the form does not end, or has more than {MAX_PARTS} fields", where="body")
    form = {}
    for piece in pieces[:-1]:
        head, gap, data = piece.partition(b"\r\n\r\n")
        headers = _headers(head)
        name = _parameter("content-disposition", headers.get("content-disposition", ""), "name")
        if not gap or not name:
            raise InputError("the form has a field without a name", where="body")
        file = _parameter("content-disposition", headers["content-disposition"], "filename")
        form[name] = FormField(data, file, headers.get("content-type", "text/plain"))
    return form


def write_form(fields: Mapping[str, FormField]) -> tuple[str, bytes]:
    """(content type, body) of some fields. Names and file names must be printable and free of quotes."""
    boundary = f"aczerots-{secrets.token_hex(16)}"
    lines: list[bytes] = []
    for name, part in fields.items():
        file = "" if part.file is None else f'; filename="{part.file}"'
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\nContent-Type: {part.kind}'
        lines += [head.encode(), b"", part.data]
    return f"multipart/form-data; boundary={boundary}", b"\r\n".join([*lines, f"--{boundary}--".encode(), b""])


def _headers(head: bytes) -> dict[str, str]:
    pairs = [line.split(":", 1) for line in head.decode("utf-8", "replace").splitlines() if ":" in line]
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _parameter(header: str, value: str, name: str) -> str | None:
    """A parameter of a header, without quotes."""
    message = Message()
    message[header] = " ".join(value.split())
    found = message.get_param(name, header=header)
    return found if isinstance(found, str) else None
