"""Over a real connection to a server that speaks the protocol: tests/chat_server.py."""

import json
import socket
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_server import ChatServer, completes, completion, fails, hangs_up, resets, says, waits, written
from mllctl.backends.llm import ANSWERS, LanguageModel, parse_captions, read_answer
from mllctl.errors import ExtraMissing, InvalidTask, LanguageModelFailed, NoCaptions

PROMPT = "Write about a crane, as JSON."
QUICK = {"retry_after_ms": "1"}

# Answers that are of no use, though the next may be -> what is said of them.
USELESS = {
    "cut off at the limit": (completes('{"captions": ["a', finish_reason="length"), "was cut off at the model's limit"),
    "cut off in the text": (completes('{"captions": ["a", "b'), "was no JSON object, or not all of it"),
    "cut off in the body": (says(json.dumps(completion("{}")).encode()[:-20]), "was not JSON, or not all of it"),
    "cut off in a letter": (says('{"choices": ["é'.encode()[:-1]), "was not JSON, or not all of it"),
    "nothing": (says(b""), "was not JSON"),
    "no JSON": (completes("Here are your captions: a crane, a crane."), "was no JSON object"),
    "too deep": (completes('{"a":' * 100_000 + "}" * 100_000), "was no JSON object"),
    "a page": (says(b"<html>Bad gateway</html>", "text/html"), "was not JSON"),
    "no choice": (says(b'{"choices": []}'), "held no text"),
    "a null choice": (says(b'{"choices": null}'), "held no text"),
    "no message": (says(b'{"choices": [{}]}'), "held no text"),
    "a list": (says(b"[1]"), "held no text"),
    "an empty text": (completes(""), "was no JSON object"),
    "a null text": (says(json.dumps(completion(None)).encode()), "held no text"),
    "an error that is called a success": (says(b'{"error": {"message": "overloaded."}}'), "was an error: overloaded"),
    "another name": (completes('{"descriptions": ["a", "b"]}'), 'had no list of texts named "captions"'),
    "no list": (completes('{"captions": "a"}'), 'had no list of texts named "captions"'),
    "objects": (completes('{"captions": [{"caption": "a"}, {"caption": "b"}]}'), "had no list of texts"),
    "too few": (completes('{"captions": ["a"]}'), "had 1 captions that differ, not 2"),
    "the same twice": (completes('{"captions": ["a", " a "]}'), "had 1 captions that differ, not 2"),
    "empty captions": (completes('{"captions": ["a", "", " "]}'), "had 1 captions that differ, not 2"),
    "half a letter": (completes('{"captions": ["a", "\\ud83d"]}'), "held half a letter"),
}

# A reply after which it makes no sense to ask again -> what is said of it.
REFUSALS = {
    "refused": (completes(refusal="I can't help with that."), "the model refused: I can't help with that;"),
    "filtered": (completes("", finish_reason="content_filter"), "the server's filter held the answer back"),
    "filtered before": (fails(400, "The prompt was filtered.", "content_filter"), "filter refused the prompt"),
}

# Status and message of a server that will answer no class -> what is said, and how often it is asked.
FAILURES = [
    (400, "max_tokens is too small", "the server refused: max_tokens is too small", 2),
    (401, "Incorrect API key provided.", "the key was refused (Incorrect API key provided); set OPENAI_API_KEY", 1),
    (403, "Country not supported", "the key may not do this (Country not supported); set OPENAI_API_KEY", 1),
    (404, "No such deployment", "no such model or path (No such deployment); check --model and --base-url", 1),
    (413, "Too large", "the server refused: Too large", 1),
    (429, "You exceeded your quota", "too much was asked (You exceeded your quota); wait, then run the same", 3),
    (500, "Out of memory", "the server failed (Out of memory); run the same command again", 3),
    (503, "Loading the model", "the server failed (Loading the model); run the same command again", 3),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    with ChatServer() as server:
        yield server


def ask(server, n=2, timeout=20.0, retries=2, model="writer"):
    with LanguageModel(model, server.url, timeout, retries) as asked:
        return asked.write("crane", PROMPT, n)


def test_a_question_is_one_message_that_wants_json(server):
    assert ask(server) == tuple(written(PROMPT)[:2])
    assert server.questions == [
        {
            "model": "writer",
            "messages": [{"role": "user", "content": PROMPT}],
            "response_format": {"type": "json_object"},
        }
    ]


def test_the_key_comes_from_the_environment_and_may_be_absent(server, monkeypatch):
    ask(server)
    server.key = "sk-secret"
    with pytest.raises(LanguageModelFailed, match="the key was refused"):
        ask(server)
    monkeypatch.setenv("OPENAI_API_KEY", " sk-secret\n")
    ask(server)
    assert server.keys == ["Bearer none", "Bearer none", "Bearer sk-secret"]


def test_the_address_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    with LanguageModel("writer") as asked:
        asked.write("crane", PROMPT, 1)
    assert server.prompts == [PROMPT]


@pytest.mark.parametrize("reply", [case[0] for case in USELESS.values()], ids=USELESS)
def test_an_answer_of_no_use_is_asked_for_again(server, reply):
    server.replies += [reply]
    assert ask(server, retries=0) == tuple(written(PROMPT)[:2])
    assert server.prompts == [PROMPT] * 2


@pytest.mark.parametrize(("reply", "reason"), USELESS.values(), ids=USELESS)
def test_answers_of_no_use_leave_the_class_without_captions(server, reply, reason):
    server.replies += [reply] * ANSWERS
    with pytest.raises(NoCaptions) as failure:
        ask(server, retries=0)
    assert str(failure.value).startswith("no captions of 'crane': 3 answers in a row were of no use; the last ")
    assert reason in failure.value.reason
    assert failure.value.class_ == "crane"
    assert len(server.questions) == ANSWERS


@pytest.mark.parametrize(("reply", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_not_asked_for_again(server, reply, reason):
    server.replies += [reply]
    with pytest.raises(NoCaptions) as failure:
        ask(server)
    assert reason in str(failure.value)
    assert len(server.questions) == 1


@pytest.mark.parametrize(("status", "message", "reason", "asked"), FAILURES)
def test_a_server_that_answers_no_class_is_an_error_that_says_what_to_do(server, status, message, reason, asked):
    server.replies += [fails(status, message, **QUICK)] * 3
    with pytest.raises(LanguageModelFailed) as failure:
        ask(server)
    assert str(failure.value).startswith(f"writer at 127.0.0.1:{server.server_port}: {reason}")
    assert "\n" not in str(failure.value)
    assert len(server.questions) == asked


def test_an_unknown_model_is_an_error_that_says_so(server):
    with pytest.raises(LanguageModelFailed, match="The model `wirter` does not exist"):
        ask(server, model="wirter")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_a_server_that_is_busy_is_asked_again(server, status):
    server.replies += [fails(status, "busy", **QUICK)] * 2
    assert ask(server) == tuple(written(PROMPT)[:2])
    assert len(server.questions) == 3


def test_retry_after_is_waited_for(server):
    server.replies += [fails(429, "slow down", retry_after="2")]
    start = time.monotonic()
    ask(server)
    assert time.monotonic() - start >= 2  # the library's own first pause is half a second at most


@pytest.mark.parametrize("reply", [resets(), hangs_up(), waits(60)], ids=["reset", "hung up", "slow"])
def test_a_connection_that_fails_is_tried_again(server, reply):
    server.replies += [reply]
    assert ask(server, timeout=0.5) == tuple(written(PROMPT)[:2])
    assert len(server.questions) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (resets(), "the connection failed; check --base-url, then run the same command again"),
        (hangs_up(), "the connection failed; check --base-url, then run the same command again"),
        (waits(60), "no answer within 0.2 s; run the same command again, which goes on from here, or set --timeout"),
    ],
    ids=["reset", "hung up", "slow"],
)
def test_a_connection_that_fails_too_often_is_an_error(server, reply, reason):
    server.replies += [reply]
    with pytest.raises(LanguageModelFailed) as failure:
        ask(server, timeout=0.2, retries=0)
    assert failure.value.reason.startswith(reason)


def test_a_server_that_is_not_there_is_an_error_without_its_password():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = LanguageModel("writer", f"http://user:secret@127.0.0.1:{port}/v1", retries=0)
    with model as asked, pytest.raises(LanguageModelFailed, match="the connection failed") as failure:
        asked.write("crane", PROMPT, 1)
    assert str(failure.value).startswith(f"writer at 127.0.0.1:{port}: ")
    assert "secret" not in str(failure.value)


def test_a_server_without_json_mode_is_asked_in_words_from_then_on(server):
    server.knows_json_mode = False
    with LanguageModel("writer", server.url) as asked:
        assert asked.write("crane", PROMPT, 2) == asked.write("heron", PROMPT, 2) == tuple(written(PROMPT)[:2])
    assert ["response_format" in question for question in server.questions] == [True, False, False]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000/v1",
        "ftp://localhost/v1",
        "http://",
        "http:///v1",
        "http://[",
        "http://localhost:port/v1",
        "http://localhost:99999",
        "http://local host/v1",
        "http://localhost\n/v1",
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_asked(url, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(InvalidTask, match="no address of a server; write one such as http"):
        LanguageModel("writer", url or None)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises(InvalidTask, match="timeout must be more than 0"):
        LanguageModel("writer", "http://localhost/v1", timeout)


@pytest.mark.parametrize("key", ["“sk-1”", "sk-1\nsk-2"])
def test_what_is_no_key_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(InvalidTask, match="OPENAI_API_KEY holds letters that no key has") as refusal:
        LanguageModel("writer", "http://localhost/v1")
    assert "sk-1" not in str(refusal.value)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ExtraMissing) as failure:
        LanguageModel("writer")
    assert str(failure.value) == (
        "mllctl needs the 'llm' extra to ask a language model for captions; pip install 'mllctl[llm]'"
    )


# -- what is in an answer -----------------------------------------------------------------------------

# Letters that JSON, code fences and the search for braces may stumble over.
text = st.text(st.sampled_from('ab {}[]"\\,:\n`é🐦'), min_size=1).filter(str.strip)
captions = st.lists(text, min_size=1, max_size=4, unique_by=lambda caption: " ".join(caption.split()))


@given(captions, st.text(st.sampled_from("Sure ,:\n`json[]")), st.text(st.sampled_from("\n `Done.]")), st.data())
def test_captions_are_found_whatever_stands_around_them(given_, before, after, data):
    n = data.draw(st.integers(1, len(given_)))
    answer = before + json.dumps({"captions": given_}, ensure_ascii=data.draw(st.booleans())) + after
    assert parse_captions(answer, n) == tuple(" ".join(caption.split()) for caption in given_[:n])


@given(captions, st.data())
def test_no_part_of_an_answer_is_taken_for_the_whole(given_, data):
    answer = json.dumps({"captions": given_})
    length = data.draw(st.integers(0, len(answer) - 1))
    with pytest.raises(ValueError, match="was no JSON object, or not all of it"):
        parse_captions(answer[:length], 1)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "content", "refusal", "finish_reason", "error"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_a_server_says_is_captions_or_of_no_use_or_a_refusal(answer):
    with pytest.raises((ValueError, NoCaptions)):
        read_answer("crane", json.dumps(answer).encode(), 1)
