"""New descriptions: from the bundle where it knows the class, otherwise written by a language model and checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aczerots.config import cache_folder
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError, SettingsError
from aczerots.storage.files import write_text_atomic
from aczerots.text.chat import Endpoint, ask, find_endpoint
from aczerots.text.descriptions import bundled_descriptions, bundled_source, name_key

AT_LEAST = 6
SHORTEST, LONGEST = 4, 40
"""Words of a sentence. CLIP reads 77 tokens, about 50 words; longer texts are split, and each piece says less."""

SYSTEM = "You are a pathologist who describes tissue in H&E stained sections for other pathologists."
PROMPT = """\
Describe how "{name}" looks in an H&E stained section under the light microscope.

Write 8 sentences in English. Each sentence must be understood alone, so name the tissue or the structure in it and \
never begin with "It", "They" or "This". Say what is seen, not what it means: architecture, cell size and shape, \
nuclei, chromatin, cytoplasm, matrix, colors, white spaces. Begin at least one sentence with "At low power," and at \
least one with "At high power,". Use 6 to 30 words for each sentence. Do not mention stains other than H&E, grades, \
prognosis or treatment.

Answer with a JSON list of 8 strings and nothing else."""
AGAIN = "This cannot be used: {reason}. Answer with a JSON list of 8 different sentences and nothing else."


@dataclass(frozen=True)
class Described:
    """Sentences on one class, and where they come from.

    Attributes:
        name: The class.
        sentences: At least :data:`AT_LEAST`, all different.
        origin: ``source`` of the bundle, or ``model``, ``prompt`` and ``answer`` (hashes) of a language model.
    """

    name: str
    sentences: tuple[str, ...]
    origin: dict[str, str] = field(default_factory=dict)


def messages_for(name: str) -> list[dict[str, str]]:
    """What is sent for a class: text only, never an image."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT.format(name=name)}]


def describe(name: str, endpoint: Endpoint | None, cache: Path, *, bundle: bool = True) -> Described:
    """Sentences on how a class looks.

    Args:
        name: The class.
        endpoint: Whom to ask if the bundle does not know it; None asks nobody.
        cache: Folder where answers are kept, by model and prompt.
        bundle: False asks the model even for classes of the bundle.

    Raises:
        InputError: Nobody can be asked, the server does not answer, or not in usable sentences.
        StorageError: The answer cannot be kept.
    """
    known = bundled_descriptions(name) if bundle else None
    if known is not None:
        return Described(name, known, {"source": bundled_source(name) or ""})
    if endpoint is None:
        raise InputError(f"the bundle does not know '{name}'", fix="Set OPENAI_BASE_URL to ask a language model")
    messages = messages_for(name)
    prompt = _hash(json.dumps(messages))
    path = cache / "descriptions" / f"{_hash(json.dumps([endpoint.model, prompt]))}.json"
    answer = _kept(path)
    if answer is None:
        answer = _ask_twice(name, endpoint, messages)
        kept = {"class": name, "model": endpoint.model, "prompt": prompt, "answer": answer}
        write_text_atomic(path, json.dumps(kept, indent=1) + "\n")
    origin = {"model": endpoint.model, "prompt": prompt, "answer": _hash(answer)}
    return Described(name, read_answer(answer), origin)


def describe_all(  # noqa: PLR0913  # keyword-only: one per option of the command
    names: Sequence[str],
    *,
    url: str | None = None,
    model: str | None = None,
    timeout: float = 120.0,
    bundle: bool = True,
    out: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[Described]:
    """Describe several classes as :func:`describe` does, and write the file, if there is to be one.

    Args:
        names: The classes; each must be there once.
        url: Base URL of the server; None takes the environment's.
        model: Name of the model, likewise.
        timeout: Seconds to wait for an answer.
        bundle: False asks the model even for classes of the bundle.
        out: File to write; must not exist.
        cache: Folder where answers are kept; None takes the user's.
        progress: Receives progress.

    Raises:
        SettingsError: A class is named twice, or no server or no model is named, though one is needed.
        InputError: A class cannot be described, or the file exists.
    """
    progress = progress or Silent()
    if len({name_key(n) for n in names}) < len(names):
        raise SettingsError("a class is named twice", fix="Name each class once")
    if out is not None and out.exists():
        raise InputError("exists already", where=out, fix="Choose another --out; yours may hold corrections")
    known = bundle and all(bundled_descriptions(n) is not None for n in names)
    endpoint = None if known else find_endpoint(os.environ, url, model, timeout)
    described = []
    for i, name in enumerate(names):
        described.append(describe(name, endpoint, cache or cache_folder(), bundle=bundle))
        progress.step("describe", i + 1, len(names))
    if out is not None:
        write_text_atomic(out, as_yaml(described))
    return described


def _kept(path: Path) -> str | None:
    """A kept answer that is still usable."""
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))["answer"]
        read_answer(answer)
    except (OSError, ValueError, LookupError, TypeError, InputError):
        return None  # not there, or damaged: asking again costs little
    return str(answer)


def _ask_twice(name: str, endpoint: Endpoint, messages: Sequence[dict[str, str]]) -> str:
    """A usable answer; if the first is not, the model is told once what is wrong with it."""
    asked = list(messages)
    for _ in range(2):
        answer = ask(endpoint, asked)
        try:
            read_answer(answer)
            return answer
        except InputError as error:
            told = {"role": "user", "content": AGAIN.format(reason=error.what)}
            asked += [{"role": "assistant", "content": answer}, told]
            reason = error
    what = f"the model '{endpoint.model}' gives no usable description of '{name}': {reason.what}"
    fix = "Try another model, or write the sentences yourself"
    raise InputError(what, where=endpoint.url, fix=fix) from reason


def read_answer(text: str) -> tuple[str, ...]:
    """The sentences of an answer: a JSON list, in a fence or not, or a line each.

    Raises:
        InputError: Fewer than :data:`AT_LEAST` different sentences, or one that is none.
    """
    text = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL)
    lines = _from_json(text)
    if lines is None:
        listed = re.findall(r"^\s*(?:[-*\u2022]|\d+[.)])\s+(.+)$", text, re.MULTILINE)
        lines = [line.strip().strip('"') for line in listed]
    sentences = tuple(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    if len(sentences) < AT_LEAST:
        shown = " ".join(text.split())[:60]
        raise InputError(f"it has {len(sentences)} different sentences, not {AT_LEAST} or more ('{shown}...')")
    for sentence in sentences:
        words = len(sentence.split())
        if not SHORTEST <= words <= LONGEST or not sentence.endswith((".", "!")):
            raise InputError(f"'{sentence[:60]}' is no sentence of {SHORTEST} to {LONGEST} words with a full stop")
    return sentences


def _from_json(text: str) -> list[str] | None:
    """The strings of the first JSON list in a text; None if there is none."""
    for start in (m.start() for m in re.finditer(r"\[", text)):
        try:
            value: Any = json.JSONDecoder().raw_decode(text[start:])[0]
        except ValueError:
            continue
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            return value
    return None


def as_yaml(described: Sequence[Described]) -> str:
    """A file that ``--descriptions`` reads; its classes can also be pasted into ``dataset.yaml``."""
    models = sorted({d.origin["model"] for d in described if "model" in d.origin})
    bundled = any("source" in d.origin for d in described)
    sources = [*(["the bundle of aczerots"] if bundled else []), *(f"the language model {m}" for m in models)]
    content = {
        "picture": "histology",
        "sources": sources,
        "classes": [{"name": d.name, "descriptions": list(d.sentences)} for d in described],
        "origins": {d.name: d.origin for d in described},
    }
    head = "# Sentences on how classes look. Let a pathologist read what a language model wrote before you rely on it."
    return f"{head}\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _hash(text: str) -> str:
    """First 16 hex digits of the SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
