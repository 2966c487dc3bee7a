"""Requests, in the form that OpenAI's clients send, and ours beside them. Shapes of the answers stand where they are
made.

A field that is not known here is refused, lest a wish be lost or a name misspelt. What OpenAI's clients may send
besides is named: what changes no answer is read over, and a wish that no model here fulfils may have the one value that
asks for nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Unmet = Annotated[Any, Field(description="No model here fulfils this: null, or the value that asks for nothing.")]
ReadOver = Annotated[str | None, Field(description="Read over.")]


class Asked(BaseModel):
    """What every request may have."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    model: str = Field(description="The name of a served model; see /v1/models.")
    user: ReadOver = None
    metadata: dict[str, Any] | None = Field(None, description="Read over.")
    safety_identifier: ReadOver = None


class ImageUrl(BaseModel):
    url: str = Field(description="A data URL, data:image/png;base64,..., or an address where that is switched on.")
    detail: str | None = None


class ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: ImageUrl


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


Part = Annotated[ImagePart | TextPart, Field(discriminator="type")]


Nothing = Annotated[list[Any], Field(max_length=0)] | None


class Message(BaseModel):
    """With the empty fields that answers have which are sent back."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]
    name: ReadOver = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing = None
    annotations: Nothing = None


class StreamOptions(BaseModel):
    include_usage: bool = False


ASKS_FOR_NOTHING: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (0,), "frequency_penalty": (0,), "logprobs": (False,), "top_logprobs": (0,),
    "logit_bias": ({},), "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],),
    "function_call": ("none", "auto"), "response_format": ({"type": "text"},), "modalities": (["text"],), "audio": (),
}  # fmt: skip
"""Values of wishes that no model here fulfils, beside null."""


class ChatRequest(Asked):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=1)
    n: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, lt=2**62)
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    presence_penalty: Unmet = None
    frequency_penalty: Unmet = None
    logprobs: Unmet = None
    top_logprobs: Unmet = None
    logit_bias: Unmet = None
    tools: Unmet = None
    tool_choice: Unmet = None
    functions: Unmet = None
    function_call: Unmet = None
    response_format: Unmet = None
    modalities: Unmet = None
    audio: Unmet = None
    parallel_tool_calls: bool | None = Field(None, description="Read over.")
    store: bool | None = Field(None, description="Read over; nothing is stored.")
    service_tier: ReadOver = None
    prompt_cache_key: ReadOver = None


class EmbeddingRequest(Asked):
    """`POST /v1/embeddings`: texts, or images as data URLs or image parts."""

    input: str | ImagePart | list[str | ImagePart]
    encoding_format: Literal["float", "base64"] = "float"


class ImageRequest(Asked):
    """`POST /v1/images/generations`."""

    prompt: str | None = None
    n: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, lt=2**62)
    size: str | None = None
    response_format: Literal["b64_json", "url"] | None = None
    quality: Literal["auto", "standard"] | None = None
    background: Literal["auto", "opaque"] | None = None
    output_format: Literal["png"] | None = None
    moderation: ReadOver = None
    label: str | None = Field(None, description="A class that the pictures should show, of models that know some.")
    guidance: float = Field(3.0, ge=0, le=100)


class VisionRequest(Asked):
    """`POST /v1/classify`, `/v1/anomaly` and `/v1/detect`."""

    images: list[str] = Field(min_length=1, description="Data URLs, or addresses where that is switched on.")
    labels: list[str] | None = Field(None, description="Names of classes, for a model that reads texts.")
    heat: bool = Field(False, description="Of classes of its own: where the evidence lies, rows of 0 to 1.")


class SearchRequest(Asked):
    """`POST /v1/search`: by a text, an image, or both."""

    text: str | None = None
    image: str | None = None
    count: int = Field(10, ge=1, le=1000)
    thumbnails: bool = Field(False, description="Whether small pictures come along, as data URLs.")


Answer = dict[str, Any]
