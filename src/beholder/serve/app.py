"""The application: addresses below /v1 that OpenAI's clients know, ours beside them, and what operators need."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from beholder.data.decode import Limits
from beholder.inference.rolling import Row
from beholder.runtime.device import Device
from beholder.serve import chat
from beholder.serve.drawing import draw, edit
from beholder.serve.engine import Engine
from beholder.serve.form import refusal_of
from beholder.serve.guard import Guard
from beholder.serve.lane import Spent
from beholder.serve.measures import Measures
from beholder.serve.pages import add_pages
from beholder.serve.patience import until_gone
from beholder.serve.pictures import is_picture, listed, read_picture, read_pictures
from beholder.serve.refusal import Refusal, error_body
from beholder.serve.schema import ChatRequest, EmbeddingRequest, ImageRequest, SearchRequest, VisionRequest
from beholder.serve.served import Served
from beholder.serve.settings import USUAL, ServeConfig
from beholder.tasks.generate import GUIDANCE
from beholder.tasks.masked_pictures import Wish
from beholder.types import UserError
from beholder.version import VERSION

_MOST_THUMBNAILS = 50
_FIELDS_OF_EDITS = {"model", "image", "mask", "prompt", "label", "n", "seed", "guidance", "user"}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": told}
    for status, told in {
        400: "Something of the request cannot be used; the sentence tells what.", 401: "No known key.",
        404: "No such model, or it cannot do that; the sentence tells what it can.", 408: "Too slow.",
        413: "Too large.", 422: "Not of this form.", 429: "Too many; Retry-After tells when.",
    }.items()
}  # fmt: skip


def build_app(
    models: Sequence[Served], device: Device, config: ServeConfig = USUAL, keys: Sequence[str] = ()
) -> FastAPI:  # fmt: skip
    """An ASGI application that serves these models. With keys all but the pages and /health asks for one of them."""
    engine_of: dict[str, Engine] = {}
    MultiPartParser.spool_max_size = config.most_bytes  # bodies are in memory anyway: a full disk hinders none
    measures = Measures(lambda: engine_of["it"].waiting() if engine_of else iter(()))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine_of["it"] = Engine(models, config, lambda work, count: measures.batches.labels(work).observe(count))
        app.state.engine = engine_of["it"]
        yield
        await engine_of["it"].close()

    app = FastAPI(
        title="beholder", version=VERSION, lifespan=lifespan, responses=_ERRORS, docs_url=None, redoc_url=None,
        description="Vision models of your own, for any OpenAI client.",
    )  # fmt: skip
    app.state.measures, app.state.device, app.state.config = measures, device, config
    app.add_middleware(Guard, config=config, keys=tuple(keys), measures=measures)
    _add_errors(app)
    _add_operations(app)
    _add_openai(app)
    _add_vision(app)
    add_pages(app)
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return JSONResponse(error.body(), error.status, error.headers)

    @app.exception_handler(UserError)
    async def mistaken(request: Request, error: UserError) -> Response:
        return JSONResponse(error_body(400, str(error)), 400)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        content_type = request.headers.get("content-type") or ""
        if request.url.path == "/v1/images/edits" and not content_type.startswith("multipart/form-data"):
            told = "This address takes a form (multipart/form-data, as curl -F sends it), with image and mask as files."
            return JSONResponse(error_body(400, told), 400)
        # a misspelt field before one that is missing for it; of kinds that were tried, the one that fitted best
        deepest = max(error.errors(), key=lambda one: (one["type"] == "extra_forbidden", len(one["loc"])))
        refusal = refusal_of(deepest, error.body, content_type)
        return JSONResponse(refusal.body(), refusal.status)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        message = {
            404: "There is no such address; see /openapi.json.",
            405: f"This address answers {(error.headers or {}).get('Allow') or 'another method'}.",
        }
        told = message.get(error.status_code, str(error.detail))
        return JSONResponse(error_body(error.status_code, told), error.status_code, error.headers)


def _add_operations(app: FastAPI) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready(request: Request) -> dict[str, Any]:
        """Whether all models are loaded."""
        return {"status": "ready", "models": list(request.app.state.engine.models)}

    @app.get("/metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """For Prometheus."""
        return Response(request.app.state.measures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models")
    async def list_models(request: Request) -> dict[str, Any]:
        """What is served, and what each can do."""
        return {"object": "list", "data": [_model(one.served) for one in request.app.state.engine.models.values()]}

    @app.get("/v1/models/{name:path}")
    async def show_model(request: Request, name: str) -> dict[str, Any]:
        """One of them."""
        return _model(request.app.state.engine.find(name).served)


def _model(served: Served) -> dict[str, Any]:
    return {"id": served.name, "object": "model", "created": 0, "owned_by": "beholder", "about": served.about,
            "abilities": list(served.abilities), "sees": served.writer is None,
            "readsTexts": served.place_texts is not None, "tellsWhere": served.explain is not None}  # fmt: skip


def _add_openai(app: FastAPI) -> None:
    @app.post("/v1/embeddings")
    async def embeddings(request: Request, asked: EmbeddingRequest) -> Response:
        """Points of texts, or of images given as data URLs or image parts; of length 1."""
        return await _answer(request, asked.model, lambda engine: _embed(engine, asked))

    @app.post("/v1/chat/completions", response_model=None)
    async def completions(request: Request, asked: ChatRequest) -> Response:
        """An answer in a conversation, about images where the model sees."""
        engine: Engine = request.app.state.engine
        ready, prompted = await until_gone(request, chat.prepare_chat(engine, asked), engine.config.seconds)
        request.state.model = asked.model
        if asked.stream:
            return StreamingResponse(chat.events(ready, asked, prompted), media_type="text/event-stream",
                                     headers={"Cache-Control": "no-store"})  # fmt: skip
        return await _answer(request, asked.model, lambda engine: _complete(ready, asked, prompted, app))

    @app.post("/v1/images/generations")
    async def generations(request: Request, asked: ImageRequest) -> Response:
        """Pictures of what a text says, PNG in base64, with their origin in the file."""
        return await _answer(request, asked.model, lambda engine: draw(engine, asked, request.app.state.device))

    @app.post("/v1/images/edits")
    async def edits(
        request: Request,
        model: Annotated[str, Form()],
        image: Annotated[UploadFile, File()],
        mask: Annotated[UploadFile, File()],
        prompt: Annotated[str | None, Form()] = None,
        label: Annotated[str | None, Form()] = None,
        n: Annotated[int, Form(ge=1, le=16)] = 1,
        seed: Annotated[int, Form(ge=0, lt=2**62)] = 0,
        guidance: Annotated[float, Form(ge=0, le=100)] = GUIDANCE,
    ) -> Response:
        """The picture with something else where the mask is transparent, or, without transparency, not black."""
        _refuse_other_fields(await request.form())
        config: ServeConfig = request.app.state.config
        picture = read_picture(await image.read(), Limits(max_pixels=config.most_pixels), "image")
        content, wish = await mask.read(), Wish(label or None, prompt or None)
        return await _answer(
            request, model,
            lambda engine: edit(engine, model, picture, content, wish, n, seed, guidance, request.app.state.device),
        )  # fmt: skip


def _refuse_other_fields(form: FormData) -> None:
    """Of a change of a picture; what OpenAI's clients send is let pass where it asks for what is done anyway."""
    usual = {"size": {"auto"}, "response_format": {"b64_json"}, "output_format": {"png"}, "quality": {"auto"}}
    for name, value in form.items():
        if name not in _FIELDS_OF_EDITS and value not in usual.get(name, ()):
            raise Refusal(422, f"{name}: this is no field of this request, or not with this value; /openapi.json has "
                               "the form.", param=name)  # fmt: skip


def _add_vision(app: FastAPI) -> None:
    @app.post("/v1/classify")
    async def classify(request: Request, asked: VisionRequest) -> Response:
        """Which class each image belongs to; with `labels`, of these, by a model that reads texts."""
        return await _answer(request, asked.model, lambda engine: _classify(engine, asked))

    @app.post("/v1/anomaly")
    async def anomaly(request: Request, asked: VisionRequest) -> Response:
        """How unusual each image is."""
        return await _answer(request, asked.model, lambda engine: _look(engine, asked, "anomaly"))

    @app.post("/v1/detect")
    async def detect(request: Request, asked: VisionRequest) -> Response:
        """What is where: boxes as left, top, width, height in pixels."""
        return await _answer(request, asked.model, lambda engine: _look(engine, asked, "detect"))

    @app.post("/v1/search")
    async def search(request: Request, asked: SearchRequest) -> Response:
        """The served pictures that are most like a text, an image, or both."""
        return await _answer(request, asked.model, lambda engine: _search(engine, asked))


async def _answer(
    request: Request, model: str, work: Callable[[Engine], Awaitable[tuple[dict[str, Any], Spent]]]
) -> Response:  # fmt: skip
    """The JSON, and in the head what it cost. A client that goes away stops waiting for it."""
    engine: Engine = request.app.state.engine
    engine.find(model)
    request.state.model = model
    begun = time.perf_counter()
    told, spent = await until_gone(request, work(engine), engine.config.seconds)
    request.app.state.measures.joules.labels(model).inc(spent.joules)
    head = {
        "X-Beholder-Seconds": f"{time.perf_counter() - begun:.4f}", "X-Beholder-Joules": f"{spent.joules:.3f}",
        "Cache-Control": "no-store",
    }  # fmt: skip
    return JSONResponse(told, headers=head)


async def _embed(engine: Engine, asked: EmbeddingRequest) -> tuple[dict[str, Any], Spent]:
    ready = engine.find(asked.model, "embeddings")
    inputs = asked.input if isinstance(asked.input, list) else [asked.input]
    if not inputs or len(inputs) > 2048:
        raise Refusal(400, f"input has {len(inputs):,} entries; give 1 to 2,048.", param="input")
    given = listed("input", [one if isinstance(one, str) else one.image_url.url for one in inputs])
    images = {
        param: one for (param, one), asked_for in zip(given.items(), inputs, strict=True)
        if not isinstance(asked_for, str) or is_picture(one)
    }  # fmt: skip
    texts = {param: one for param, one in given.items() if param not in images}
    for param, text in texts.items():
        if not text.strip():
            raise Refusal(400, f"{param} is empty; give a word, or an image as a data URL.", param=param)
    rows: dict[str, np.ndarray] = {}
    spent = Spent()
    if images:
        pictures = await read_pictures(images, engine.config, "input")
        points, cost = await ready.queue("embeddings of images").submit(pictures)
        rows |= {param: point.numpy() for param, point in zip(images, points, strict=True)}
        spent += cost
    if texts:
        points, cost = await ready.queue("embeddings of texts").submit(list(texts.values()))
        rows |= {param: point.numpy() for param, point in zip(texts, points, strict=True)}
        spent += cost
    data = [
        {"object": "embedding", "index": place, "embedding": _written(rows[param], asked.encoding_format)}
        for place, param in enumerate(given)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return {"object": "list", "data": data, "model": asked.model, "usage": usage}, spent


def _written(row: np.ndarray, form: str) -> str | list[float]:
    if form == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    return [float(value) for value in row]


async def _complete(
    ready: Any, asked: ChatRequest, prompted: chat.Prompted, app: FastAPI
) -> tuple[dict[str, Any], Spent]:  # fmt: skip
    rows = chat.rows_of(asked, prompted)

    async def speak(row: Row) -> Spent:
        spent = Spent()
        async for one in ready.speaking.speak(row):
            spent = one.spent
        return spent

    spent = sum(await asyncio.gather(*map(speak, rows)), prompted.spent)
    told = chat.completion(asked, prompted, rows)
    for kind in ("prompt", "completion"):
        app.state.measures.tokens.labels(asked.model, kind).inc(told["usage"][f"{kind}_tokens"])
    return told, spent


async def _classify(engine: Engine, asked: VisionRequest) -> tuple[dict[str, Any], Spent]:
    ready = engine.find(asked.model, "classify")
    by_name = ready.served.classify_by_name
    if asked.labels is None:
        if "classify" not in ready.queues:
            raise Refusal(400, f"{asked.model} knows no classes of its own; name some in labels.", param="labels")
        told, spent = await _look(engine, asked, "classify")
        return await _with_heat(engine, asked, told, spent) if asked.heat else (told, spent)
    if by_name is None:
        raise Refusal(400, f"{asked.model} knows its own classes and reads no others; leave labels out.",
                      param="labels")  # fmt: skip
    names = [" ".join(name.split()) for name in asked.labels]
    if len(set(names)) < len(names) or len(names) < 2 or len(names) > 1000 or not all(names):
        raise Refusal(400, "labels: give 2 to 1,000 different names.", param="labels")
    pictures = await read_pictures(listed("images", asked.images), engine.config, "images")
    found, spent = await engine.lane.run(lambda: by_name(pictures, names))
    return _listed(asked.model, found), spent


async def _with_heat(
    engine: Engine, asked: VisionRequest, told: dict[str, Any], spent: Spent
) -> tuple[dict[str, Any], Spent]:
    explain = engine.find(asked.model).served.explain
    assert explain is not None, "what has classes of its own tells where it looked"
    pictures = await read_pictures(listed("images", asked.images), engine.config, "images")
    heat, cost = await engine.lane.run(lambda: explain(pictures, [one["label"] for one in told["data"]]))
    for one, rows in zip(told["data"], heat, strict=True):
        one["heat"] = [[round(float(value), 3) for value in row] for row in rows]
    return told, spent + cost


async def _look(engine: Engine, asked: VisionRequest, ability: str) -> tuple[dict[str, Any], Spent]:
    ready = engine.find(asked.model, ability)
    pictures = await read_pictures(listed("images", asked.images), engine.config, "images")
    found, spent = await ready.queue(ability).submit(pictures)
    return _listed(asked.model, found), spent


def _listed(model: str, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "model": model, "data": [{"index": place, **one} for place, one in enumerate(found)]}


async def _search(engine: Engine, asked: SearchRequest) -> tuple[dict[str, Any], Spent]:
    ready = engine.find(asked.model, "search")
    if asked.text is None and asked.image is None:
        raise Refusal(400, "Nothing is searched for; give text, image, or both.", param="text")
    if asked.text is not None and not asked.text.strip():
        raise Refusal(400, "text is empty; give a word, or leave text out.", param="text")
    points, spent = {}, Spent()
    if asked.text is not None:
        (points["text"],), cost = await ready.queue("embeddings of texts").submit([asked.text])
        spent += cost
    if asked.image is not None:
        pictures = await read_pictures({"image": asked.image}, engine.config, "image")
        (points["like"],), cost = await ready.queue("embeddings of images").submit(pictures)
        spent += cost
    find = ready.served.search
    assert find is not None
    found, cost = await engine.lane.run(lambda: find(points, asked.count))
    data = [{"index": place, "key": one.key, "score": one.score, **one.details} for place, one in enumerate(found)]
    show = ready.served.thumbnail
    if asked.thumbnails and show is not None:
        loop = asyncio.get_running_loop()
        for one in data[:_MOST_THUMBNAILS]:
            small = await loop.run_in_executor(None, show, one["key"])
            one["thumbnail"] = small and f"data:image/png;base64,{base64.b64encode(small).decode()}"
    return {"object": "list", "model": asked.model, "data": data}, spent + cost
