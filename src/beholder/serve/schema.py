"""Requests, in the form that OpenAI's clients send, and ours beside them. Shapes of the answers stand where they are
made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Asked(BaseModel):
    """What every request may have."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())
    model: str = Field(description="The name of a served model; see /v1/models.")


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


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(Asked):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=1)
    n: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, le=2**62)
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None


class EmbeddingRequest(Asked):
    """`POST /v1/embeddings`: texts, or images as data URLs or image parts."""

    input: str | ImagePart | list[str | ImagePart]
    encoding_format: Literal["float", "base64"] = "float"


class ImageRequest(Asked):
    """`POST /v1/images/generations`."""

    prompt: str | None = None
    n: int = Field(1, ge=1, le=16)
    seed: int = Field(0, ge=0, le=2**62)
    size: str | None = None
    response_format: Literal["b64_json", "url"] | None = None
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
