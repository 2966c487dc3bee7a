"""`POST /v1/chat/completions`: a conversation, with images where the model sees."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from beholder.data.conversations import MARK, without_marks
from beholder.inference.rolling import Row
from beholder.inference.sampling import SamplingConfig
from beholder.serve.engine import Engine, Ready
from beholder.serve.lane import Spent
from beholder.serve.pictures import listed, read_pictures
from beholder.serve.refusal import Refusal
from beholder.serve.schema import ASKS_FOR_NOTHING, ChatRequest, ImagePart, Message
from beholder.tasks.saying import NUM_TOKENS, Saying, Told
from beholder.tasks.talk import Asking

ABILITY = "chat/completions"


@dataclass(frozen=True)
class Prompted:
    """What the model reads, and how it answers."""

    tokens: list[int]
    shown: torch.Tensor | None
    told: Told
    notes: tuple[str, ...]
    """What the client should know."""
    spent: Spent


async def prepare_chat(engine: Engine, asked: ChatRequest) -> tuple[Ready, Prompted]:
    """Images are seen, and the conversation is written down. Raises Refusal for what cannot be answered."""
    ready = engine.find(asked.model, ABILITY)
    _refuse_unsupported(asked)
    turns, question, urls = _conversation(asked.messages)
    pictures = await read_pictures(listed("messages.image_url", urls), engine.config, "messages")
    if ready.served.writer is not None:
        return ready, _to_writer(engine, ready, asked, turns, question, pictures)
    return ready, await _to_talker(engine, ready, asked, turns, question, pictures)


def rows_of(asked: ChatRequest, prompted: Prompted) -> list[Row]:
    """One for each answer that is wanted, each with a seed of its own."""
    config = prompted.told.generation
    return [Row(prompted.tokens, config, asked.seed + number, prompted.shown) for number in range(asked.n)]


def completion(
    asked: ChatRequest, prompted: Prompted, rows: Sequence[Row]
) -> dict[str, Any]:  # fmt: skip
    """The whole answer."""
    choices = [
        {"index": number, "message": {"role": "assistant", "content": _text(prompted, row)},
         "finish_reason": _reason(prompted, row), "logprobs": None}
        for number, row in enumerate(rows)
    ]  # fmt: skip
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": int(time.time()),
        "model": asked.model, "choices": choices, "usage": _usage(prompted, rows),
        **({"notes": list(prompted.notes)} if prompted.notes else {}),
    }  # fmt: skip


async def events(
    ready: Ready, asked: ChatRequest, prompted: Prompted
) -> AsyncIterator[str]:  # fmt: skip
    """The answer in pieces, as server-sent events; the last is [DONE]."""
    assert ready.speaking is not None
    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time()),
        "model": asked.model,
    }  # fmt: skip

    def event(number: int, delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": number, "delta": delta, "finish_reason": reason, "logprobs": None}
        return _event({**head, "choices": [choice]})

    (row,) = rows_of(asked, prompted)
    said = ""
    yield event(0, {"role": "assistant", "content": ""})
    try:
        async for _ in ready.speaking.speak(row):
            sure = _text(prompted, row) if row.is_over else prompted.told.sure(row.said).lstrip()
            if len(sure) > len(said):
                yield event(0, {"content": sure[len(said) :]})
                said = sure
    except Refusal as refusal:  # the head of the answer is gone already
        yield _event(refusal.body())
        return
    yield event(0, {}, _reason(prompted, row))
    if asked.stream_options is not None and asked.stream_options.include_usage:
        yield _event({**head, "choices": [], "usage": _usage(prompted, [row])})
    yield "data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _text(prompted: Prompted, row: Row) -> str:
    return prompted.told.until(row.said)[0].strip()


def _reason(prompted: Prompted, row: Row) -> str:
    is_ended = row.said[-1] in prompted.told.rows.stops or prompted.told.until(row.said)[1]
    return "stop" if is_ended else "length"


def _usage(prompted: Prompted, rows: Sequence[Row]) -> dict[str, int]:
    written = sum(len(row.said) for row in rows)
    return {"prompt_tokens": len(prompted.tokens), "completion_tokens": written,
            "total_tokens": len(prompted.tokens) + written}  # fmt: skip


def _refuse_unsupported(asked: ChatRequest) -> None:
    for name, harmless in ASKS_FOR_NOTHING.items():
        value = getattr(asked, name)
        if value is not None and value not in harmless:
            raise Refusal(400, f"{name} is not supported here; leave it out.", param=name, code="unsupported_parameter")
    if asked.stream and asked.n > 1:
        raise Refusal(400, f"n={asked.n}: one answer is streamed at a time; ask for 1.", param="n")


def _conversation(messages: Sequence[Message]) -> tuple[list[tuple[str, str]], str, list[str]]:
    """Turns that were taken, the question with a mark for each image, and the images in order."""
    turns: list[tuple[str, str]] = []
    urls: list[str] = []
    before, question = "", ""
    for number, message in enumerate(messages):
        text = _with_marks(message, urls, f"messages[{number}]")
        if message.role in ("system", "developer"):
            if turns or question:
                raise Refusal(400, f"messages[{number}]: what a system says stands first.", param="messages")
            before += f"{text}\n"
        elif message.role == "user":
            question = f"{question}\n{text}" if question else before + text
            before = ""
        else:
            if not question:
                raise Refusal(400, f"messages[{number}] answers, and nothing was asked.", param="messages")
            if MARK in text:
                raise Refusal(400, f"messages[{number}] shows an image in an answer; users show them.",
                              param="messages")  # fmt: skip
            turns.append((question, text))
            question = ""
    if not question:
        raise Refusal(400, "The last message is not a user's; ask something.", param="messages")
    return turns, question, urls


def _with_marks(message: Message, urls: list[str], where: str) -> str:
    if isinstance(message.content, str):
        if MARK in message.content:
            raise Refusal(400, f"{where} writes {MARK}, which stands for images; send them as parts.", param="messages")
        return message.content
    pieces = []
    for part in message.content:
        if isinstance(part, ImagePart):
            urls.append(part.image_url.url)
            pieces.append(MARK)
        elif MARK in part.text:
            raise Refusal(400, f"{where} writes {MARK}, which stands for images; send them as parts.", param="messages")
        else:
            pieces.append(part.text)
    return " ".join(pieces)


def _saying(engine: Engine, asked: ChatRequest, most: int) -> Saying:
    wanted = asked.max_completion_tokens or asked.max_tokens
    if wanted is not None and wanted > engine.config.most_tokens:
        raise Refusal(400, f"{wanted:,} tokens are asked for; at most {engine.config.most_tokens:,} are written.",
                      param="max_tokens")  # fmt: skip
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    temperature = 0.0 if asked.temperature is None else asked.temperature
    sampling = None if temperature == 0 else SamplingConfig(
        temperature=temperature, top_k=asked.top_k, top_p=asked.top_p
    )  # fmt: skip
    if len(stops) > 16 or not all(stops):
        raise Refusal(400, "stop: give at most 16 texts, none of them empty.", param="stop")
    return Saying(1, wanted or min(most, engine.config.most_tokens), sampling, tuple(stops), asked.seed)


def _to_writer(
    engine: Engine, ready: Ready, asked: ChatRequest, turns: list[tuple[str, str]], question: str,
    pictures: Sequence[np.ndarray],
) -> Prompted:  # fmt: skip
    writer = ready.served.writer
    assert writer is not None
    if pictures:
        raise Refusal(400, f"{asked.model} writes text and sees no images; leave them out, or ask a model that does.",
                      param="messages")  # fmt: skip
    notes: tuple[str, ...] = ()
    if writer.is_asked:
        tokens = writer.ask(question, turns)
    else:
        tokens = writer.begin("\n".join([*(piece for turn in turns for piece in turn), question]))
        notes = ("this model was not taught conversations: it goes on from what was written",)
    room = writer.room(tokens)
    saying = _saying(engine, asked, max(1, min(256, room)))
    if saying.num_tokens > room:
        raise Refusal(
            400, f"{len(tokens):,} tokens are read and {saying.num_tokens:,} asked for; this model reads "
            f"{len(tokens) + room:,} in all.", param="max_tokens", code="context_length_exceeded",
        )  # fmt: skip
    return Prompted(tokens, None, Told(writer.rows, saying), notes, Spent())


async def _to_talker(
    engine: Engine, ready: Ready, asked: ChatRequest, turns: list[tuple[str, str]], question: str,
    pictures: Sequence[np.ndarray],
) -> Prompted:  # fmt: skip
    talker = ready.served.talker
    assert talker is not None
    if not pictures:
        raise Refusal(400, f"{asked.model} speaks of images and none is shown; send one as a part of type image_url.",
                      param="messages")  # fmt: skip
    notes: tuple[str, ...] = ()
    seen, spent = await ready.queue("see").submit(pictures)
    if "answer" not in talker.can:
        if without_marks(question) or turns:
            notes = ("this model captions images: the last one is described, and the words were not read",)
        seen, turns, question = seen[-1:], [], talker.request()
    saying = replace(_saying(engine, asked, NUM_TOKENS), num_beams=1)
    tokens = talker.prompt(Asking(torch.stack(seen), question, tuple(turns)), saying.num_tokens)
    return Prompted(tokens, torch.stack(seen), Told(talker.rows, saying), notes, spent)
