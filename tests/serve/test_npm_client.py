"""The real `openai` client of JavaScript against every address that it knows; it says what the one of Python does."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image
from serving import Address, data_url, picture, png

from beholder.serve.served import Served

HERE = Path(__file__).parent / "npm"
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules" / "openai").is_dir(),
    reason="node or its openai package is not here; scripts/environment test installs it where npm is",
)


@pytest.fixture(scope="module")
def hole() -> np.ndarray:
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 4:12] = 255
    return mask


@pytest.fixture(scope="module")
def found(address: Address, hole: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    given = tmp_path_factory.mktemp("npm") / "given.json"
    coded = {name: base64.b64encode(png(pixels)).decode() for name, pixels in (("png", picture(3, 16)), ("mask", hole))}
    given.write_text(json.dumps({"picture": data_url(picture(4)), **coded}))
    command = ["node", str(HERE / "ask.mjs"), address.url, str(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_models_are_listed(found: dict[str, Any]) -> None:
    assert found["models"] == ["solar", "answers", "captions", "writer", "asked", "masked", "drawer"]
    assert found["retrieved"] == ["images/generations", "images/edits"]


def test_points_and_classes_are_the_model_s(found: dict[str, Any], models: list[Served]) -> None:
    solar = models[0]
    assert solar.place_images is not None and solar.classify is not None
    assert np.allclose(found["embedding"], solar.place_images([picture(4)])[0].numpy(), atol=1e-6)
    assert found["classified"]["label"] == solar.classify([picture(4)])[0]["label"]


def test_a_conversation_is_what_the_client_of_python_gets(found: dict[str, Any], address: Address) -> None:
    content = [{"type": "image_url", "image_url": {"url": data_url(picture(4))}}, {"type": "text", "text": "which?"}]
    with openai.OpenAI(base_url=f"{address.url}/v1", api_key="none") as client:
        told = client.chat.completions.create(
            model="answers", messages=[{"role": "user", "content": content}], max_tokens=20, temperature=1, seed=9,  # type: ignore[list-item]
        )  # fmt: skip
    assert found["whole"] == told.choices[0].message.content
    assert "".join(found["pieces"]).strip() == found["whole"]


def test_pictures_come_and_the_mask_is_kept_to(found: dict[str, Any], hole: np.ndarray) -> None:
    drawn, edited = (Image.open(io.BytesIO(base64.b64decode(found[name]))) for name in ("drawn", "edited"))
    assert drawn.size == (16, 16) and '"generated": true' in drawn.info["beholder"]
    painted, pixels = np.asarray(edited), picture(3, 16)
    assert np.array_equal(painted[hole == 0], pixels[hole == 0]) and not np.array_equal(painted, pixels)


def test_a_refusal_is_the_client_s_own_error(found: dict[str, Any]) -> None:
    refused = found["refused"]
    assert refused["status"] == 404 and refused["kind"] == "NotFoundError" and refused["code"] == "model_not_found"
    assert "There is no model 'gpt-4o'" in refused["message"]
