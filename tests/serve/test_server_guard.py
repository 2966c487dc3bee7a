"""What is refused, and that the server goes on: sizes, keys, rates, addresses, clients that are slow or go away."""

from __future__ import annotations

import base64
import errno
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Address, data_url, picture, save_language

from beholder.cli.main import main
from beholder.pretrained.load import load
from beholder.recipes.serve import Choice, open_all, read_keys
from beholder.runtime.device import pick_device
from beholder.runtime.log import Log
from beholder.serve.remote import is_public
from beholder.serve.served import Served
from beholder.serve.settings import ServeConfig
from beholder.types import UserError

KEY = "k" * 20


def post(address: Address, path: str, body: Any, **told: Any) -> httpx.Response:
    return httpx.post(f"{address.url}{path}", json=body, timeout=60, **told)


def alive(address: Address) -> bool:
    body = {"model": "solar", "images": [data_url(picture())]}
    return post(address, "/v1/classify", body).status_code == 200


class TestBadBodies:
    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (b"{", 400), (b"[]", 422), (b"null", 422), (b'{"model": 3, "images": []}', 422),
            (b'{"model": "solar", "images": "x"}', 422), (b"\xff\xfe", 400), (b"", 422), (b"[" * 100_000, 400),
        ],
    )  # fmt: skip
    def test_what_has_another_form_is_told(self, address: Address, content: bytes, status: int) -> None:
        answer = httpx.post(f"{address.url}/v1/classify", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == status and answer.json()["error"]["message"]
        assert alive(address)

    @pytest.mark.parametrize(("given", "place"), [(["a dog", " "], "input[1]"), ("", "input[0]")])
    def test_an_empty_text_is_told_by_its_place(self, address: Address, given: Any, place: str) -> None:
        answer = post(address, "/v1/embeddings", {"model": "solar", "input": given})
        told = answer.json()["error"]
        assert answer.status_code == 400 and told["param"] == place and told["message"].startswith(f"{place} is empty")

    def test_an_unreadable_image_among_texts_is_told_by_its_place(self, address: Address) -> None:
        answer = post(address, "/v1/embeddings", {"model": "solar", "input": ["a dog", "data:image/png;base64,AAAA"]})
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "input[1]"

    @pytest.mark.parametrize(
        ("path", "body", "told"),
        [
            ("classify", {"model": "solar"}, "images: has to be given"),
            ("classify", {"model": "solar", "images": []}, "images: give at least 1;"),
            ("classify", {"model": "solar", "images": ["x"], "label": ["a"]}, "label: is no field of this request"),
            ("search", {"model": "solar", "count": 0}, "count: input should be greater than or equal to 1"),
            ("chat/completions", {"model": "w", "messages": [{"role": "user", "content": [{"type": "sound"}]}]},
             "messages[0].content[0]: has to have a type of"),
        ],
    )  # fmt: skip
    def test_the_field_and_the_rule_are_named(self, address: Address, path: str, body: Any, told: str) -> None:
        answer = post(address, f"/v1/{path}", body)
        assert answer.status_code == 422 and answer.json()["error"]["message"].startswith(told)

    def test_a_missing_head_is_told(self, address: Address) -> None:
        answer = httpx.post(f"{address.url}/v1/classify", content=b'{"model": "solar"}')
        assert answer.status_code == 400 and "Content-Type: application/json" in answer.json()["error"]["message"]

    def test_a_form_with_another_field_is_refused(self, address: Address) -> None:
        files = {"image": ("x.png", b""), "mask": ("y.png", b"")}
        answer = httpx.post(f"{address.url}/v1/images/edits", data={"model": "masked", "sed": "1"}, files=files)
        assert answer.status_code == 422 and answer.json()["error"]["message"].startswith("sed: ")

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("data:image/png;base64,@@@", "is no base64"),
            ("data:image/png;base64,", "empty file"),
            ("data:image/png,abc", "without base64"),
            (f"data:image/png;base64,{base64.b64encode(b'hello').decode()}", "not an image"),
            (data_url(picture())[:300], "cannot be read|is no base64"),
            ("file:///etc/passwd", "no data URL"),
            ("../../etc/passwd", "no data URL"),
            ("http://127.0.0.1:1/x.png", "not fetched from addresses here"),
        ],
    )
    def test_what_is_no_image_is_told(self, address: Address, url: str, told: str) -> None:
        answer = post(address, "/v1/classify", {"model": "solar", "images": [url]})
        assert answer.status_code == 400
        with pytest.raises(ValueError, match=told):
            raise ValueError(answer.json()["error"]["message"])
        assert alive(address)

    def test_a_full_disk_hinders_no_upload(self, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(self: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", full)
        files = {"image": ("x.png", bytes(3 << 20)), "mask": ("y.png", bytes(3 << 20))}
        answer = httpx.post(f"{address.url}/v1/images/edits", data={"model": "masked"}, files=files, timeout=60)
        assert answer.status_code == 400 and "image cannot be read" in answer.json()["error"]["message"]
        assert alive(address)

    def test_a_bomb_of_pixels_is_not_unpacked(self, address: Address) -> None:
        import zlib

        def chunk(kind: bytes, data: bytes) -> bytes:
            return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

        head = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        url = f"data:image/png;base64,{base64.b64encode(bomb + chunk(b'IEND', b'')).decode()}"
        answer = post(address, "/v1/classify", {"model": "solar", "images": [url]})
        assert answer.status_code == 400 and "the limit is 40,000,000" in answer.json()["error"]["message"]

    def test_a_body_that_is_too_large_is_not_read(self, address: Address) -> None:
        large = {"model": "solar", "images": ["x" * (33 << 20)]}
        assert post(address, "/v1/classify", large).status_code == 413

        def pieces() -> Any:
            for _ in range(40):
                yield b"x" * (1 << 20)

        answer = httpx.post(f"{address.url}/v1/classify", content=pieces(), timeout=60)  # without a length
        assert answer.status_code == 413 and alive(address)

    def test_more_images_than_are_read_are_told(self, address: Address) -> None:
        answer = post(address, "/v1/classify", {"model": "solar", "images": [data_url(picture())] * 33})
        assert answer.status_code == 400 and "at most 32" in answer.json()["error"]["message"]

    def test_unknown_addresses_and_methods_are_told(self, address: Address) -> None:
        assert httpx.get(f"{address.url}/v1/../../etc/passwd").status_code == 404
        assert httpx.get(f"{address.url}/v1/classify").status_code == 405
        assert httpx.get(f"{address.url}/playground.js/../app.py").status_code == 404


class TestOperations:
    def test_health_readiness_and_counts(self, address: Address) -> None:
        assert httpx.get(f"{address.url}/health").json() == {"status": "ok"}
        assert "solar" in httpx.get(f"{address.url}/ready").json()["models"]
        assert alive(address)
        text = httpx.get(f"{address.url}/metrics").text
        assert 'beholder_requests_total{model="solar",path="/v1/classify",status="200"}' in text
        assert "beholder_batch_inputs_bucket" in text and 'beholder_waiting{queue="solar classify"} 0.0' in text

    def test_answers_tell_what_they_cost(self, address: Address) -> None:
        answer = post(address, "/v1/classify", {"model": "solar", "images": [data_url(picture())]})
        assert 0 < float(answer.headers["x-beholder-seconds"]) < 60
        assert float(answer.headers["x-beholder-joules"]) >= 0
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_the_log_has_no_contents(self, serving: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
        with serving() as address:
            post(
                address,
                "/v1/chat/completions",
                {"model": "writer", "messages": [{"role": "user", "content": "secret"}]},
            )
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
        assert lines[-1]["path"] == "/v1/chat/completions" and lines[-1]["model"] == "writer"
        assert "secret" not in json.dumps(lines)


class TestKeys:
    def test_only_known_keys_are_let_in(self, serving: Callable[..., Any]) -> None:
        with serving(keys=(KEY, "other" * 5)) as address:
            for given in (None, "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer"):
                head = {} if given is None else {"Authorization": given}
                assert httpx.get(f"{address.url}/v1/models", headers=head).status_code == 401
                assert httpx.get(f"{address.url}/metrics", headers=head).status_code == 401
            assert httpx.get(f"{address.url}/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
            assert httpx.get(f"{address.url}/health").status_code == 200

    def test_each_key_has_a_rate_of_its_own(self, serving: Callable[..., Any]) -> None:
        with serving(ServeConfig(per_minute=3), keys=(KEY, "other" * 5)) as address:

            def status(key: str) -> httpx.Response:
                return httpx.get(f"{address.url}/v1/models", headers={"Authorization": f"Bearer {key}"})

            assert [status(KEY).status_code for _ in range(4)] == [200, 200, 200, 429]
            assert 1 <= int(status(KEY).headers["retry-after"]) <= 20
            assert status("other" * 5).status_code == 200

    def test_keys_are_read_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "keys").write_text(f"{KEY}\n\n{'x' * 16}\n")
        assert read_keys(tmp_path / "keys") == (KEY, "x" * 16)
        (tmp_path / "keys").write_text("short")
        with pytest.raises(UserError, match="at least 16"):
            read_keys(tmp_path / "keys")


class TestTime:
    def test_a_full_queue_says_when_to_come_again(self, serving: Callable[..., Any]) -> None:
        config = ServeConfig(most_waiting=2, batch_size=1, batch_wait=300)
        body = {"model": "solar", "images": [data_url(picture())]}
        with serving(config) as address, ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: post(address, "/v1/classify", body), range(12)))
            refused = [one for one in answers if one.status_code == 429]
            assert {one.status_code for one in answers} == {200, 429} and refused[0].headers["retry-after"]
            assert alive(address)

    def test_whoever_goes_away_is_not_written_for(self, serving: Callable[..., Any]) -> None:
        body = {"model": "writer", "messages": [{"role": "user", "content": "a"}], "max_tokens": 120, "stream": True,
                "temperature": 1, "seed": 2}  # fmt: skip
        with serving(ServeConfig(most_rows=1)) as address:
            with httpx.stream("POST", f"{address.url}/v1/chat/completions", json=body, timeout=60) as answer:
                next(answer.iter_lines())
            told = post(address, "/v1/chat/completions", {**body, "stream": False, "max_tokens": 2})
            assert told.status_code == 200

    def test_a_body_that_comes_too_slowly_is_given_up(self, serving: Callable[..., Any]) -> None:
        with serving(ServeConfig(seconds=0.5)) as address:
            with socket.create_connection(("127.0.0.1", address.port), 10) as slow:
                slow.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
                assert b" 408 " in slow.recv(4096).split(b"\r\n")[0] + b" "
            assert httpx.get(f"{address.url}/health").status_code == 200

    def test_a_connection_that_says_nothing_is_closed(
        self, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("beholder.serve.run._SECONDS_TO_ASK", 0.3)
        with serving() as address:
            silent = [socket.create_connection(("127.0.0.1", address.port), 10) for _ in range(50)]
            silent[0].sendall(b"GET /hea")
            began = time.monotonic()
            assert all(one.recv(10) == b"" for one in silent)
            assert time.monotonic() - began < 5
            for one in silent:
                one.close()
            assert httpx.get(f"{address.url}/health").status_code == 200

    def test_what_has_begun_is_ended_before_the_server_goes(self, serving: Callable[..., Any]) -> None:
        body = {"model": "writer", "messages": [{"role": "user", "content": "a"}], "max_tokens": 100}
        found: list[int] = []
        with serving() as address:
            asking = threading.Thread(
                target=lambda: found.append(post(address, "/v1/chat/completions", body).status_code)
            )
            asking.start()
            time.sleep(0.15)
        asking.join(30)
        assert found == [200]


class TestAddresses:
    @pytest.mark.parametrize(
        ("number", "is_open"),
        [
            ("8.8.8.8", True), ("127.0.0.1", False), ("10.1.2.3", False), ("192.168.0.1", False), ("172.16.5.5", False),
            ("169.254.169.254", False), ("0.0.0.0", False), ("100.64.0.1", False), ("224.0.0.1", False), ("::1", False),
            ("fe80::1%eth0", False), ("fd00::1", False), ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False),
            ("2002:7f00:1::", False), ("2606:4700::1111", True),
        ],
    )  # fmt: skip
    def test_only_the_open_internet_is_public(self, number: str, is_open: bool) -> None:
        assert is_public(number) == is_open

    @pytest.mark.parametrize(
        "url",
        ["http://127.0.0.1:{port}/x.png", "http://localhost:{port}/", "http://[::1]:{port}/", "http://0x7f000001/",
         "http://user@127.0.0.1/", "https://127.0.0.1.:{port}/", "http://2130706433/", "http://exa mple/"],
    )  # fmt: skip
    def test_private_ones_are_never_fetched(self, serving: Callable[..., Any], url: str) -> None:
        with serving(ServeConfig(remote_images=True, seconds=5)) as address:
            body = {"model": "solar", "images": [url.format(port=address.port)]}
            answer = post(address, "/v1/classify", body)
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "invalid_image_url"


class TestMistakes:
    def test_models_of_one_name_and_none_are_told(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="Name at least one model"):
            open_all([], pick_device("cpu", 1), Choice(), Log(quiet=True))
        folder = save_language(tmp_path / "a" / "same" / "model")
        other = save_language(tmp_path / "b" / "same")
        with pytest.raises(UserError, match="Two models are called same"):
            open_all([folder, other], pick_device("cpu", 1), Choice(), Log(quiet=True))
        with pytest.raises(UserError, match="none of the models places images"):
            open_all([folder], pick_device("cpu", 1), Choice(tmp_path), Log(quiet=True))
        assert load(folder)

    @pytest.mark.parametrize(
        ("asked", "told"),
        [([], "Name at least one model"), (["x", "--batch-size", "0"], "--batch-size 0"),
         (["x", "--seconds", "0"], "--seconds 0"), (["x", "--port", "99999"], "no such|There is no|99999|not")],
    )  # fmt: skip
    def test_the_verb_tells_them(self, asked: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["serve", *asked]) == 2
        with pytest.raises(ValueError, match=told):
            raise ValueError(capsys.readouterr().err)

    def test_a_taken_port_is_told(
        self, models: list[Served], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = save_language(tmp_path / "model")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            assert main(["serve", str(folder), "--port", str(taken.getsockname()[1]), "--device", "cpu"]) == 2
        assert "cannot be listened on" in capsys.readouterr().err
