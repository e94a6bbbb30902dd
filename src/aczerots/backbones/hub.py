"""Asks a model hub what can be had, with short patience; nothing is downloaded."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

MODELS = {
    "vinid/plip": "PLIP",
    "wisdomik/QuiltNet-B-32": "QuiltNet",
    "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224": "BiomedCLIP",
    "MahmoodLab/CONCH": "CONCH",
    "Astaxanthin/KEEP": "KEEP",
    "xiangjx/musk": "MUSK",
    "google/medsiglip-448": "MedSigLIP",
    "MahmoodLab/UNI": "UNI",
    "paige-ai/Virchow": "Virchow",
}
"""Models that pathologists use, and what they call them; the answer of the hub says which are gated."""

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_PUBLIC = "https://huggingface.co"

Access = Literal["granted", "refused", "unknown"]
Answered = tuple[bool | None, Access]


@dataclass(frozen=True)
class HubAnswer:
    """What is known about a model.

    Attributes:
        model: Its id.
        cached: It is in the local cache of the hub's library.
        gated: Its terms must be accepted; None if nobody answered.
        access: ``granted`` or ``refused`` to you, ``unknown`` model, None if nobody answered.
    """

    model: str
    cached: bool
    gated: bool | None = None
    access: Access | None = None


@dataclass(frozen=True)
class HubFacts:
    """What is known about the hub.

    Attributes:
        endpoint: Its URL.
        offline: Name of the variable that forbids to ask, empty if none does.
        problem: Why it does not answer, empty if it does.
        token: Whether a token is set.
        models: One answer per known model.
    """

    endpoint: str
    offline: str
    problem: str
    token: bool
    models: tuple[HubAnswer, ...]


def hub_facts(timeout: float) -> HubFacts:
    """Ask the hub about all known models at the same time.

    Args:
        timeout: Seconds for everything together.
    """
    endpoint = (os.environ.get("HF_ENDPOINT") or _PUBLIC).rstrip("/")
    offline = next((name for name in _OFFLINE if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}), "")
    token = _token()
    answers = {model: HubAnswer(model, _is_cached(model)) for model in MODELS}
    problem = ""
    if not offline:
        problem, heard = _ask_all(endpoint, token, timeout)
        answers |= {m: replace(answers[m], gated=gated, access=access) for m, (gated, access) in heard.items()}
    return HubFacts(endpoint, offline, problem, token is not None, tuple(answers.values()))


def _ask_all(endpoint: str, token: str | None, timeout: float) -> tuple[str, dict[str, Answered]]:
    """(why nobody answered, answers of the models that did)."""
    heard: dict[str, Answered] = {}
    problems: list[str] = []

    def ask(model: str) -> None:
        try:
            heard[model] = _ask(endpoint, model, token, timeout)
        except (OSError, HTTPException, ValueError) as error:
            problems.append(str(getattr(error, "reason", error)))

    # Daemons, because a name that does not resolve can hold a thread longer than anyone wants to wait.
    threads = [threading.Thread(target=ask, args=(model,), daemon=True) for model in MODELS]
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if heard:
        return "", dict(heard)
    return (problems[0] if problems else f"no answer within {timeout:g} seconds"), {}


def _ask(endpoint: str, model: str, token: str | None, timeout: float) -> Answered:
    """Whether a model is gated, and whether this user may load it."""
    status, content = _request(f"{endpoint}/api/models/{model}", "GET", token, timeout)
    if status in {401, 403, 404}:
        return None, "unknown"
    facts: Any = json.loads(content)
    if not (isinstance(facts, dict) and facts.get("gated")):
        return False, "granted"
    status, _ = _request(f"{endpoint}/{model}/resolve/main/config.json", "HEAD", token, timeout)
    return True, "refused" if status in {401, 403} else "granted"  # 404: it may be looked at and has no such file


def _request(url: str, method: str, token: str | None, timeout: float) -> tuple[int, bytes]:
    """Status and content of an answer; errors other than no access and nothing there are raised."""
    headers = {"User-Agent": "aczerots"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code not in {401, 403, 404}:
            raise
        return error.code, b""


def _token() -> str | None:
    """The token of the hub's own library: from the environment, else from its file."""
    if token := os.environ.get("HF_TOKEN"):
        return token.strip() or None
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    try:
        return (home / "token").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None  # not signed in


def hub_cache() -> Path:
    """Where the hub's own library keeps models."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def _is_cached(model: str) -> bool:
    """Whether a snapshot of a model is there."""
    snapshots = hub_cache() / f"models--{model.replace('/', '--')}" / "snapshots"
    return any(snapshots.glob("*/*"))
