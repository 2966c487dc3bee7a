"""The real `openai` client against every address, and what it gets is what the models say without a server."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openai
import pytest
import torch
from PIL import Image
from serving import Address, data_url, picture, png

import beholder
from beholder.data.conversations import MARK
from beholder.serve.served import Served
from beholder.tasks.saying import Saying, saying_of
from beholder.tasks.talk import Asking


@pytest.fixture(scope="module")
def client(address: Address) -> Any:
    with openai.OpenAI(base_url=f"{address.url}/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def by_name(models: list[Served]) -> dict[str, Served]:
    return {one.name: one for one in models}


def shown(text: str, *pictures: np.ndarray) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": data_url(one)}} for one in pictures]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def test_models_are_listed_with_what_they_can(client: Any) -> None:
    found = {one.id: one for one in client.models.list()}
    assert list(found) == ["solar", "answers", "captions", "writer", "asked", "masked", "drawer"]
    assert found["solar"].abilities == ["embeddings", "classify", "anomaly"]
    assert client.models.retrieve("masked").abilities == ["images/generations", "images/edits"]


class TestEmbeddings:
    def test_images_have_the_points_that_the_model_gives(self, client: Any, by_name: dict[str, Served]) -> None:
        pictures = [picture(seed) for seed in range(3)]
        for form in ({}, {"encoding_format": "float"}):  # the client asks for base64 by itself
            told = client.embeddings.create(model="solar", input=[data_url(one) for one in pictures], **form)
            place = by_name["solar"].place_images
            assert place is not None
            assert np.allclose([one.embedding for one in told.data], place(pictures).numpy(), atol=1e-6)

    def test_texts_are_refused_where_none_are_read(self, client: Any) -> None:
        with pytest.raises(openai.NotFoundError, match="has no embeddings of texts"):
            client.embeddings.create(model="solar", input="a dog")


class TestChat:
    @pytest.mark.parametrize("temperature", [0, 1])
    def test_it_answers_about_an_image_as_without_a_server(
        self, client: Any, by_name: dict[str, Served], temperature: float
    ) -> None:
        talker = by_name["answers"].talker
        assert talker is not None
        saying = saying_of(1, temperature, seed=5)
        asking = Asking(talker.see([picture(1)]), f"{MARK} how many blocks are there?")
        (expected,) = talker.say([asking], saying)
        told = client.chat.completions.create(
            model="answers", messages=shown("how many blocks are there?", picture(1)), temperature=temperature, seed=5,
            max_tokens=40,
        )  # fmt: skip
        assert told.choices[0].message.content == expected
        assert told.usage.total_tokens == told.usage.prompt_tokens + told.usage.completion_tokens
        assert told.choices[0].finish_reason in ("stop", "length")

    def test_several_images_and_turns_stand_in_their_order(self, client: Any, by_name: dict[str, Served]) -> None:
        talker = by_name["answers"].talker
        assert talker is not None
        seen = talker.see([picture(1), picture(2), picture(3)])
        asking = Asking(seen, f"{MARK} and this?", ((f"{MARK} {MARK} which are alike?", "none"),))
        (expected,) = talker.say([asking], Saying(1))
        messages = [
            *shown("which are alike?", picture(1), picture(2)), {"role": "assistant", "content": "none"},
            *shown("and this?", picture(3)),
        ]  # fmt: skip
        told = client.chat.completions.create(model="answers", messages=messages)
        assert told.choices[0].message.content == expected

    @pytest.mark.parametrize("model", ["answers", "writer", "asked"])
    def test_a_stream_is_the_whole_in_pieces(self, client: Any, model: str) -> None:
        messages = shown("which?", picture(4)) if model == "answers" else [{"role": "user", "content": "a red"}]
        asked = {"model": model, "messages": messages, "max_tokens": 30, "temperature": 1, "seed": 9}
        whole = client.chat.completions.create(**asked)
        pieces = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
        text = "".join(one.choices[0].delta.content or "" for one in pieces if one.choices)
        assert text.strip() == whole.choices[0].message.content
        assert pieces[-1].usage == whole.usage
        assert [one.choices[0].finish_reason for one in pieces if one.choices][-1] == whole.choices[0].finish_reason

    def test_many_at_once_say_what_each_says_alone(self, client: Any) -> None:
        def ask(seed: int) -> str:
            messages = [{"role": "user", "content": "the dog " * (1 + seed % 4)}]
            told = client.chat.completions.create(
                model="writer", messages=messages, max_tokens=5 + 4 * (seed % 5), temperature=1, seed=seed
            )
            return told.choices[0].message.content

        alone = [ask(seed) for seed in range(12)]
        with ThreadPoolExecutor(12) as pool:
            together = list(pool.map(ask, range(12)))
        assert together == alone and len(set(alone)) > 6

    def test_what_ends_it_is_not_told(self, client: Any) -> None:
        asked = {"model": "writer", "messages": [{"role": "user", "content": "a"}], "max_tokens": 30}
        whole = client.chat.completions.create(**asked).choices[0].message.content
        stop = whole[4:6]
        told = client.chat.completions.create(**asked, stop=stop).choices[0]
        assert told.message.content == whole[: whole.find(stop)].strip() and told.finish_reason == "stop"
        pieces = client.chat.completions.create(**asked, stop=stop, stream=True)
        assert "".join(one.choices[0].delta.content or "" for one in pieces).strip() == told.message.content

    def test_several_answers_are_drawn_one_by_one(self, client: Any) -> None:
        asked = {"model": "writer", "messages": [{"role": "user", "content": "a"}], "max_tokens": 12, "temperature": 1}
        both = [one.message.content for one in client.chat.completions.create(**asked, n=2, seed=3).choices]
        each = [client.chat.completions.create(**asked, seed=seed).choices[0].message.content for seed in (3, 4)]
        assert both == each

    def test_a_captioner_says_that_it_does_not_read_questions(self, client: Any, by_name: dict[str, Served]) -> None:
        talker = by_name["captions"].talker
        assert talker is not None
        (expected,) = talker.say([Asking(talker.see([picture(2)]), MARK)], Saying(1))
        told = client.chat.completions.create(model="captions", messages=shown("what is it?", picture(2)))
        assert told.choices[0].message.content == expected
        assert "words were not read" in told.notes[0]

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"messages": [{"role": "user", "content": "no image"}]}, "none is shown"),
            ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools is not supported"),
            ({"presence_penalty": 0.5}, "presence_penalty is not supported"),
            ({"response_format": {"type": "json_object"}}, "response_format is not supported"),
            ({"max_tokens": 99999}, "at most 1,024"),
            ({"messages": shown("a <image>", picture())}, "stands for images"),
            ({"messages": [{"role": "assistant", "content": "x"}]}, "nothing was asked"),
            ({"messages": shown("x " * 500, picture())}, "longer than"),
            ({"stop": [""]}, "none of them empty"),
        ],
    )
    def test_what_cannot_be_answered_is_told(self, client: Any, changed: dict[str, Any], told: str) -> None:
        asked = {"model": "answers", "messages": shown("which?", picture()), **changed}
        with pytest.raises(openai.BadRequestError, match=told):
            client.chat.completions.create(**asked)

    def test_wishes_for_nothing_and_answers_that_are_sent_back_are_taken(self, client: Any) -> None:
        plain = {"model": "writer", "max_tokens": 8}
        asked = [{"role": "user", "content": "a red"}]
        first = client.chat.completions.create(**plain, messages=asked).choices[0].message
        idle = {
            "presence_penalty": 0,
            "tools": [],
            "logprobs": False,
            "response_format": {"type": "text"},
            "user": "me",
        }
        again = client.chat.completions.create(**plain, **idle, messages=asked).choices[0].message
        assert again.content == first.content
        turns = [*asked, first.model_dump(), {"role": "user", "content": "and"}]
        assert client.chat.completions.create(**plain, messages=turns).choices[0].message.content

    @pytest.mark.parametrize("is_streamed", [True, False])
    def test_more_than_the_model_reads_is_refused_before_it_begins(self, client: Any, is_streamed: bool) -> None:
        asked = {"model": "writer", "messages": [{"role": "user", "content": "a red"}], "stream": is_streamed}
        with pytest.raises(openai.BadRequestError, match="reads 128 in all"):
            client.chat.completions.create(**asked, max_tokens=200)

    def test_an_image_is_refused_where_none_is_seen(self, client: Any) -> None:
        with pytest.raises(openai.BadRequestError, match="sees no images"):
            client.chat.completions.create(model="writer", messages=shown("x", picture()))


class TestPictures:
    def test_a_prompt_is_drawn_the_same_each_time(self, client: Any) -> None:
        told = [
            client.images.generate(model="drawer", prompt="a red block", n=2, extra_body={"seed": seed}).data
            for seed in (1, 1, 101)
        ]
        files = [[one.b64_json for one in listed] for listed in told]
        assert files[0] == files[1] != files[2] and len(files[0]) == 2
        image = Image.open(io.BytesIO(base64.b64decode(files[0][0])))
        assert image.size == (16, 16) and '"generated": true' in image.info["beholder"]

    def test_words_that_were_not_learned_are_told(self, client: Any) -> None:
        with pytest.raises(openai.BadRequestError, match="has no word of the learned captions"):
            client.images.generate(model="drawer", prompt="zeppelin")
        with pytest.raises(openai.BadRequestError, match="draws 16x16"):
            client.images.generate(model="drawer", prompt="red", size="1024x1024")

    @pytest.mark.parametrize("is_transparent", [True, False])
    def test_only_what_the_mask_says_is_replaced(self, client: Any, is_transparent: bool) -> None:
        pixels = picture(3, 16)
        hole = np.zeros((16, 16), np.uint8)
        hole[4:12, 4:12] = 255
        mask = np.dstack([pixels, 255 - hole]) if is_transparent else hole
        told = client.images.edit(
            model="masked", image=("a.png", png(pixels)), mask=("b.png", png(mask)), prompt="",
        )  # fmt: skip
        painted = np.asarray(Image.open(io.BytesIO(base64.b64decode(told.data[0].b64_json))))
        assert np.array_equal(painted[hole == 0], pixels[hole == 0])
        assert not np.array_equal(painted[hole > 0], pixels[hole > 0])

    @pytest.mark.parametrize("guidance", [None, 8.0])
    def test_what_is_asked_for_is_followed_as_edit_does(
        self, client: Any, by_name: dict[str, Served], guidance: float | None
    ) -> None:
        pixels, hole = picture(3, 16), np.zeros((16, 16), np.uint8)
        hole[2:14, 2:14] = 255
        more = {"label": "dark", "seed": 4, **({} if guidance is None else {"guidance": guidance})}
        told = client.images.edit(
            model="masked", image=("a.png", png(pixels)), mask=("b.png", png(hole)), prompt="", extra_body=more
        )
        painted = np.asarray(Image.open(io.BytesIO(base64.b64decode(told.data[0].b64_json))))
        how = {} if guidance is None else {"guidance": guidance}
        (own,) = beholder.edit(by_name["masked"].mends, pixels, hole, "cpu", label="dark", seed=4, threads=1, **how)
        assert np.array_equal(painted, own.picture)

    def test_a_mask_of_another_size_is_told(self, client: Any) -> None:
        with pytest.raises(openai.BadRequestError, match="a mask has its picture's size"):
            client.images.edit(
                model="masked", image=("a.png", png(picture(3, 16))), mask=("b.png", png(picture(3, 12))), prompt=""
            )


class TestVision:
    def test_classes_and_anomalies_are_those_of_the_model(self, client: Any, by_name: dict[str, Served]) -> None:
        pictures = [picture(seed) for seed in range(5)]
        body = {"model": "solar", "images": [data_url(one) for one in pictures]}
        served = by_name["solar"]
        for ability, work in (("classify", served.classify), ("anomaly", served.anomaly)):
            assert work is not None
            told = client.post(f"/{ability}", body=body, cast_to=object)
            for one, expected in zip(told["data"], work(pictures), strict=True):
                assert one["label"] == expected["label"] and one["score"] == pytest.approx(expected["score"], abs=1e-5)

    def test_what_a_model_cannot_is_told_with_what_it_can(self, client: Any) -> None:
        with pytest.raises(openai.NotFoundError, match="/v1/embeddings, /v1/classify, /v1/anomaly"):
            client.post("/detect", body={"model": "solar", "images": [data_url(picture())]}, cast_to=object)
        with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-4o'; served are solar"):
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])


def test_the_same_words_cost_the_same_points_in_any_batch(by_name: dict[str, Served]) -> None:
    place = by_name["solar"].place_images
    assert place is not None
    pictures = [picture(seed) for seed in range(4)]
    assert torch.allclose(place(pictures), torch.cat([place([one]) for one in pictures]), atol=1e-5)
