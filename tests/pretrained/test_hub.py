"""Models by their name on the hub: what is cached needs no network, and what cannot be had is told in one sentence."""

from __future__ import annotations

import builtins
import fnmatch
import json
import os
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from parity.reference import randomise, save

import beholder
from beholder.pretrained.hub import (
    KNOWN,
    WANTED,
    HubName,
    cache_folder,
    cached_names,
    find_snapshot,
    nearest_names,
    parse_name,
)
from beholder.pretrained.huggingface.families import FAMILIES
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.types import UserError

COMMITS = ("1" * 40, "abcdef0123" * 4)


def reference(seed: int = 0) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return randomise(GPT2LMHeadModel(GPT2Config(vocab_size=80, n_positions=24, n_embd=12, n_layer=2, n_head=3)), seed)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("the network was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    return tmp_path / "home" / "hub"


def put(cache: Path, name: str, commit: str, seed: int = 0, **saving: Any) -> Path:
    """A model in the cache as the hub's library lays it: blobs, links to them, and a name for the commit."""
    place = cache / f"models--{name.replace('/', '--')}"
    folder = place / "snapshots" / commit
    folder.mkdir(parents=True)
    (place / "blobs").mkdir(exist_ok=True)
    made = reference(seed)
    if saving:
        made.save_pretrained(folder, **saving)
    else:
        save(made, folder)
    for path in list(folder.iterdir()):
        blob = place / "blobs" / f"{commit[:4]}-{path.name}"
        shutil.move(path, blob)
        path.symlink_to(os.path.relpath(blob, folder))
    return folder


def point(cache: Path, name: str, revision: str, commit: str) -> None:
    path = cache / f"models--{name.replace('/', '--')}" / "refs" / revision
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(commit)


def answers_like(loaded: Any, seed: int) -> None:
    tokens = torch.arange(40).view(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(tokens), reference(seed)(tokens).logits, rtol=1e-5, atol=1e-5)


def refusal(name: str) -> str:
    with pytest.raises(UserError) as caught:
        beholder.load(name)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


class TestNames:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("openai/clip-vit-base-patch32", HubName("openai/clip-vit-base-patch32")),
            ("gpt2", HubName("gpt2")),
            ("https://huggingface.co/openai/clip-vit-base-patch32", HubName("openai/clip-vit-base-patch32")),
            ("https://huggingface.co/a/b/", HubName("a/b")),
            ("a/b@v1.0", HubName("a/b", "v1.0", is_told=True)),
            ("a/b@refs/pr/3", HubName("a/b", "refs/pr/3", is_told=True)),
            (f"a/b@{COMMITS[1]}", HubName("a/b", COMMITS[1], is_told=True)),
        ],
    )
    def test_a_name_of_the_hub(self, name: str, expected: HubName) -> None:
        assert parse_name(name) == expected

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "/a",
            "a/",
            "a/b/c",
            "../a",
            "./a",
            "a/..",
            "~/a",
            "a b",
            "a/b@",
            "a/b@..",
            "a/b@../../x",
            "a--b/c",
            "x" * 97,
        ],
    )
    def test_what_is_none(self, name: str) -> None:
        assert parse_name(name) is None

    def test_the_cache_is_where_the_programs_of_the_hub_have_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert cache_folder() == tmp_path / "home" / "hub"
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
        assert cache_folder() == tmp_path / "elsewhere"
        monkeypatch.delenv("HF_HUB_CACHE")
        monkeypatch.delenv("HF_HOME")
        assert cache_folder() == Path("~/.cache/huggingface/hub").expanduser()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder() == tmp_path / "xdg" / "huggingface" / "hub"

    def test_pickles_are_never_wanted_and_all_that_is_read_is(self) -> None:
        def is_wanted(name: str) -> bool:
            return any(fnmatch.fnmatch(name, pattern) for pattern in WANTED)

        refused = (
            "pytorch_model.bin",
            "pytorch_model-00001-of-00002.bin",
            "model.pt",
            "tf_model.h5",
            "training_args.bin",
        )
        assert not [name for name in refused if is_wanted(name)]
        assert not is_wanted("consolidated.safetensors"), "another program's copy of the same weights"
        needed = ("config.json", "model.safetensors", "model-00001-of-00002.safetensors", "tokenizer.json")
        assert all(map(is_wanted, (*needed, "preprocessor_config.json", "vocab.txt", "merges.txt")))

    def test_names_that_are_offered_can_be_read(self) -> None:
        assert all(parse_name(name) for name in KNOWN)
        assert len(FAMILIES) > 4


class TestCache:
    def test_a_cached_model_is_loaded_without_network_and_library(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = put(cache, "owner/small", COMMITS[0])
        point(cache, "owner/small", "main", COMMITS[0])
        without_the_library(monkeypatch)
        loaded = beholder.load("owner/small")
        assert isinstance(loaded, Foreign)
        assert (loaded.kind, loaded.source) == ("gpt2", folder)
        answers_like(loaded, 0)

    def test_a_revision_pins_a_model(self, cache: Path) -> None:
        for seed, commit in enumerate(COMMITS):
            put(cache, "small", commit, seed)
        point(cache, "small", "main", COMMITS[0])
        point(cache, "small", "refs/pr/1", COMMITS[1])
        for name, seed in (("small", 0), ("small@main", 0), (f"small@{COMMITS[1]}", 1), ("small@refs/pr/1", 1)):
            answers_like(beholder.load(name), seed)

    def test_shards_are_read_as_one(self, cache: Path) -> None:
        folder = put(cache, "owner/large", COMMITS[0], max_shard_size="10KB")
        point(cache, "owner/large", "main", COMMITS[0])
        assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
        answers_like(beholder.load("owner/large"), 0)

    def test_a_folder_of_that_name_comes_first(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(cache, "owner/small", COMMITS[0])
        point(cache, "owner/small", "main", COMMITS[0])
        save(reference(5), tmp_path / "owner" / "small")
        monkeypatch.chdir(tmp_path)
        answers_like(beholder.load("owner/small"), 5)
        assert "does not exist" in refusal("owner/smal"), "beside a folder, a path was meant"
        answers_like(beholder.load("owner/small@main"), 0)


class TestNetwork:
    @pytest.fixture
    def asked(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """What the hub was asked for; it has owner/small."""
        found: list[dict[str, Any]] = []

        def give(name: str, **told: Any) -> str:
            found.append({"name": name, **told})
            shutil.rmtree(cache / "models--owner--small", ignore_errors=True)
            return str(put(cache, "owner/small", COMMITS[0], 3))

        monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
        return found

    def test_what_is_not_cached_is_fetched(self, asked: list[dict[str, Any]], cache: Path) -> None:
        answers_like(beholder.load("owner/small@v2"), 3)
        assert asked == [{"name": "owner/small", "revision": "v2", "allow_patterns": list(WANTED), "cache_dir": cache}]

    def test_half_a_model_in_the_cache_is_fetched_whole(self, asked: list[dict[str, Any]], cache: Path) -> None:
        folder = put(cache, "owner/small", COMMITS[0])
        point(cache, "owner/small", "main", COMMITS[0])
        (folder / "model.safetensors").resolve().unlink()  # the link stays, as after a broken download
        answers_like(beholder.load("owner/small"), 3)
        assert len(asked) == 1

    def test_a_model_of_pickles_only(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = put(cache, "owner/old", COMMITS[0])
        (folder / "model.safetensors").unlink()
        monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
        sentence = refusal("owner/old")
        assert "has no model.safetensors on the hub" in sentence
        assert "pickled weights are never read" in sentence

    def test_no_network_and_nothing_cached(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fail(monkeypatch, errors.LocalEntryNotFoundError("Got: ConnectError: Connection refused\nPlease check"))
        sentence = refusal("owner/nothing")
        assert f"not in the cache ({cache})" in sentence
        assert "Connection refused" in sentence
        assert "connect to the network, or copy the model's folder here" in sentence

    def test_no_network_and_half_a_model(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = put(cache, "owner/large", COMMITS[0], max_shard_size="10KB")
        point(cache, "owner/large", "main", COMMITS[0])
        shard = sorted(folder.glob("model-*"))[0]
        shard.unlink()
        fail(monkeypatch, ConnectionError("no route"))
        sentence = refusal("owner/large")
        assert f"in the cache without {shard.name}" in sentence
        assert "no route" in sentence

    def test_an_unreachable_hub_is_told_by_the_library_itself(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        monkeypatch.setenv("HF_HUB_CACHE", str(cache))
        real = huggingface_hub.snapshot_download

        def nowhere(*args: Any, **told: Any) -> str:
            return real(*args, **told, endpoint="http://127.0.0.1:9")  # nothing listens on the port of discard

        monkeypatch.setattr(huggingface_hub, "snapshot_download", nowhere)
        assert "cannot be fetched from the hub" in refusal("owner/nothing")

    def test_an_unknown_name_is_told_with_those_like_it(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(cache, "owner/sparrow", COMMITS[0])
        fail(monkeypatch, answered(errors.RepositoryNotFoundError))
        assert "names like it are owner/sparrow" in refusal("owner/sparow")
        assert "names like it are openai/clip-vit-base-patch32" in refusal("openai/clip-vit-base-patch23")
        assert "names like it are google-bert/bert-base-uncased" in refusal("bert-base-uncasd")
        assert "names like it" not in refusal("qqqqq/zzzzz")

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            (errors.GatedRepoError, "accepted its terms"),
            (errors.RevisionNotFoundError, "owner/a has no revision 'v9'"),
            (errors.HfHubHTTPError, "cannot be fetched from the hub"),
        ],
    )
    def test_what_the_hub_refuses_is_told(self, kind: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
        fail(monkeypatch, answered(kind))
        assert said in refusal("owner/a@v9")

    def test_the_library_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        without_the_library(monkeypatch)
        assert "pip install 'beholder[hub]'" in refusal("owner/a")


def test_cached_names_come_before_known_ones(cache: Path) -> None:
    assert cached_names() == []
    put(cache, "me/gpt2", COMMITS[0])
    assert cached_names() == ["me/gpt2"]
    assert nearest_names("gpt2")[0] == "me/gpt2"
    assert "openai-community/gpt2" in nearest_names("openai-comunity/gpt2")


def test_a_cache_that_leads_out_of_itself_is_no_place(cache: Path) -> None:
    put(cache, "owner/small", COMMITS[0])
    point(cache, "owner/small", "main", "none such")
    with pytest.raises(pytest.fail.Exception, match="the network was asked"):
        find_snapshot(HubName("owner/small"))
    index = {"weight_map": {"a": "../../../secret.safetensors"}}
    folder = put(cache, "owner/odd", COMMITS[1])
    point(cache, "owner/odd", "main", COMMITS[1])
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "is no safetensors file beside it" in refusal("owner/odd")


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def ask(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", ask)


def answered(kind: type[Exception]) -> Exception:
    """An error as the library makes it from an answer of the hub, without the answer."""
    error = kind.__new__(kind)
    error.args = ("404 Client Error",)
    return error


def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "huggingface_hub":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
