"""A user's folder or table as samples: which layout it has, said aloud, and what in it is of no use, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from beholder.data.decode import image_extensions
from beholder.data.foreign import find_masks, recognise, texts_beside
from beholder.data.label_files import LabelFile, open_labels, put_labels
from beholder.data.layouts import detect_layout
from beholder.data.listing import Listing, Refused, list_files
from beholder.data.table_layouts import FoundTable, beside, collect, find_tables, read_table_file
from beholder.data.tables import TABLE_EXTENSIONS
from beholder.types import Sample, UserError

AUTO = "auto"
"""The value of `labels` that takes what the layout carries."""
FOLDER_GROUP = "folder"
"""The value of `group` that takes each image's folder."""


@dataclass(frozen=True)
class Source:
    """What was found, before anything is decoded."""

    folder: Path
    layout: str
    """Short name: "bare", "bare with splits", "folder per class", "folder per class with splits", "MVTec",
    "image and text pairs", "imagefolder", "table", "parquet"."""
    description: str
    """One sentence said aloud to the user."""
    samples: tuple[Sample, ...]
    """Sorted by key."""
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()
    """What the user should know: other files, formats that are only half read."""
    group_source: str | None = None
    """Where groups come from, such as "column module"; None without groups."""
    normal_label: str | None = None
    """The class of faultless pictures in MVTec-like folders."""


@dataclass
class _Draft:
    """A source while it is put together; labels here are those of the layout, used or not."""

    layout: str
    title: str
    samples: dict[str, Sample]
    refused: list[Refused] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    normal_label: str | None = None
    columns: tuple[str, ...] = ()


def read_source(folder: Path, *, labels: str | Path | None = None, group: str | None = None) -> Source:
    """The samples of a folder, or of a table file, with the layout named.

    `labels`: None (no labels), "auto" (those that the layout carries) or a table file with a path and a label column.
    `group`: a column of that table, or of the folder's own; or "folder" for the folder that each image lies in.
    Raises UserError, in one sentence with the remedy, when there is nothing to read or the request cannot be met.
    """
    folder = Path(folder)
    label_file = open_labels(Path(labels)) if labels is not None and str(labels) != AUTO else None
    listing, draft = _read(folder, group, label_file)
    num_classes = len({sample.label for sample in draft.samples.values() if sample.label is not None})
    if labels is None:
        if num_classes > 1:
            draft.notes.append(f"its {num_classes} classes are not used as labels; --labels auto uses them")
        draft.samples = {key: replace(sample, label=None) for key, sample in draft.samples.items()}
    elif label_file is None and num_classes == 0:
        raise UserError(
            f"--labels auto: {folder} is a {draft.title} and carries no labels; name a table with --labels FILE, "
            "or sort the images into one folder per class."
        )
    group_source = _group(draft, group, label_file)
    if label_file is not None:
        own_group = group if group is not None and label_file.has_column(group) else None
        draft.samples, refused = put_labels(draft.samples, listing, label_file, own_group)
        draft.refused += refused
        draft.normal_label = None
        num_classes = len({sample.label for sample in draft.samples.values() if sample.label is not None})
    return Source(
        folder=folder,
        layout=draft.layout,
        description=_describe(draft, num_classes),
        samples=tuple(draft.samples[key] for key in sorted(draft.samples)),
        refused=(*listing.refused, *draft.refused),
        notes=tuple(draft.notes),
        group_source=group_source,
        normal_label=draft.normal_label,
    )


def check_folder(folder: Path) -> None:
    """Raises UserError where there is nothing to read."""
    if not folder.exists():
        raise UserError(f"{folder} does not exist; name a folder of images, or a table.")


def _read(folder: Path, group: str | None, label_file: LabelFile | None) -> tuple[Listing, _Draft]:
    own_group = None if group == FOLDER_GROUP or (label_file and group and label_file.has_column(group)) else group
    if _is_file(folder):
        if folder.suffix.lower() in TABLE_EXTENSIONS:
            found = read_table_file(folder, own_group)
            name = "parquet" if folder.suffix.lower() == ".parquet" else "table"
            listing = Listing(folder.parent)
            return listing, _draft_of_tables(listing, name, [found], ())
        kind = "an image" if folder.suffix.lower() in image_extensions() else "a file"
        raise UserError(f"{folder} is {kind}; name a folder of images, or a CSV or parquet table of them.")
    check_folder(folder)
    listing = list_files(folder)
    if not listing.images and not listing.others and not listing.refused:
        raise UserError(f"{folder} is empty; put the images there, or name another folder.")
    foreign_notes = recognise(listing)
    name, tables, table_notes = find_tables(listing, own_group)
    if tables:
        masks = beside(tables, listing) | find_masks(listing)[0]
        draft = _draft_of_tables(listing, name, tables, masks)
    elif not listing.images:
        found = f"{len(listing.others):,} other files" if listing.others else "only links and folders of no use"
        raise UserError(f"{folder} holds no images ({found}); name a folder with image files in it.")
    else:
        draft = _draft_of_folders(listing)
    draft.notes = [*foreign_notes, *table_notes, *draft.notes, *_other_files(listing, tables, draft, label_file)]
    return listing, draft


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({(error.strerror or str(error)).lower()}).") from None


def _draft_of_folders(listing: Listing) -> _Draft:
    masks, notes = find_masks(listing)
    keys = [key for key in listing.images if key not in masks]
    layout, (texts, told) = detect_layout(keys), texts_beside(listing)
    samples = {
        key: Sample(
            key,
            listing.images[key],
            label=layout.labels.get(key),
            split=layout.splits.get(key),
            text=texts.get(key),
        )
        for key in keys
    }
    name, title = layout.name, layout.title
    if texts and name == "bare":
        name, title = "image and text pairs", "folder of image and text pairs"
    elif texts:
        title += ", texts beside the images"
    return _Draft(name, title, samples, [], [*notes, *told], layout.normal_label)


def _draft_of_tables(listing: Listing, name: str, tables: list[FoundTable], masks: Iterable[str]) -> _Draft:
    collected = collect(listing, tables)
    masks = frozenset(masks) - collected.samples.keys()
    notes = [f"mask pictures, which are no samples: {len(masks):,}"] if masks else []
    # Images without a row are of use too: without labels.
    extra = [key for key in listing.images if key not in collected.samples and key not in masks]
    if extra:
        notes.append(f"images with no row in the table: {len(extra):,}, such as {extra[0]}; they carry no label")
    samples = collected.samples | {key: Sample(key, listing.images[key]) for key in extra}
    file = tables[0].table.path.name
    titles = {"imagefolder": f"Hugging Face imagefolder ({file})", "table": f"table ({file})"}
    if not samples:
        raise UserError(f"{tables[0].table.path} has no rows; it needs one per image.")
    columns = tuple(dict.fromkeys(column for item in tables for column in item.table.columns))
    title = titles.get(name, f"parquet table ({file})")
    return _Draft(name, title, samples, collected.refused, notes, None, columns)


def _group(draft: _Draft, group: str | None, label_file: LabelFile | None) -> str | None:
    """Check the request, fill in folder groups, and tell where groups come from."""
    columns = (*(label_file.table.columns if label_file else ()), *draft.columns)
    if group is None:
        return None
    if group in columns:
        return f"column {group}"
    if group == FOLDER_GROUP:
        draft.samples = {
            key: replace(sample, group=key.rpartition("/")[0] or None) for key, sample in draft.samples.items()
        }
        return "parent folder"
    known = f"the columns are {', '.join(dict.fromkeys(columns))}" if columns else "there is no table"
    raise UserError(f"--group {group}: no such column; {known}, and --group folder takes the parent folder.")


def _other_files(listing: Listing, tables: list[FoundTable], draft: _Draft, label_file: LabelFile | None) -> list[str]:
    used = {item.table.path for item in tables} | ({label_file.table.path} if label_file else set())
    num_texts = sum(sample.text is not None for sample in draft.samples.values()) if not tables else 0
    num = sum(path not in used for path in listing.others.values()) - num_texts
    return [f"{num:,} other file{'s' * (num > 1)}, not images, passed over"] if num > 0 else []


def _describe(draft: _Draft, num_classes: int) -> str:
    num = len(draft.samples)
    classes = f", {num_classes:,} class{'es' * (num_classes > 1)}" if num_classes else ""
    return f"{draft.title}: {num:,} image{'s' * (num != 1)}{classes}"
