"""Clients that make the requests of MONAI Label's Python client and of its QuPath extension, and read the answers so.

Written from what those programs send and read (Project-MONAI/MONAILabel: ``monailabel/client/client.py``,
``plugins/qupath``), with the same standard parts: ``http.client``, one fixed boundary, no headers of their own.
"""

from __future__ import annotations

import http.client
import json
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import quote_plus, urlparse

from tests.patience import PATIENCE

BOUNDARY = "----------lImIt_of_THE_fIle_eW_$"


class RefusedError(Exception):
    """The server did not answer with 200.

    Args:
        status: What it answered.
        body: The rest of the answer.
    """

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:300]!r}")
        self.status, self.detail = status, json.loads(body)["detail"] if body else ""


class Caller:
    """Sends requests to an address with a path of its own.

    Args:
        server: ``http://host:port/monai/TOKEN``.
    """

    def __init__(self, server: str) -> None:
        self._server = urlparse(server)

    def call(self, method: str, selector: str, body: bytes | None = None, kind: str | None = None) -> tuple[str, bytes]:
        """(content type, body) of an answer."""
        connection = http.client.HTTPConnection(self._server.hostname or "", self._server.port, timeout=PATIENCE)
        path = self._server.path.rstrip("/") + "/" + selector.lstrip("/")
        headers = {} if kind is None or body is None else {"content-type": kind, "content-length": str(len(body))}
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status != 200:
            raise RefusedError(answer.status, data)
        return answer.getheader("content-type", ""), data

    def form(self, method: str, selector: str, fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> Any:
        """The same with a form; files are (name, content) by field."""
        lines: list[bytes] = []
        for name, text in fields.items():
            lines += [f"--{BOUNDARY}".encode(), f'Content-Disposition: form-data; name="{name}"'.encode(), b""]
            lines.append(text.encode())
        for name, (file, data) in files.items():
            head = f'Content-Disposition: form-data; name="{name}"; filename="{file}"'
            lines += [f"--{BOUNDARY}".encode(), head.encode(), b"Content-Type: application/octet-stream", b"", data]
        lines += [f"--{BOUNDARY}--".encode(), b"", b""]
        return self.call(method, selector, b"\r\n".join(lines), f"multipart/form-data; boundary={BOUNDARY}")


class PythonClient:
    """Requests of ``MONAILabelClient``.

    Args:
        server: ``http://host:port/monai/TOKEN``.
    """

    def __init__(self, server: str) -> None:
        self._caller = Caller(server)

    def _json(self, method: str, selector: str, body: dict[str, Any] | None = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        return json.loads(self._caller.call(method, selector, sent, "application/json")[1])

    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = self._json("GET", "/info/")
        return found

    def next_sample(self, strategy: str) -> dict[str, Any]:
        found: dict[str, Any] = self._json("POST", f"/activelearning/{quote_plus(strategy)}", {"client_id": None})
        return found

    def infer(self, model: str, image: str) -> tuple[str, bytes, dict[str, Any]]:
        """(name of the file, its content, parameters)."""
        selector = f"/infer/{quote_plus(model)}?image={quote_plus(image)}"
        kind, body = self._caller.form("POST", selector, {"params": '{"client_id": null}'}, {})
        assert kind.startswith("multipart/form-data; boundary=")
        parts = body.split(b"--" + kind.partition("boundary=")[2].encode())
        fields: dict[str, tuple[str, bytes]] = {}
        for part in parts[1:-1]:
            head, _, data = part.partition(b"\r\n\r\n")
            words = dict(w.strip().split("=") for w in head.decode().splitlines()[1].split(";")[1:])
            fields[words["name"].strip('"')] = words.get("filename", "").strip('"'), data.removesuffix(b"\r\n")
        name, mask = fields["image"]
        return name, mask, json.loads(fields["params"][1])

    def save_label(self, image: str, file: tuple[str, bytes], tag: str = "") -> dict[str, Any]:
        selector = f"/datastore/label?image={quote_plus(image)}" + (f"&tag={quote_plus(tag)}" if tag else "")
        found: dict[str, Any] = json.loads(
            self._caller.form("PUT", selector, {"params": '{"client_id": null}'}, {"label": file})[1]
        )
        return found

    def upload_image(self, image: str, file: tuple[str, bytes]) -> dict[str, Any]:
        selector = f"/datastore/?image={quote_plus(image)}"
        found: dict[str, Any] = json.loads(self._caller.form("PUT", selector, {"params": "{}"}, {"file": file})[1])
        return found

    def train_start(self, model: str) -> dict[str, Any]:
        found: dict[str, Any] = self._json("POST", f"/train/{quote_plus(model)}", {"client_id": None})
        return found

    def train_stop(self) -> dict[str, Any]:
        found: dict[str, Any] = self._json("DELETE", "/train/")
        return found

    def train_status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._json("GET", "/train/")
        return found

    def train_running(self) -> bool:
        try:
            self._json("GET", "/train/?check_if_running=true")
        except RefusedError:
            return False
        return True


class QuPathExtension:
    """Requests of the extension's ``MonaiLabelClient`` and what its commands do with the answers.

    Args:
        server: ``http://host:port/monai/TOKEN``, as in its preferences.
    """

    def __init__(self, server: str) -> None:
        self._caller = Caller(server)

    def image_exists(self, image: str) -> bool:
        try:
            self._caller.call("HEAD", f"/datastore/image?image={quote_plus(image)}")
        except RefusedError:
            return False
        return True

    def next_patch(self, strategy: str, image: str, size: tuple[int, int]) -> tuple[str, list[int]]:
        """(id, x, y, width, height) of *Next Sample*."""
        body = f'{{"image": "{image}", "patch_size": [1024, 1024],"image_size": [{size[0]}, {size[1]}]}}'.encode()
        found = json.loads(self._caller.call("POST", f"/activelearning/{strategy}", body, None)[1])
        return found["id"], found["bbox"]

    def infer(self, model: str, image: str, box: list[int]) -> list[tuple[str, list[tuple[float, float]]]]:
        """(class, corners) of what *Annotations* draws."""
        body = {"level": 0, "location": box[:2], "size": box[2:], "tile_size": [1024, 1024], "min_poly_area": 30}
        body["params"] = {"foreground": [], "background": [], "max_workers": 1}
        selector = f"/infer/wsi/{model}?output=asap&image={quote_plus(image)}"
        root = ET.fromstring(self._caller.call("POST", selector, json.dumps(body).encode(), None)[1])
        found = []
        for annotation in root.iter("Annotation"):
            for coordinates in annotation:
                corners = [(float(c.attrib["X"]), float(c.attrib["Y"])) for c in coordinates]
                found.append((annotation.attrib["Name"], corners))
        return found

    def submit(
        self, image: str, drawn: list[tuple[str, list[tuple[float, float]]]], box: list[int] | None
    ) -> dict[str, Any]:
        """*Submit Label* of all drawings, or of those in a rectangle."""
        name, corner = image, box or [0, 0, 0, 0]
        if box is not None:
            name = image + "-patch-{}_{}_{}_{}".format(*box)
            patch = {"file": ("patch123.png", b"\x89PNG of the patch")}
            selector = f"/datastore/image?image={quote_plus(name)}"
            name = json.loads(self._caller.form("PUT", selector, {"params": "{}"}, patch)[1])["image"]
        xml = asap_file(drawn, corner).encode()
        sent = {"label": (f"{image}123.xml", xml)}
        selector = f"/datastore/label?image={quote_plus(name)}"
        found: dict[str, Any] = json.loads(self._caller.form("PUT", selector, {"params": "{}"}, sent)[1])
        return found


def asap_file(drawn: list[tuple[str, list[tuple[float, float]]]], corner: list[int]) -> str:
    """What the extension writes: corners cut to whole pixels, relative to the rectangle."""
    root = ET.Element("ASAP_Annotations")
    head = dict(zip("XYWH", map(str, corner), strict=True))
    annotations = ET.SubElement(root, "Annotations", {"Name": "", "Description": "", **head})
    for name, corners in drawn:
        about = {"Name": name, "Type": "Polygon", "PartOfGroup": name, "Color": "#ff0000"}
        coordinates = ET.SubElement(ET.SubElement(annotations, "Annotation", about), "Coordinates")
        for i, (x, y) in enumerate(corners):
            place = {"Order": str(i), "X": str(int(x) - corner[0]), "Y": str(int(y) - corner[1])}
            ET.SubElement(coordinates, "Coordinate", place)
    groups = ET.SubElement(root, "AnnotationGroups")
    for name in sorted({n for n, _ in drawn}):
        ET.SubElement(groups, "Group", {"Name": name, "PartOfGroup": "None", "Color": "#ff0000"})
    return '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n' + ET.tostring(root, encoding="unicode")
