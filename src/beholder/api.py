"""The public functions, as `beholder.NAME` offers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from beholder.backends.outputs import Backend
from beholder.data.decode import Limits
from beholder.data.dialogues import read_examples
from beholder.inference.sampling import SamplingConfig
from beholder.inference.unmask import UnmaskConfig
from beholder.pretrained.bundle import Bundle
from beholder.pretrained.embedded import DEFAULT_PAIRS
from beholder.pretrained.huggingface.export import export_to_huggingface
from beholder.pretrained.huggingface.foreign import Foreign
from beholder.pretrained.load import load, load_own
from beholder.pretrained.part_folder import MASKED, SENTENCES, TEXT_TO_IMAGE, Part, need_whole, open_part
from beholder.recipes.adapt import adapt
from beholder.recipes.curate import curate
from beholder.recipes.distil.run import distil
from beholder.recipes.doctor import doctor
from beholder.recipes.export import export
from beholder.recipes.pick import pick
from beholder.recipes.scale_law import scale_law
from beholder.recipes.search import search
from beholder.recipes.tune import tune
from beholder.runtime.device import pick_device
from beholder.tasks.anomaly import anomaly as _anomaly
from beholder.tasks.classify import classify as _classify
from beholder.tasks.complete import Completion
from beholder.tasks.complete import complete as _complete
from beholder.tasks.describe import rank_descriptions
from beholder.tasks.embed import ImageInput, each
from beholder.tasks.generate import GUIDANCE, DrawingConfig, Generation
from beholder.tasks.generate import generate as _generate
from beholder.tasks.inpaint import MaskInput, Painted
from beholder.tasks.inpaint import inpaint as _inpaint
from beholder.tasks.masked_pictures import Wish
from beholder.tasks.saying import NUM_BEAMS, saying_of
from beholder.tasks.shared_space import open_space
from beholder.tasks.similarity import classify_by_name
from beholder.tasks.similarity import similarity as _similarity
from beholder.tasks.talk import answer as _answer
from beholder.tasks.talk import describe as _describe
from beholder.tasks.talk import open_talker
from beholder.tasks.write import open_writer, write_on
from beholder.types import Answer, UserError

__all__ = [
    "adapt", "anomaly", "answer", "classify", "complete", "curate", "describe", "distil", "doctor",
    "edit", "export", "export_to_huggingface", "generate", "inpaint", "load", "pick", "scale_law",
    "search", "similarity", "tune", "write",
]  # fmt: skip


Model = Bundle | Foreign | Part | str | Path
Images = ImageInput | Iterable[ImageInput]
"""One or many of: files, folders of them, Pillow images, byte arrays (H W, or H W C with 1, 3 or 4 channels)."""


def classify(
    model: Model,
    images: Images,
    device: str = "auto",
    *,
    labels: Sequence[str] | None = None,
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> list[Answer]:
    """Which class each image belongs to: `label`, its probability as `score`, all in `details["probabilities"]`.

    `model` is one that `load` gave, or its name; `images` is one or many of: files, folders of them, Pillow images,
    byte arrays (H W, or H W C with 1, 3 or 4 channels). A model that adapt made knows its classes; one that reads
    texts, such as CLIP, is told names of classes in `labels`. An image that cannot be read, or has more than
    `max_pixels`, is answered with `refused`. Raises UserError when the model was made without labels or reads none, or
    an input is no image at all.
    """
    if labels is None:
        return _ask(_classify, _own(model, _NAMES_REMEDY), images, device, threads, max_pixels)
    return _compare(classify_by_name, model, images, labels, device, threads, max_pixels)


def similarity(
    model: Model,
    images: Images,
    texts: str | Sequence[str],
    device: str = "auto",
    *,
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> list[Answer]:
    """How well texts go with each image: the best text as `label`, its cosine as `score`, those of all texts in
    `details["similarities"]`. Arguments as for `classify`; the model has to read texts."""
    return _compare(_similarity, model, images, texts, device, threads, max_pixels)


def describe(
    model: Model,
    images: Images,
    candidates: str | Sequence[str] | None = None,
    device: str = "auto",
    *,
    examples: str | Path | None = None,
    language: str | None = None,
    beams: int = NUM_BEAMS,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: Sequence[str] = (),
    seed: int = 0,
    backend: Backend | Literal["auto"] = "plain",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> list[Answer]:
    """A caption of each image as `label`, by a model that `train describe` made; `examples` is a table of images with
    captions that it reads first; `language` one of those that it learned, such as "zh". With `candidates`, by a model
    that reads texts: which of them describes each image best, as `label`, its cosine as `score`, the best five in
    `details["ranking"]`.

    `beams` captions are followed at once; with a `temperature` words are drawn instead, from the likeliest `top_k`, or
    the fewest that have the share `top_p`; one of the texts `stop` ends a caption. `backend` runs the part that sees on
    a CPU. Arguments else as for `classify`."""
    if candidates is not None:
        return _compare(rank_descriptions, model, images, candidates, device, threads, max_pixels)
    saying = saying_of(beams, temperature, top_k, top_p, stop, seed)
    limits = Limits(max_pixels=max_pixels)
    shots = [] if examples is None else read_examples(Path(examples), limits)
    loaded = load(model) if isinstance(model, str | Path) else model
    talker = open_talker(loaded, pick_device(device, threads), backend=backend)
    return list(_describe(talker, images, limits, saying, shots, language))


def answer(
    model: Model,
    images: Images,
    question: str,
    device: str = "auto",
    *,
    choices: Sequence[str] = (),
    beams: int = NUM_BEAMS,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: Sequence[str] = (),
    seed: int = 0,
    backend: Backend | Literal["auto"] = "plain",
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> list[Answer]:
    """An answer to the question about each image as `label`, by a model that `train describe` made of questions and
    answers. With `choices` it is one of these, with its probability among them as `score`. Arguments else as for
    `describe` and `classify`. Raises UserError for a question without words, and for choices that are none."""
    saying = saying_of(beams, temperature, top_k, top_p, stop, seed)
    loaded = load(model) if isinstance(model, str | Path) else model
    talker = open_talker(loaded, pick_device(device, threads), "answer", backend)
    return list(_answer(talker, images, question, Limits(max_pixels=max_pixels), saying, choices))


def anomaly(
    model: Model,
    images: Images,
    device: str = "auto",
    *,
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> list[Answer]:
    """Whether each image is unusual: `label` "unusual" or "usual", the distance as `score`, threshold and p-value in
    `details`. Arguments as for `classify`. Raises UserError when the model saw too few normal images."""
    return _ask(_anomaly, _own(model), images, device, threads, max_pixels)


def write(
    beginnings: str | Sequence[str],
    model: Model,
    tokens: int | None = None,
    count: int = 1,
    beams: int = 1,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
) -> list[str]:
    """What a language model writes after each beginning, `count` times; of one that was taught conversations, what it
    answers. At most so many `tokens`, 100 or as many as fit if not given. With a `temperature` of 0 the likeliest word
    is taken each time, or `beams` texts are followed; arguments else as for `describe`."""
    saying = saying_of(beams, temperature, top_k, top_p, stop, seed)
    loaded = load(model) if isinstance(model, str | Path) else model
    writer = open_writer(loaded, pick_device(device, threads))
    listed = [beginnings] if isinstance(beginnings, str) else list(beginnings)
    return [text for _, text in write_on(writer, listed, saying, tokens=tokens, count=count)]


def complete(
    model: Part | str | Path,
    pictures: Sequence[ImageInput],
    device: str = "auto",
    *,
    temperature: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> Completion:
    """Go on by example: `pictures` are pairs of a picture and its answer, then a question; its answer comes back as
    `picture` (H W 3 bytes), and `save` writes it with where it comes from. `model`: a run of `train lvm`, or what
    `load` made of it. Raises UserError for an even number of pictures, and for more than the model reads."""
    part = model if isinstance(model, Part) else open_part(model, SENTENCES, "model")
    return _complete(
        part, pictures, sampling=SamplingConfig(temperature=temperature), seed=seed,
        device=pick_device(device, threads), limits=Limits(max_pixels=max_pixels),
    )  # fmt: skip


def generate(
    model: Part | str | Path,
    prompt: str | None = None,
    device: str = "auto",
    *,
    label: str | None = None,
    count: int = 4,
    keep: int | None = None,
    guidance: float = GUIDANCE,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    steps: int | None = None,
    reranker: str | None = None,
    batch_size: int = 32,
    seed: int = 0,
    threads: int | None = None,
) -> Generation:
    """Pictures of what the prompt says: each of `pictures` has its `picture` (H W 3 bytes), its reranker's `score` and
    its `origin`, and `save` writes all into a new folder. `model`: a run of `train text-to-image`, or of `train masked`
    (which takes a `label` or nothing, and draws in `steps`), or what `load` made of it. `reranker`: a name that `load`
    opens, or "none"; the model's own if not given. With `keep`, `count` are drawn and so many given. Raises UserError
    for counts below 1 and a prompt of unknown words."""
    part = model if isinstance(model, Part) else open_part(model, (TEXT_TO_IMAGE, MASKED), "model")
    return _generate(
        part, prompt, label=label, count=count, keep=keep,
        config=DrawingConfig(guidance, temperature, top_k, top_p, steps), seed=seed, reranker=reranker,
        batch_size=batch_size, device=pick_device(device, threads),
    )  # fmt: skip


def inpaint(
    model: Part | str | Path,
    image: ImageInput,
    mask: MaskInput,
    device: str = "auto",
    *,
    count: int = 1,
    steps: int = 12,
    temperature: float = 1.0,
    batch_size: int = 64,
    seed: int = 0,
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> list[Painted]:
    """The picture with something that fits where the mask is not 0, in so many versions; `picture` (H W 3 bytes) of
    each is as it was elsewhere, pixel for pixel, and `save` writes it with where it comes from. `model`: a run of
    `train masked`, or what `load` made of it. Raises UserError for a mask of another size, an empty or a full one."""
    return _mend(
        model, image, mask, Wish(), UnmaskConfig(num_steps=steps, temperature=temperature), device, count=count,
        batch_size=batch_size, seed=seed, threads=threads, max_pixels=max_pixels,
    )  # fmt: skip


def edit(
    model: Part | str | Path,
    image: ImageInput,
    mask: MaskInput,
    device: str = "auto",
    *,
    label: str | None = None,
    prompt: str | None = None,
    count: int = 1,
    steps: int = 12,
    temperature: float = 1.0,
    guidance: float = 3.0,
    batch_size: int = 64,
    seed: int = 0,
    threads: int | None = None,
    max_pixels: int = 100_000_000,
) -> list[Painted]:
    """As `inpaint`, with what is asked for there: a class of the model's, or words. `guidance` above 1 follows it
    more. Raises UserError where nothing is asked for, and for a class or words that the model does not know."""
    wish = Wish(label, prompt)
    if wish.is_empty:
        raise UserError("edit: nothing is asked for; give a label or a prompt, or use inpaint.")
    decoding = UnmaskConfig(num_steps=steps, temperature=temperature, guidance=guidance)
    return _mend(
        model, image, mask, wish, decoding, device, count=count, batch_size=batch_size, seed=seed, threads=threads,
        max_pixels=max_pixels,
    )  # fmt: skip


def _mend(
    model: Part | str | Path,
    image: ImageInput,
    mask: MaskInput,
    wish: Wish,
    decoding: UnmaskConfig,
    device: str,
    *,
    threads: int | None,
    max_pixels: int,
    **counts: int,
) -> list[Painted]:
    part = model if isinstance(model, Part) else open_part(model, MASKED, "model")
    return _inpaint(
        part, image, mask, wish=wish, decoding=decoding, device=pick_device(device, threads),
        limits=Limits(max_pixels=max_pixels), **counts,
    )  # fmt: skip


def _ask(
    task: Callable[..., Iterator[Answer]],
    model: Bundle,
    images: Images,
    device: str,
    threads: int | None,
    max_pixels: int,
) -> list[Answer]:
    return list(task(model, each(images), pick_device(device, threads), Limits(max_pixels=max_pixels)))


def _compare(
    task: Callable[..., Iterator[Answer]],
    model: Model,
    images: Images,
    texts: str | Sequence[str],
    device: str,
    threads: int | None,
    max_pixels: int,
) -> list[Answer]:
    loaded = load(model) if isinstance(model, str | Path) else model
    space = open_space(loaded, pick_device(device, threads))
    listed = [texts] if isinstance(texts, str) else list(texts)
    return list(task(space, each(images), listed, limits=Limits(max_pixels=max_pixels)))


_NAMES_REMEDY = "give `labels`, names of classes, to a model that reads texts, or name the model/ of a run of adapt"


def _own(model: Model, remedy: str = "name the model/ of a run of adapt") -> Bundle:
    if isinstance(model, str | Path):
        return load_own(model)
    model = need_whole(model)
    if isinstance(model, Foreign):
        name = model.kind if model.kind == DEFAULT_PAIRS else f"{model.source} ({model.kind})"
        raise UserError(f"{name} was trained elsewhere and has learned nothing of your images; {remedy}.")
    return model
