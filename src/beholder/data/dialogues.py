"""What people said about images: captions, questions with their answers, whole conversations, as users have them in
tables, in texts beside images, or in LLaVA's json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.data.conversations import MARK, find_conversations, read_conversations, without_marks
from beholder.data.decode import Limits, Unreadable, decode
from beholder.data.foreign import find_masks
from beholder.data.listing import Listing, Refused, list_files
from beholder.data.records import SPLITS, Locator
from beholder.data.sources import Source, check_folder, read_source
from beholder.data.table_layouts import FoundTable, find_tables, read_table_file
from beholder.data.tables import TABLE_EXTENSIONS, Table, cell_text
from beholder.types import Sample, UserError

CAPTIONS = ("captions", "caption", "text", "texts", "description", "descriptions")
QUESTIONS, ANSWERS = ("question", "prompt"), ("answers", "answer", "response")


@dataclass(frozen=True)
class Exchange:
    """A question, and what was answered."""

    question: str
    """With a mark for each image that it shows; nothing else of a caption."""
    answers: tuple[str, ...]
    """One, or several that are all right."""


@dataclass(frozen=True)
class Dialogue:
    """Everything that was said about one image, or about several together."""

    images: tuple[str, ...]
    """Keys of the source's samples, in the order of the marks."""
    exchanges: tuple[Exchange, ...]
    is_row: bool = False
    """Whether each exchange builds on those before it; else each stands for itself."""


@dataclass(frozen=True)
class Dialogues:
    """What was read."""

    source: Source
    """Of the images that are spoken of, each once."""
    dialogues: tuple[Dialogue, ...]
    kind: str
    """"captions", "questions" or "conversations"."""


def read_dialogues(path: Path, language: str | None = None) -> Dialogues:
    """Of a folder of images with a table or texts beside them, of a table, or of LLaVA's json.

    `language`, such as "zh", chooses columns of that name (captions_zh), where a table has several; "en,zh" takes both,
    and what is asked of each image then names the language (`request`). Rows whose images are not there are refused,
    and the rest goes on. Raises UserError where nothing is said about any image.
    """
    languages = languages_of(language)
    if len(languages) > 1:
        return _of_languages(path, languages)
    check_folder(path)
    told = find_conversations(path)
    if told is not None:
        if language is not None:
            raise UserError(f"--spoken {language}: {told} does not say its language; leave it out.")
        return _of_conversations(path, told)
    if path.is_file() and path.suffix.lower() not in TABLE_EXTENSIONS:
        raise UserError(f"{path} is no table and no conversations; name a folder, a table of images, or LLaVA's json.")
    listing = list_files(path) if path.is_dir() else Listing(path.parent)
    tables = find_tables(listing, None)[1] if path.is_dir() else [read_table_file(path, None)]
    if tables:
        return _of_tables(path, listing, tables, language)
    source = read_source(path)
    dialogues = [Dialogue((one.key,), (Exchange(MARK, (one.text,)),)) for one in source.samples if one.text]
    if not dialogues:
        raise UserError(
            f"{path} says nothing about its images ({source.description}); put a text beside each (x.png and x.txt), "
            "or give a table with a column caption, or with question and answer."
        )
    if language is not None:
        raise UserError(f"--spoken {language}: texts beside images do not say their language; leave it out.")
    return _spoken_of(source, dialogues, "captions", ())


def languages_of(spoken: str | None) -> tuple[str, ...]:
    """Those of "en,zh", each once. Raises UserError where there is none."""
    if spoken is None:
        return ()
    listed = tuple(dict.fromkeys(one for part in spoken.split(",") if (one := part.strip())))
    if not listed:
        raise UserError(f"--spoken {spoken!r} names no language; give one such as zh, or several as en,zh.")
    return listed


def request(language: str | None = None) -> str:
    """What asks for a caption, of a model that speaks several languages in one of these."""
    return MARK if language is None else f"{MARK} {language}"


def _of_languages(path: Path, languages: tuple[str, ...]) -> Dialogues:
    """Captions in each, about the images of all."""
    found = [read_dialogues(path, one) for one in languages]
    if any(one.kind != "captions" for one in found):
        raise UserError(f"--spoken {','.join(languages)}: {path} holds {found[0].kind}; name one language.")
    samples = {sample.key: sample for one in found for sample in one.source.samples}
    refused = {one.key: one for part in found for one in part.source.refused if one.key not in samples}
    exchanges: dict[str, list[Exchange]] = {key: [] for key in sorted(samples)}
    for language, one in zip(languages, found, strict=True):
        for dialogue in one.dialogues:
            exchanges[dialogue.images[0]] += [replace(said, question=request(language)) for said in dialogue.exchanges]
    source = replace(
        found[0].source, samples=tuple(samples[key] for key in exchanges), refused=tuple(refused.values()),
        description=f"{found[0].source.description} in {' and '.join(languages)}",
    )  # fmt: skip
    dialogues = tuple(Dialogue((key,), tuple(listed)) for key, listed in exchanges.items())
    return Dialogues(source, dialogues, "captions")


def read_examples(path: Path, limits: Limits) -> list[tuple[np.ndarray, str]]:
    """Images with a caption each, decoded, in the table's order of names. Raises UserError for one that cannot be read:
    an example is there to be read."""
    if not path.exists():
        raise UserError(f"--examples {path}: no such file; name a table of images with captions.")
    found = read_dialogues(path)
    if found.kind != "captions":
        raise UserError(f"--examples {path} holds {found.kind}; give images with captions.")
    if found.source.refused:
        one = found.source.refused[0]
        raise UserError(f"--examples {path}: {one.key} cannot be used ({one.reason}); mend or remove it.")
    samples = {sample.key: sample for sample in found.source.samples}
    examples = []
    for dialogue in found.dialogues:
        try:
            image = decode(samples[dialogue.images[0]], limits)
        except Unreadable as error:
            raise UserError(f"--examples {path}: {dialogue.images[0]} cannot be read ({error.reason}).") from error
        examples.append((image, dialogue.exchanges[0].answers[0]))
    return examples


def _of_tables(path: Path, listing: Listing, tables: list[FoundTable], language: str | None) -> Dialogues:
    found: dict[str, list[Exchange]] = {}
    samples: dict[str, Sample] = {}
    refused: list[Refused] = []
    kinds: Counter[str] = Counter()
    for item in tables:
        table, roles = item.table, item.roles
        reader = _Reader(table, language)
        locator = Locator(listing, table.path.parent)
        for index, row in enumerate(table.rows):
            place = cell_text(row.get(roles.path))
            key = None if place is None else locator.find_listed(place)
            file = None if place is None or key is not None else locator.find_file(place)
            if place is None or (key is None and file is None):
                where = table.where(index)
                refused.append(Refused(place or where, f"{where} names a file that is not there, or is no image"))
                continue
            exchanges = reader.read(row)
            if not exchanges:
                refused.append(Refused(place, f"{table.where(index)} says nothing about it"))
                continue
            name = key or place
            kinds.update("captions" if one.question == MARK else "questions" for one in exchanges)
            split = SPLITS.get((cell_text(row.get(roles.split)) or "").lower() if roles.split else "") or item.split
            sample = Sample(name, locator.path_of(key) if key is not None else file, split=split)
            samples.setdefault(name, sample)
            found.setdefault(name, []).extend(exchanges)
    num_rows = sum(len(item.table.rows) for item in tables)
    if not found:
        raise UserError(
            f"{path}: none of {num_rows:,} rows says something about an image that is there; give a column caption, or "
            "question and answer, and paths relative to the table."
        )
    kind = max(sorted(kinds), key=lambda name: kinds[name])
    title = f"{tables[0].table.path.name}: {len(found):,} images, {sum(map(len, found.values())):,} {kind}"
    source = Source(listing.folder, "table", title, tuple(samples[key] for key in sorted(samples)), tuple(refused))
    if kind == "captions":
        found = {key: [_joined(exchanges)] for key, exchanges in found.items()}
        title = f"{tables[0].table.path.name}: {len(found):,} images with captions"
        source = replace(source, description=title)
    return Dialogues(source, tuple(Dialogue((key,), tuple(found[key])) for key in sorted(found)), kind)


class _Reader:
    """What a table's rows say, by the columns that it has."""

    def __init__(self, table: Table, language: str | None) -> None:
        self._captions = _find_in(table, CAPTIONS, language)
        self._question, self._answer = _find_in(table, QUESTIONS, language), _find_in(table, ANSWERS, language)
        self._pairs = _find_in(table, ("qa", "questions"), language)
        if language is not None and not (self._captions or self._pairs or (self._question and self._answer)):
            raise UserError(
                f"--spoken {language}: {table.path.name} has no column such as captions_{language}; it has "
                f"{', '.join(table.columns)}."
            )

    def read(self, row: Mapping[str, Any]) -> list[Exchange]:
        """Questions where there are some, else captions."""
        asked: list[Exchange] = []
        if self._question and self._answer:
            asked.append(_asked(row.get(self._question), row.get(self._answer)))
        listed = row.get(self._pairs) if self._pairs else None
        for one in listed if isinstance(listed, list) else []:
            if isinstance(one, Mapping):
                asked.append(_asked(one.get("question"), one.get("answers", one.get("answer"))))
        asked = [one for one in asked if one.question != MARK and one.answers]
        if asked or not self._captions:
            return asked
        captions = _texts(row.get(self._captions))
        return [Exchange(MARK, captions)] if captions else []


def _find_in(table: Table, names: Iterable[str], language: str | None) -> str | None:
    if language is None:
        return table.find(tuple(names))
    suffixed = tuple(f"{name}_{language}" for name in names)
    return table.find(suffixed) or (table.find(tuple(names)) if language == "en" else None)


def _asked(question: Any, answers: Any) -> Exchange:
    return Exchange(f"{MARK} {without_marks(cell_text(question) or '')}".strip(), _texts(answers))


def _texts(value: Any) -> tuple[str, ...]:
    """All of a list, or the one of a cell, as single lines, each once."""
    listed = value if isinstance(value, list | tuple) else [value]
    told = (" ".join((cell_text(one) or "").split()) for one in listed)
    return tuple(dict.fromkeys(one for one in told if one))


def _joined(exchanges: list[Exchange]) -> Exchange:
    """Captions of several rows about one image as those of one."""
    return Exchange(MARK, tuple(dict.fromkeys(text for one in exchanges for text in one.answers)))


def _of_conversations(path: Path, told: Path) -> Dialogues:
    folder = path if path.is_dir() else path.parent
    listing = list_files(folder)
    masks, _ = find_masks(listing)
    locator = Locator(listing, told.parent)
    dialogues, refused = [], []
    samples: dict[str, Sample] = {}
    for row in read_conversations(told):
        keys = [locator.find_listed(place) for place in row.images]
        missing = [place for place, key in zip(row.images, keys, strict=True) if key is None or key in masks]
        if row.reason or missing:
            refused.append(Refused(row.where, row.reason or f"{row.where} names {missing[0]}, which is not there"))
            continue
        names = tuple(key for key in keys if key is not None)
        samples.update({name: Sample(name, locator.path_of(name)) for name in names})
        exchanges = tuple(Exchange(question, (answer,)) for question, answer in row.turns)
        dialogues.append(Dialogue(names, exchanges, is_row=True))
    if not dialogues:
        raise UserError(
            f"{told}: none of its {len(refused):,} conversations can be used; the first: {refused[0].reason}."
            if refused
            else f"{told} holds no conversation; give rows with image and conversations."
        )
    title = f"{told.name}: {len(dialogues):,} conversations about {len(samples):,} images"
    source = Source(folder, "conversations", title, tuple(samples[key] for key in sorted(samples)), tuple(refused))
    return Dialogues(source, tuple(dialogues), "conversations")


def _spoken_of(source: Source, dialogues: list[Dialogue], kind: str, refused: tuple[Refused, ...]) -> Dialogues:
    keys = {key for one in dialogues for key in one.images}
    kept = tuple(sample for sample in source.samples if sample.key in keys)
    silent = len(source.samples) - len(kept)
    notes = (*source.notes, *([f"images of which nothing is said: {silent:,}"] if silent else []))
    return Dialogues(
        replace(source, samples=kept, refused=(*source.refused, *refused), notes=notes), tuple(dialogues), kind
    )
