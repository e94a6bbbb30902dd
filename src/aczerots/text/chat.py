"""Asks any server that speaks the OpenAI chat-completions protocol: a hosted one, Ollama, vLLM, llama.cpp.

The standard library is enough for one POST. Redirects are not followed, because the key would go with them.
Nothing but the model's name and the text of the messages is ever sent.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from aczerots.errors import InputError, SettingsError

_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_TRIES = 4
_LONGEST_WAIT = 60.0
_LARGEST_ANSWER = 2_000_000
_UNREACHABLE = "Start the server, or check OPENAI_BASE_URL. Classes of the bundle need no server"


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and for which model.

    Attributes:
        url: Base URL, for example ``http://127.0.0.1:11434/v1``.
        model: Name of the model.
        key: Bearer token; None sends none.
        timeout: Seconds without any answer before it counts as unreachable.
    """

    url: str
    model: str
    key: str | None = None
    timeout: float = 120.0


def find_endpoint(
    environment: Mapping[str, str], url: str | None = None, model: str | None = None, timeout: float = 120.0
) -> Endpoint:
    """The endpoint from options, else from ``OPENAI_BASE_URL``, ``ACZEROTS_LLM_MODEL`` and ``OPENAI_API_KEY``.

    Raises:
        SettingsError: No URL or no model is given, or the URL is not one of the web.
    """
    url = url or environment.get("OPENAI_BASE_URL") or ""
    model = model or environment.get("ACZEROTS_LLM_MODEL") or ""
    if not url:
        fix = "Set OPENAI_BASE_URL or use --base-url, for example http://127.0.0.1:11434/v1 for a local Ollama"
        raise SettingsError("no language model is set up", fix=fix)
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise SettingsError(f"'{url}' is not the URL of a server", where="--base-url", fix="Write it with http://")
    if not model:
        raise SettingsError("no model is named", where=url, fix="Set ACZEROTS_LLM_MODEL or use --model")
    return Endpoint(url.rstrip("/"), model, environment.get("OPENAI_API_KEY") or None, timeout)


def ask(endpoint: Endpoint, messages: Sequence[Mapping[str, str]]) -> str:
    """The text that a model answers to messages of ``role`` and ``content``.

    A server that is busy is asked again, up to three times, after as long as it says or 1, 2, 4 seconds.

    Raises:
        InputError: Not reachable, refused, too busy, or the answer is not of the protocol.
    """
    body = json.dumps({"model": endpoint.model, "messages": [dict(m) for m in messages]}).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if endpoint.key is not None:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    request = urllib.request.Request(f"{endpoint.url}/chat/completions", body, headers)  # scheme is checked
    for attempt in range(1, _TRIES + 1):
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=endpoint.timeout) as response:
                return _content(response.read(_LARGEST_ANSWER), endpoint)
        except urllib.error.HTTPError as error:
            with error:
                said = _said(error.read(_LARGEST_ANSWER))
            if error.code not in _BUSY or attempt == _TRIES:
                raise _refusal(error.code, said, endpoint) from error
            time.sleep(_pause(error.headers, attempt))
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            what, fix = f"cannot be reached ({reason})", _UNREACHABLE
            if isinstance(reason, TimeoutError):
                what = f"gives no answer within {endpoint.timeout:g} seconds"
                fix = "Use a smaller model, or a longer --timeout"
            raise InputError(what, where=endpoint.url, fix=fix) from error
    raise AssertionError("the last attempt returns or raises")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Turns a redirect into an error, since headers with the key would follow it."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        """No request follows."""


def _pause(headers: Message, attempt: int) -> float:
    """Seconds to wait: what ``Retry-After`` says in seconds, within reason, else 1, 2, 4."""
    try:
        asked = float(headers.get("Retry-After", ""))
    except ValueError:
        asked = 2.0 ** (attempt - 1)
    return min(max(asked, 0.0), _LONGEST_WAIT)


def _content(raw: bytes, endpoint: Endpoint) -> str:
    """The text of the first choice."""
    try:
        message: Any = json.loads(raw)["choices"][0]["message"]
        text, refusal = message.get("content"), message.get("refusal")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        fix = "The base URL must be that of an OpenAI-compatible server; it usually ends in /v1"
        raise InputError("does not answer in the chat-completions form", where=endpoint.url, fix=fix) from error
    if not isinstance(text, str) or not text.strip():
        what = f"refuses: {refusal}" if refusal else "answers with no text"
        raise InputError(f"the model '{endpoint.model}' {what}", where=endpoint.url, fix="Try another model")
    return text


def _said(raw: bytes) -> str:
    """What a server says about an error, in one line."""
    try:
        error: Any = json.loads(raw)["error"]
    except (ValueError, LookupError, TypeError):
        return ""
    text = error.get("message", "") if isinstance(error, dict) else error
    return " ".join(str(text).split())[:200]


def _refusal(code: int, said: str, endpoint: Endpoint) -> InputError:
    """The error for an HTTP status."""
    known = {
        401: ("refuses the key", "Set OPENAI_API_KEY to a valid key"),
        403: ("refuses the key", "Set OPENAI_API_KEY to a key that may use this model"),
        404: (f"knows no model '{endpoint.model}', or is no such server", "Check --model; the URL usually ends in /v1"),
        429: ("is busy or the quota is used up", "Wait, then run the same command again: finished answers are kept"),
    }
    what, fix = known.get(code, (f"answers with HTTP status {code}", "Look into the log of the server"))
    return InputError(f"{what}: {said}" if said else what, where=endpoint.url, fix=fix)
