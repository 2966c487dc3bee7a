"""`adapt` in trouble: a loss that is no number, features that collapse, a full disk, a folder that cannot be used."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles import random_network
from pictures import write_classes
from safetensors import SafetensorError

import beholder
from beholder.checkpoint import files as checkpoint_files
from beholder.objectives.teacher import SelfDistillation
from beholder.runtime.files import read_json
from beholder.types import Losses, UserError

pytestmark = pytest.mark.usefixtures("tiny_network")

SMALL: dict[str, Any] = {"budget": "3 steps", "objective": "teacher", "threads": 1, "resolutions": (64,)}
JUDGED = ("helped", "hurt", "no difference")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("trouble") / "photos", 32)


def trouble(monkeypatch: pytest.MonkeyPatch, damage: Callable[[Any], None]) -> None:
    """Let the objective damage the model after its third step; the steps timed before a run are fewer."""
    own = SelfDistillation.after_step

    def after_step(self: Any, model: Any, progress: float) -> None:
        own(self, model, progress)
        self.__dict__["num_taken"] = self.__dict__.get("num_taken", 0) + 1
        if self.__dict__["num_taken"] == 3:
            with torch.no_grad():
                damage(model)

    monkeypatch.setattr(SelfDistillation, "after_step", after_step)


def scale(factor: float) -> Callable[[Any], None]:
    def damage(model: Any) -> None:
        for parameter in model.parameters():
            parameter.mul_(factor)

    return damage


class TestPretraining:
    def check_shipped(self, out: Path, reason: str) -> dict[str, Any]:
        """Said in results, card and report; the generic model is kept, and the candidate was judged all the same."""
        results = read_json(out / "results.json")
        assert reason in results["training"]["stopped"]
        assert reason in results["verdict"]["guard"]
        assert any(reason in detail for detail in results["verdict"]["details"])
        assert reason in (out / "report.html").read_text()
        assert results["verdict"]["shipped"] == "generic"
        assert results["verdict"]["outcome"] in JUDGED
        assert results["verdict"]["interval"]
        assert {arm["title"] for arm in results["embeddings"]["arms"]} >= {"generic", "adapted"}
        bundle = beholder.load(out)
        assert len(bundle.model.embedder.backbones) == 1
        return results

    def test_a_loss_that_is_no_number_ends_pretraining_and_not_the_run(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = SelfDistillation.forward

        def forward(self: Any, model: Any, batch: Any) -> Losses:
            losses = own(self, model, batch)
            self.__dict__["num_seen"] = self.__dict__.get("num_seen", 0) + 1
            return Losses(losses.total * (torch.nan if self.__dict__["num_seen"] == 3 else 1.0), losses.parts)

        monkeypatch.setattr(SelfDistillation, "forward", forward)
        beholder.adapt(photos, out=tmp_path / "run", **SMALL)
        results = self.check_shipped(tmp_path / "run", "diverged at step 2")
        assert [step for step, _ in results["training"]["losses"]] == [0, 1]

    def test_features_that_collapse_end_pretraining_and_not_the_run(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trouble(monkeypatch, scale(0.0))
        beholder.adapt(photos, out=tmp_path / "run", labels="auto", **SMALL)
        results = self.check_shipped(tmp_path / "run", "the features collapsed")
        assert [step for step, _ in results["training"]["losses"]] == [0, 1, 2]
        assert "adapted" in {arm["kind"] for arm in results["curve"]["arms"]}
        health = {arm["title"]: arm for arm in results["embeddings"]["arms"]}
        assert health["adapted"]["effective_rank"] < 2 < health["generic"]["effective_rank"]
        assert health["adapted"]["knn_consistency"] < health["generic"]["knn_consistency"]
        assert results["verdict"]["outcome"] != "helped"

    def test_features_that_blow_up_end_pretraining_and_not_the_run(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trouble(monkeypatch, scale(1e12))
        beholder.adapt(photos, out=tmp_path / "run", **SMALL)
        results = self.check_shipped(tmp_path / "run", "the features blew up")
        shares = [arm["knn_consistency"] for arm in results["embeddings"]["arms"]]
        assert len(shares) == 3
        assert all(0 < share <= 1 for share in shares)


@pytest.fixture(scope="module")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beholder.recipes.adapt.run.efficientnet_lite0", random_network)
        out = tmp_path_factory.mktemp("undisturbed") / "run"
        beholder.adapt(photos, out=out, **SMALL)
    return numbers(out)


def numbers(out: Path) -> dict[str, Any]:
    """What a finished run found, without what it cost."""
    results = read_json(out / "results.json")
    files = [*sorted((out / "checkpoints").iterdir()), out / "model" / "model.safetensors"]
    weights = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert len(weights) == 2
    told = {name: results[name] for name in ("data", "verdict", "embeddings", "curation")}
    return {**told, "losses": results["training"]["losses"], "weights": weights}


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        beholder.adapt(*arguments, **options)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def leftovers(out: Path) -> list[Path]:
    return [path for path in out.rglob("*") if path.name.endswith(".tmp")]


class TestFullDisk:
    """Told in one sentence wherever it happens; with room again, the same command ends as if nothing had been."""

    def test_while_features_checkpoint_and_report_are_written(
        self, photos: Path, tmp_path: Path, undisturbed: dict[str, Any]
    ) -> None:
        no_space = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        own_write = Path.write_text

        def refuse(*arguments: Any, **options: Any) -> None:
            raise no_space

        def refuse_tensors(*arguments: Any, **options: Any) -> None:  # in the words of the safetensors library
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

        def refuse_report(self: Path, *arguments: Any, **options: Any) -> int:
            if "report.html" in self.name:
                raise no_space
            return own_write(self, *arguments, **options)

        out = tmp_path / "run"
        for target, name, instead, is_reached in (
            (os, "posix_fallocate", refuse, lambda: not (out / "checkpoints").exists()),
            (checkpoint_files, "save_file", refuse_tensors, lambda: (out / "scratch" / "features-0").exists()),
            (Path, "write_text", refuse_report, lambda: (out / "model" / "model.safetensors").exists()),
        ):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(target, name, instead)
                sentence = refusal(photos, out=out, **SMALL)
            assert "the disk is full; free some space and run the same command again" in sentence
            assert str(out) in sentence
            assert is_reached()
            assert not (out / "results.json").exists()
            assert not leftovers(out)
        beholder.adapt(photos, out=out, **SMALL)
        assert numbers(out) == undisturbed

    def test_on_a_disk_that_grows_until_it_suffices(
        self, photos: Path, small_disk: Callable[[int], Path], undisturbed: dict[str, Any]
    ) -> None:
        """A real file system: it refuses a mapped page by a signal that kills, which no patched function shows."""
        sentences, size = [], 32
        while size < 100_000:
            out = small_disk(size) / "run"
            try:
                beholder.adapt(photos, out=out, **SMALL)
                break
            except UserError as error:
                sentences.append(str(error))
            size *= 4
        assert len(sentences) >= 3
        assert all("the disk is full" in sentence for sentence in sentences)
        assert numbers(out) == undisturbed

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Callable[[int], Path]]:
        """Mounts a file system of so many KiB, or makes it larger; only the superuser may."""
        place, mounted = tmp_path / "disk", []
        place.mkdir()

        def mount(size: int) -> Path:
            options = f"size={size}k" + ",remount" * len(mounted)
            command = ["mount", "-t", "tmpfs", "-o", options, "beholder-test", str(place)]
            if not sys.platform.startswith("linux") or shutil.which("mount") is None or os.geteuid() != 0:
                pytest.skip("only the superuser of a Linux machine may mount a small disk")
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
            mounted[:] = [place]
            return place

        yield mount
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


class TestFolder:
    def test_one_that_may_not_be_written(self, photos: Path) -> None:
        with unwritable_folder() as folder:
            sentence = refusal(photos, out=folder / "run", **SMALL)
        assert "this user may not write there; choose another --out" in sentence
        assert str(folder) in sentence

    def test_names_that_cannot_be_folders(self, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        for name, said in (
            ("file", "is a file"),
            ("file/run", "a file stands where a folder is needed"),
            ("link", "a broken link"),
            ("x" * 300, "too long"),
        ):
            assert said in refusal(photos, out=tmp_path / name, **SMALL)
        assert not (tmp_path / "nowhere").exists()

    def test_one_that_another_living_process_uses(self, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "run"
        (out / "stages").mkdir(parents=True)
        code = (
            "import fcntl, os, sys; handle = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)\n"
            "fcntl.flock(handle, fcntl.LOCK_EX); print('mine', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(out / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "mine\n"
            assert "in use by another beholder process" in refusal(photos, out=out, **SMALL)
            other.terminate()
        assert [path.name for path in sorted(out.iterdir())] == [".lock", "stages"]

    def test_one_of_another_recipe_names_the_setting_and_keeps_the_run(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, settings = tmp_path / "run", {**SMALL, "budget": "0"}

        def interrupt(*arguments: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("beholder.recipes.adapt.features.see", interrupt)
            beholder.adapt(photos, out=out, **settings)
        begun = (out / "recipe.json").read_text()
        for name, value, known, asked in (
            ("seed", 1, "with --seed 0", "with --seed 1"),
            ("budget", "9 steps", "with --budget 0", "with --budget '9 steps'"),
            ("labels", "auto", "without --labels", "with --labels auto"),
            ("resolutions", (64, 96), "with --resolutions 64", "with --resolutions 64 96"),
            ("thorough", True, "without --thorough", "with --thorough"),
            ("threads", None, "with --threads 1", "without --threads"),
            ("max_pixels", 999, "with --max-pixels 100000000", "with --max-pixels 999"),
        ):
            sentence = refusal(photos, out=out, **{**settings, name: value})
            assert f"{out} was begun {known}, this command comes {asked}; repeat the first command" in sentence
        assert (out / "recipe.json").read_text() == begun
        results = beholder.adapt(photos, out=out, **settings)  # a refusal lets go of the folder
        assert results["data"]["num_kept"] == 32

    def test_one_of_a_finished_run_is_left_as_it_is(self, photos: Path, tmp_path: Path) -> None:
        out, settings = tmp_path / "run", {**SMALL, "budget": "0"}
        beholder.adapt(photos, out=out, **settings)
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
        for again in (settings, {**settings, "seed": 1}):
            assert "holds a finished run; choose another --out" in refusal(photos, out=out, **again)
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@contextlib.contextmanager
def unwritable_folder() -> Iterator[Path]:
    """A folder that this process may not write into; the superuser becomes nobody for so long."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65534)
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)
