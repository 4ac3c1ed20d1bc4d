"""Language models behind any server that speaks OpenAI's chat completions. The only importer of `openai`.

A prompt goes in, n captions come out. What the network does to an answer is the library's concern: after a lost
connection, a time-out, a 5xx or a 429 it waits, as long as Retry-After says or ever longer, and asks again. What the
model makes of a question is ours: an answer that is cut off, no JSON or too little is asked for again, a refusal is
not. Two errors tell a class that has no captions from a server that has none for any class.

Nothing here knows the paper's prompt, or keeps an answer.
"""

import json
import os
import textwrap
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mllctl.errors import ExtraMissing, InvalidTask, LanguageModelFailed, NoCaptions

if TYPE_CHECKING:
    from openai import APIError

TIMEOUT = 120.0  # seconds; ten captions are 700 tokens, and a small machine writes 10 tokens a second
RETRIES = 4  # the library's pauses are 0.5, 1, 2 and 4 s where the server names none
ANSWERS = 3  # of no use in a row, then the class has no captions
LONGEST_TIMEOUT = 86_400.0
NO_KEY = "none"  # the library wants a key where a local server does not

_JSON = {"response_format": {"type": "json_object"}}
_AGAIN = "run the same command again, which goes on from here"


class LanguageModel:
    """One model of one server. A context, since it keeps a connection open."""

    def __init__(
        self, name: str, base_url: str | None = None, timeout: float = TIMEOUT, retries: int = RETRIES
    ) -> None:
        """Connect to nothing yet.

        Args:
            name: as the server calls the model.
            base_url: of the server, up to what stands before `/chat/completions`; None means $OPENAI_BASE_URL, else
                OpenAI. The key is $OPENAI_API_KEY.
            timeout: seconds to wait for an answer.
            retries: how often the library asks again after the network or the server failed.

        Raises:
            ExtraMissing: if the library is not installed.
            InvalidTask: if the address, the key or the time is none.
        """
        try:
            import openai
        except ImportError as error:
            raise ExtraMissing("llm", "ask a language model for captions") from error
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise InvalidTask(f"timeout must be more than 0 and at most {LONGEST_TIMEOUT:g} seconds, got {timeout:g}")
        self.name = name
        self._timeout = timeout
        self._format: dict[str, Any] = _JSON
        self._client = openai.OpenAI(
            api_key=_api_key(), base_url=_checked_url(base_url), timeout=timeout, max_retries=retries
        )

    def __enter__(self) -> "LanguageModel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def write(self, class_: str, prompt: str, n: int) -> tuple[str, ...]:
        """Return n captions of a class.

        Raises:
            NoCaptions: if the model refuses, or ANSWERS answers in a row are of no use.
            LanguageModelFailed: if the server has no answer, whatever the class.
        """
        reason = ""
        for _ in range(ANSWERS):
            body = self._ask(class_, prompt)
            try:
                return read_answer(class_, body, n)
            except ValueError as error:
                reason = str(error)
        raise NoCaptions(class_, f"{ANSWERS} answers in a row were of no use; the last {reason}")

    def _ask(self, class_: str, prompt: str) -> bytes:
        """Return the body of an answer."""
        import openai

        try:
            try:
                return self._post(prompt)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if error.code == "content_filter":  # as Azure has it
                    raise NoCaptions(class_, f"the server's filter refused the prompt ({_said(error)})") from error
                if not self._format:
                    raise
                # Some servers know no `response_format`, and the prompt asks for JSON anyway.
                self._format = {}
                return self._post(prompt)
        except openai.APIError as error:
            raise self._failed(error) from error

    def _post(self, prompt: str) -> bytes:
        # The raw response: of a body that is cut off, the library would make an error that is none of its own.
        response = self._client.chat.completions.with_raw_response.create(
            model=self.name, messages=[{"role": "user", "content": prompt}], **self._format
        )
        return bytes(response.http_response.content)

    def _failed(self, error: "APIError") -> LanguageModelFailed:
        # Host and port only: an address may hold a password.
        server = self._client.base_url.netloc.decode()
        return LanguageModelFailed(self.name, server, _reason(error, self._timeout))


def read_answer(class_: str, body: bytes, n: int) -> tuple[str, ...]:
    """Return the n captions that the body of a chat completion holds.

    Raises:
        NoCaptions: if it is a refusal.
        ValueError: if it is of no use, though another may be; the message goes on after "the answer".
    """
    match _parse(body.decode("utf-8", "replace"), "was not JSON, or not all of it"):
        case {"choices": [{"message": {"refusal": str(refusal)}}, *_]} if refusal:
            raise NoCaptions(class_, f"the model refused: {_shorten(refusal)}")
        case {"choices": [{"finish_reason": "content_filter"}, *_]}:
            raise NoCaptions(class_, "the server's filter held the answer back")
        case {"choices": [{"finish_reason": "length"}, *_]}:
            raise ValueError("was cut off at the model's limit; ask for fewer with -n")
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return parse_captions(text, n)
        case {"error": {"message": str(said)}}:
            raise ValueError(f"was an error: {_shorten(said)}")
    raise ValueError("held no text")


def parse_captions(text: str, n: int) -> tuple[str, ...]:
    """Return the first n captions of `{"captions": [...]}`, which words or a code fence may surround.

    Raises:
        ValueError: if there is no such thing, or it has less than n captions that differ; the message goes on after
            "the answer".
    """
    answer = _parse(text[text.find("{") : text.rfind("}") + 1], "was no JSON object, or not all of it")
    captions = answer.get("captions") if isinstance(answer, dict) else None
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise ValueError('had no list of texts named "captions"')
    lines = [" ".join(caption.split()) for caption in captions]
    whole = list(dict.fromkeys(line for line in lines if line))
    if any("\ud800" <= letter <= "\udfff" for line in whole for letter in line):
        raise ValueError("held half a letter")
    if len(whole) < n:
        raise ValueError(f"had {len(whole)} captions that differ, not {n}; ask for fewer with -n")
    return tuple(whole[:n])


def _parse(text: str, reason: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(reason) from error


def _api_key() -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip() or NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise InvalidTask("OPENAI_API_KEY holds letters that no key has; set it again")
    return key


def _checked_url(base_url: str | None) -> str | None:
    """Refuse what the library would take for an address and fail to reach again and again."""
    url = base_url or os.environ.get("OPENAI_BASE_URL")
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        named = False
    if not named or not url.isprintable() or " " in url:
        raise InvalidTask(f"{url!r} is no address of a server; write one such as http://localhost:8000/v1")
    return url


def _reason(error: "APIError", timeout: float) -> str:
    """Say why a server has no answer, and what to do."""
    import openai

    said = _said(error)
    reasons = (
        (openai.APITimeoutError, f"no answer within {timeout:g} s; {_AGAIN}, or set --timeout longer or -n lower"),
        (openai.APIConnectionError, f"the connection failed; check --base-url, then {_AGAIN}"),
        (openai.RateLimitError, f"too much was asked ({said}); wait, then {_AGAIN}"),
        (openai.AuthenticationError, f"the key was refused ({said}); set OPENAI_API_KEY"),
        (openai.PermissionDeniedError, f"the key may not do this ({said}); set OPENAI_API_KEY"),
        (openai.NotFoundError, f"no such model or path ({said}); check --model and --base-url, often .../v1"),
        (openai.InternalServerError, f"the server failed ({said}); {_AGAIN}"),
    )
    return next((reason for kind, reason in reasons if isinstance(error, kind)), f"the server refused: {said}")


def _said(error: "APIError") -> str:
    """Return the server's own words; the library's hold them as a dictionary."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return _shorten(message if isinstance(message, str) else error.message)


def _shorten(text: str) -> str:
    return textwrap.shorten(text, 200, placeholder=" ...").rstrip(".")
