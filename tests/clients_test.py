#!/usr/bin/env python3
"""The official Python clients against `cadre serve`: openai and mistralai as they are now, and mistralai 0.x, whose MistralClient older
articles show. The clients are installed into virtual environments of their own; CADRE_CLIENTS names a folder to keep these in. Without a network the test is skipped (exit status 77).

A session runs in its own environment: clients_test.py SESSION TINY_URL NANO_URL."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SKIPPED = 77
QUESTION = [{"role": "user", "content": "Tell me about the river."}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "old": {"type": "boolean"}, "kind": {"enum": ["cat", "dog"]}},
    "required": ["name", "old", "kind"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


def check_schema(text):
    value = json.loads(text)
    assert set(value) == {"name", "old", "kind"}, value
    assert isinstance(value["name"], str) and len(value["name"]) <= 8, value
    assert isinstance(value["old"], bool) and value["kind"] in ("cat", "dog"), value


def check_arguments(arguments):
    value = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert value["city"] in ("Paris", "Rome") and 1 <= value["days"] <= 9, value


def check_call_id(identifier):
    assert re.fullmatch("[a-zA-Z0-9]{9}", identifier), identifier


def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


# --- openai ---------------------------------------------------------------------------------------------------------


def openai_chat(client, openai):
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=8, seed=1)
    assert answer.object == "chat.completion" and answer.choices[0].message.role == "assistant"
    assert isinstance(answer.choices[0].message.content, str)
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    again = client.chat.completions.create(model="owner/TINY", messages=QUESTION, max_completion_tokens=8, seed=1)
    assert again.choices[0].message.content == answer.choices[0].message.content
    assert again.usage.prompt_tokens_details.cached_tokens >= 0
    several = client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=4, n=3, temperature=1.5, stop=["zz"])
    assert [choice.index for choice in several.choices] == [0, 1, 2]


def openai_stream(client, openai):
    whole = client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=12, seed=2)
    options = {"include_usage": True}
    stream = client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=12, seed=2, stream=True, stream_options=options)
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, (text, whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def openai_logprobs(client, openai):
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=5, logprobs=True, top_logprobs=3, temperature=0)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    for token in content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == max(other.logprob for other in token.top_logprobs)
        assert token.token == token.top_logprobs[0].token


def openai_tools(client, openai):
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, tools=[WEATHER], tool_choice="required", max_tokens=400,
                                            parallel_tool_calls=False, seed=3)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and not choice.message.content, choice
    call = choice.message.tool_calls[0]
    check_call_id(call.id)
    assert call.function.name == "get_weather"
    check_arguments(call.function.arguments)
    messages = [*QUESTION, choice.message, {"role": "tool", "tool_call_id": call.id, "content": "{\"degrees\": 20}"}]
    reply = client.chat.completions.create(model="tiny", messages=messages, tools=[WEATHER], tool_choice="none", max_tokens=5)
    assert reply.choices[0].message.content is not None
    named = {"type": "function", "function": {"name": "get_weather"}}
    calls = {}
    stream = client.chat.completions.create(model="tiny", messages=QUESTION, tools=[WEATHER], tool_choice=named, max_tokens=400,
                                            stream=True, seed=4, parallel_tool_calls=False)
    for chunk in stream:
        for delta in chunk.choices[0].delta.tool_calls or []:
            calls[delta.index] = (delta.id, delta.function.name, calls.get(delta.index, ("", "", ""))[2] + delta.function.arguments)
    assert calls[0][1] == "get_weather"
    check_arguments(calls[0][2])


def openai_schema(client, openai):
    form = {"type": "json_schema", "json_schema": {"name": "pet", "strict": True, "schema": SCHEMA}}
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, response_format=form, max_tokens=400, temperature=1.2)
    assert answer.choices[0].finish_reason == "stop"
    check_schema(answer.choices[0].message.content)
    import pydantic

    class Pet(pydantic.BaseModel):
        old: bool
        legs: int

    parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
    try:
        parsed = parse(model="tiny", messages=QUESTION, response_format=Pet, max_tokens=400).choices[0].message.parsed
        assert isinstance(parsed.old, bool) and isinstance(parsed.legs, int)
    except openai.LengthFinishReasonError:
        pass  # an integer may have many digits


def openai_completions(client, openai):
    answer = client.completions.create(model="tiny", prompt="The river", max_tokens=4, echo=True, logprobs=2, n=2, seed=5)
    assert answer.object == "text_completion" and len(answer.choices) == 2
    choice = answer.choices[0]
    assert choice.text.startswith("The river")
    assert len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs) == len(choice.logprobs.text_offset)
    assert choice.logprobs.token_logprobs[0] is None
    chunks = list(client.completions.create(model="tiny", prompt=["a", "b"], max_tokens=4, stream=True, seed=5))
    assert {chunk.choices[0].index for chunk in chunks} == {0, 1}


def openai_embeddings(client, openai):
    encoded = client.embeddings.create(model="tiny", input=["one", "two"])  # the client asks for base64
    floats = client.embeddings.create(model="tiny", input=["one", "two"], encoding_format="float")
    for a, b in zip(encoded.data, floats.data):
        assert len(a.embedding) == 64 and max(abs(x - y) for x, y in zip(a.embedding, b.embedding)) < 1e-6
        assert abs(sum(x * x for x in a.embedding) - 1) < 1e-4
    assert encoded.usage.prompt_tokens == encoded.usage.total_tokens > 0


def openai_models(client, openai):
    models = list(client.models.list())
    assert {"tiny", "mistral-tiny"} <= {model.id for model in models}, models
    assert client.models.retrieve("mistral-tiny").id == "mistral-tiny"
    assert client.models.retrieve("owner/tiny").object == "model"


def openai_moderation(client, openai):
    result = client.moderations.create(input="Good morning.").results[0]
    assert result.flagged in (True, False)


def openai_errors(client, openai):
    def chat(**more):
        return lambda: client.chat.completions.create(**{"model": "tiny", "messages": QUESTION, "max_tokens": 4, **more})

    error = raised(openai.NotFoundError, chat(model="gpt-4"))
    assert error.code == "model_not_found" and error.param == "model"
    error = raised(openai.UnprocessableEntityError, chat(temperature=9))
    assert error.param == "temperature" and "9" in error.message
    raised(openai.BadRequestError, chat(messages=[*QUESTION, {"role": "assistant", "content": "x"}]))
    error = raised(openai.BadRequestError, chat(messages=[{"role": "user", "content": "word " * 5000}]))
    assert error.code == "context_length_exceeded"
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    raised(openai.BadRequestError, chat(response_format=form))


def openai_experts(client, openai):
    answer = client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=4, seed=1,
                                            extra_body={"experts_per_token": 3, "routing": True, "min_tokens": 4})
    tokens = answer.choices[0].model_extra["routing"]["tokens"]
    assert len(tokens) == 4 and all(len(layer) == 3 for layer in tokens[0]["experts"])
    assert answer.usage.model_extra["experts_per_token"] == 3


def session_openai(tiny, nano):
    import openai

    client = openai.OpenAI(base_url=tiny + "/v1", api_key="any", max_retries=0)
    for part in (openai_chat, openai_stream, openai_logprobs, openai_tools, openai_schema, openai_completions, openai_embeddings,
                 openai_models, openai_moderation, openai_errors, openai_experts):
        part(client, openai)
        print("  ", part.__name__)
    plain = openai.OpenAI(base_url=nano + "/v1", api_key="any", max_retries=0)
    error = raised(openai.BadRequestError, lambda: plain.chat.completions.create(model="nano", messages=QUESTION, tools=[WEATHER]))
    assert error.param == "tools"


# --- mistralai as it is now -------------------------------------------------------------------------------------------


def mistral_chat(client):
    answer = client.chat.complete(model="mistral-tiny", messages=QUESTION, max_tokens=8, random_seed=1, safe_prompt=True)
    assert isinstance(answer.choices[0].message.content, str)
    assert answer.usage.prompt_tokens > 0 and answer.choices[0].finish_reason in ("stop", "length")
    prefix = [*QUESTION, {"role": "assistant", "content": "Once", "prefix": True}]
    continued = client.chat.complete(model="tiny", messages=prefix, max_tokens=4)
    assert continued.choices[0].message.content.startswith("Once")


def mistral_stream(client):
    whole = client.chat.complete(model="tiny", messages=QUESTION, max_tokens=12, random_seed=2)
    text, usage, reason = "", None, None
    for event in client.chat.stream(model="tiny", messages=QUESTION, max_tokens=12, random_seed=2):
        text += event.data.choices[0].delta.content or ""
        usage = event.data.usage or usage
        reason = event.data.choices[0].finish_reason or reason
    assert text == whole.choices[0].message.content
    assert usage.completion_tokens == whole.usage.completion_tokens and reason == whole.choices[0].finish_reason


def mistral_tools(client):
    answer = client.chat.complete(model="tiny", messages=QUESTION, tools=[WEATHER], tool_choice="any", max_tokens=400,
                                  parallel_tool_calls=False)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    check_call_id(message.tool_calls[0].id)
    check_arguments(message.tool_calls[0].function.arguments)
    result = {"role": "tool", "name": "get_weather", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    reply = client.chat.complete(model="tiny", messages=[*QUESTION, message, result], max_tokens=4)
    assert isinstance(reply.choices[0].message.content, str)
    calls = []
    for event in client.chat.stream(model="tiny", messages=QUESTION, tools=[WEATHER], tool_choice="any", max_tokens=400,
                                    parallel_tool_calls=False):
        calls += event.data.choices[0].delta.tool_calls or []
    assert len(calls) == 1 and calls[0].function.name == "get_weather"
    check_arguments(calls[0].function.arguments)


def mistral_schema(client):
    form = {"type": "json_schema", "json_schema": {"name": "pet", "schema": SCHEMA, "strict": True}}
    answer = client.chat.complete(model="tiny", messages=QUESTION, response_format=form, max_tokens=400)
    check_schema(answer.choices[0].message.content)
    some = client.chat.complete(model="tiny", messages=QUESTION, response_format={"type": "json_object"}, max_tokens=400)
    if some.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(some.choices[0].message.content), dict)


def mistral_rest(client):
    answer = client.embeddings.create(model="tiny", inputs=["one", "two"])
    assert len(answer.data) == 2 and len(answer.data[0].embedding) == 64
    listed = {model.id: model for model in client.models.list().data}
    assert listed["tiny"].capabilities.completion_chat and listed["tiny"].capabilities.function_calling
    assert client.models.retrieve(model_id="mistral-tiny").max_context_length == 2048
    filled = client.fim.complete(model="tiny", prompt="a", suffix="b", max_tokens=4)
    assert isinstance(filled.choices[0].message.content, str)
    moderated = client.classifiers.moderate(model="tiny", inputs=["Good morning."])
    assert set(moderated.results[0].categories) == set(moderated.results[0].category_scores)


def mistral_errors(client, errors, nano_client):
    error = raised(errors.HTTPValidationError, lambda: client.chat.complete(model="tiny", messages=QUESTION, random_seed=-1))
    assert error.data.detail[0].loc[-1] == "random_seed"
    error = raised(errors.SDKError, lambda: client.chat.complete(model="unheard-of", messages=QUESTION))
    assert error.status_code == 404
    error = raised(errors.SDKError, lambda: nano_client.fim.complete(model="nano", prompt="a", suffix="b"))
    assert error.status_code == 400 and "middle" in str(error)


def session_mistral(tiny, nano):
    try:
        from mistralai.client import Mistral, errors
    except ImportError:  # 1.x
        from mistralai import Mistral
        from mistralai import models as errors
    client = Mistral(api_key="any", server_url=tiny)
    for part in (mistral_chat, mistral_stream, mistral_tools, mistral_schema, mistral_rest):
        part(client)
        print("  ", part.__name__)
    mistral_errors(client, errors, Mistral(api_key="any", server_url=nano))


# --- mistralai 0.x ----------------------------------------------------------------------------------------------------


def session_mistral_0(tiny, nano):
    from mistralai.client import MistralClient
    from mistralai.models.chat_completion import ChatMessage

    client = MistralClient(api_key="any", endpoint=tiny, max_retries=0)
    messages = [ChatMessage(role="user", content="What is the best French cheese?")]
    answer = client.chat(model="mistral-tiny", messages=messages, max_tokens=8, random_seed=1, safe_prompt=True)
    text = "".join(chunk.choices[0].delta.content or ""
                   for chunk in client.chat_stream(model="mistral-tiny", messages=messages, max_tokens=8, random_seed=1, safe_prompt=True))
    assert text == answer.choices[0].message.content, (text, answer)
    assert len(client.embeddings(model="mistral-tiny", input=["one"]).data[0].embedding) == 64
    assert "mistral-tiny" in {model.id for model in client.list_models().data}
    called = client.chat(model="mistral-tiny", messages=messages, tools=[WEATHER], tool_choice="any", max_tokens=400)
    check_arguments(called.choices[0].message.tool_calls[0].function.arguments)
    try:
        client.chat(model="unheard-of", messages=messages)
    except Exception as error:  # its class moved between releases
        assert "404" in str(error) or "not served" in str(error), error
    else:
        raise AssertionError("an unknown model was answered")


# --- the test ---------------------------------------------------------------------------------------------------------

SESSIONS = {
    "openai": (session_openai, ["openai"]),
    "mistralai": (session_mistral, ["mistralai"]),
    "mistralai 0.x": (session_mistral_0, ["mistralai<1"]),
}


def installed(folder, packages):
    """The Python of an environment with the packages, or nothing where they cannot be had."""
    python = folder / "bin" / "python"
    if (folder / "installed").exists():
        return python
    steps = [[sys.executable, "-m", "venv", str(folder)],
             [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]]
    for step in steps:
        result = subprocess.run(step, capture_output=True, text=True, check=False, timeout=600)
        if result.returncode != 0:
            print(result.stderr.strip()[-500:])
            return None
    (folder / "installed").touch()
    return python


def main():
    import tiny_instruct_model
    from server_process import Server

    skipped, failed = [], []
    with tempfile.TemporaryDirectory(prefix="cadre-clients-") as temporary:
        folder = pathlib.Path(os.environ.get("CADRE_CLIENTS", temporary))
        model = tiny_instruct_model.write(pathlib.Path(temporary) / "tiny")
        with Server("--alias", "mistral-tiny", "--context", "2048", model=model) as tiny, \
             Server() as nano:
            for name, (_, packages) in SESSIONS.items():
                python = installed(folder / re.sub(r"\W+", "-", name), packages)
                if python is None:
                    print(f"{name}: skipped, the client cannot be installed here")
                    skipped.append(name)
                    continue
                print(f"{name}:", flush=True)
                result = subprocess.run([str(python), __file__, name, tiny.url, nano.url], check=False, timeout=600)
                print("  passed" if result.returncode == 0 else "  FAILED", flush=True)
                if result.returncode != 0:
                    failed.append(name)
    if failed:
        return 1
    return SKIPPED if len(skipped) == len(SESSIONS) else 0


if __name__ == "__main__":
    if len(sys.argv) == 4:
        SESSIONS[sys.argv[1]][0](sys.argv[2], sys.argv[3])
    else:
        sys.exit(main())
