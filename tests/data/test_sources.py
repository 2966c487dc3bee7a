"""Every layout is recognised and named; every mistake is one sentence."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from beholder.data.sources import Source, read_source
from beholder.types import UserError


def image(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)
    return path


def images(folder: Path, *names: str) -> Path:
    for name in names:
        image(folder / name)
    return folder


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def labels(source: Source) -> dict[str, str | None]:
    return {sample.key: sample.label for sample in source.samples}


def refusal(*arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        read_source(*arguments, **options)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


def test_a_bare_folder_may_be_nested(tmp_path):
    source = read_source(images(tmp_path, "b.png", "a.jpg", "deep/er/c.PNG"))
    assert [sample.key for sample in source.samples] == ["a.jpg", "b.png", "deep/er/c.PNG"]
    assert source.layout == "bare" and source.description == "bare folder: 3 images" and source.notes == ()


def test_one_folder_of_images_is_bare(tmp_path):
    assert read_source(images(tmp_path, "images/a.png", "images/b.png")).layout == "bare"


def test_images_beside_folders_make_it_bare(tmp_path):
    assert read_source(images(tmp_path, "x.png", "cat/a.png", "dog/b.png")).layout == "bare"


def test_folder_per_class_gives_labels_only_when_asked(tmp_path):
    images(tmp_path, "cat/a.png", "cat/b.png", "dog/a.png", "dog/more/c.png")
    source = read_source(tmp_path, labels="auto")
    assert source.layout == "folder per class" and source.description == "folder per class: 4 images, 2 classes"
    assert labels(source) == {"cat/a.png": "cat", "cat/b.png": "cat", "dog/a.png": "dog", "dog/more/c.png": "dog"}
    silent = read_source(tmp_path)
    assert set(labels(silent).values()) == {None} and any("--labels auto" in note for note in silent.notes)


@pytest.mark.parametrize(
    ("name", "split"), [("val", "validation"), ("valid", "validation"), ("validation", "validation")]
)
@pytest.mark.parametrize("top", ["", "images/"])
def test_folder_per_class_with_splits(tmp_path, name, split, top):
    keys = [f"{top}{part}/{label}/x.png" for part in ("train", name, "test") for label in ("a", "b")]
    source = read_source(images(tmp_path, *keys), labels="auto")
    assert source.layout == "folder per class with splits"
    assert source.description == f"folder per class with train/{name}/test: 6 images, 2 classes"
    assert {(sample.split, sample.label) for sample in source.samples} == {
        (part, label) for part in ("train", split, "test") for label in ("a", "b")
    }
    assert {sample.split for sample in read_source(tmp_path).samples} == {"train", split, "test"}


def test_splits_without_classes_are_kept(tmp_path):
    source = read_source(images(tmp_path, "train/a.png", "test/b.png"))
    assert source.layout == "bare with splits" and [sample.split for sample in source.samples] == ["test", "train"]


def test_a_flat_test_folder_beside_sorted_training_images_is_unlabelled(tmp_path):
    source = read_source(images(tmp_path, "train/a/1.png", "train/b/2.png", "test/3.png"), labels="auto")
    assert labels(source) == {"test/3.png": None, "train/a/1.png": "a", "train/b/2.png": "b"}


def test_mvtec_like_folders(tmp_path):
    keys = [
        "train/good/1.png",
        "train/good/2.png",
        "test/good/3.png",
        "test/crack/4.png",
        "ground_truth/crack/4_mask.png",
    ]
    source = read_source(images(tmp_path, *keys), labels="auto")
    assert source.layout == "MVTec" and source.normal_label == "good"
    assert "test/good" not in source.description and "good" in source.description
    assert labels(source)["test/crack/4.png"] == "crack" and len(source.samples) == 4
    assert any("ground_truth" in note for note in source.notes)


def test_good_beside_defect_folders(tmp_path):
    source = read_source(images(tmp_path, "good/1.png", "scratch/2.png"), labels="auto")
    assert source.layout == "MVTec" and source.normal_label == "good"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("in_splits", [False, True])
def test_imagefolder_metadata(tmp_path, kind, in_splits):
    folders = ["train/", "test/"] if in_splits else [""]
    for folder in folders:
        images(tmp_path, f"{folder}a.png", f"{folder}b.png")
        rows = [
            {"file_name": "a.png", "label": 0, "caption": "one"},
            {"file_name": "b.png", "label": 1, "caption": "two"},
        ]
        write_table(tmp_path / f"{folder}metadata.{kind}", rows)
    source = read_source(tmp_path, labels="auto")
    assert source.layout == "imagefolder" and source.refused == () and len(source.samples) == 2 * len(folders)
    first = source.samples[-2]
    assert (first.label, first.text, first.split) == ("0", "one", "train" if in_splits else None)
    assert all(sample.label is None for sample in read_source(tmp_path).samples)


def write_table(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        text(path, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        text(path, "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]) + "\n")
    return path


def test_masks_named_by_the_metadata_are_no_samples(tmp_path):
    images(tmp_path, "images/a.png", "masks/a.png", "images/extra.png")
    write_table(
        tmp_path / "metadata.jsonl", [{"file_name": "images/a.png", "mask_file_name": "masks/a.png", "label": "x"}]
    )
    source = read_source(tmp_path, labels="auto")
    assert labels(source) == {"images/a.png": "x", "images/extra.png": None}
    assert any("mask" in note for note in source.notes) and any("no row" in note for note in source.notes)


@pytest.mark.parametrize("column", ["path", "image", "image_path", "filepath", "filename", "file", "img", "photograph"])
def test_a_csv_with_paths(tmp_path, column):
    images(tmp_path, "x/a.png", "x/b.png")
    write_table(tmp_path / "list.csv", [{column: "x/a.png", "class": "cat"}, {column: "x/b.png", "class": ""}])
    for place in (tmp_path, tmp_path / "list.csv"):
        source = read_source(place, labels="auto")
        assert source.layout == "table"
        assert labels(source) == {"x/a.png": "cat", "x/b.png": None}


def test_parquet_with_bytes_and_class_names(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    content = image(tmp_path / "elsewhere" / "a.png").read_bytes()
    rows = [
        {"image": {"bytes": content, "path": "a.png"}, "label": 1},
        {"image": {"bytes": content, "path": None}, "label": -1},
    ]
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pyarrow.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(features)})
    (tmp_path / "set" / "data").mkdir(parents=True)
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        parquet.write_table(table, tmp_path / "set" / "data" / f"{name}.parquet")
    source = read_source(tmp_path / "set", labels="auto")
    assert source.layout == "parquet"
    assert Counter((sample.split, sample.label) for sample in source.samples) == {
        (split, label): 1 for split in ("train", "test") for label in ("dog", None)
    }
    assert all(sample.data == content for sample in source.samples)


def test_text_pairs(tmp_path):
    images(tmp_path, "a.png", "b.png")
    text(tmp_path / "a.txt", "\ufeffein größerer Hund\n")
    source = read_source(tmp_path)
    assert source.layout == "image and text pairs"
    assert [sample.text for sample in source.samples] == ["ein größerer Hund", None]


def test_texts_in_another_encoding_are_left_out_and_told(tmp_path):
    images(tmp_path, "a.png", "b.png", "c.png")
    text(tmp_path / "a.txt", "größer")
    (tmp_path / "b.txt").write_bytes("größer".encode("latin-1"))
    text(tmp_path / "c.txt", "x" + "ö" * 40_000)  # longer than what is read, and cut within a letter
    source = read_source(tmp_path)
    texts = [sample.text for sample in source.samples]
    assert texts[:2] == ["größer", None] and texts[2] is not None and set(texts[2][1:]) == {"ö"}
    assert any("not UTF-8 and were left out: 1, such as b.txt" in note for note in source.notes)


def test_yolo_is_named_and_its_boxes_are_not_texts(tmp_path):
    images(tmp_path, "train/images/a.png", "valid/images/b.png")
    text(tmp_path / "train/labels/a.txt", "0 0.5 0.5 0.1 0.2\n")
    text(tmp_path / "data.yaml", "train: train/images\nnames: [cat]\n")
    source = read_source(tmp_path)
    assert len(source.samples) == 2 and {sample.split for sample in source.samples} == {"train", "validation"}
    assert any("YOLO" in note and "not read yet" in note for note in source.notes)
    flat = images(tmp_path / "flat", "a.png")
    text(flat / "a.txt", "0 0.5 0.5 0.1 0.2\n1 0.5 0.5 0.1 0.2\n")
    assert read_source(flat).samples[0].text is None


def test_coco_and_llava_are_named(tmp_path):
    coco = images(tmp_path / "coco", "train2017/a.png", "val2017/b.png")
    text(coco / "annotations" / "instances.json", json.dumps({"images": [{"file_name": "a.png"}], "annotations": []}))
    assert any("this looks like COCO; its boxes" in note for note in read_source(coco).notes)
    llava = images(tmp_path / "llava", "a.png")
    text(llava / "chat.json", json.dumps([{"image": "a.png", "conversations": []}]))
    assert any("LLaVA" in note for note in read_source(llava).notes)


def test_mask_folders_are_left_out_and_named(tmp_path):
    source = read_source(images(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/b_mask.png"))
    assert [sample.key for sample in source.samples] == ["images/a.png", "images/b.png"] and source.layout == "bare"
    assert any("masks/ holds masks" in note for note in source.notes)


def test_webdataset_tars_must_be_unpacked(tmp_path):
    text(tmp_path / "shard-000.tar", "")
    assert "tar -xf" in refusal(tmp_path)
    assert any("tar" in note for note in read_source(images(tmp_path, "a.png")).notes)


def test_clutter_is_passed_over_and_other_files_are_counted(tmp_path):
    images(tmp_path, "a.png", ".hidden.png", "__MACOSX/b.png", ".git/c.png")
    for name in (".DS_Store", "Thumbs.db", "readme.md", "noextension"):
        text(tmp_path / name, "x")
    source = read_source(tmp_path)
    assert len(source.samples) == 1 and source.notes == ("2 other files, not images, passed over",)


def test_strange_names_work(tmp_path):
    names = [
        "with space.png",
        "línea\nnueva.png",
        "图像 🐈.png",
        "x" * 200 + ".png",
        'quo"te.png',
        "-dash.png",
        "100%.png",
    ]
    source = read_source(images(tmp_path, *names))
    assert {sample.key for sample in source.samples} == set(names)
    assert all(sample.path is not None and sample.path.exists() for sample in source.samples)


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes only on POSIX systems")
def test_names_that_are_no_text_get_a_printable_key(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(image(tmp_path / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert [sample.key for sample in read_source(tmp_path).samples] == ["a.png", "caf\\xe9.png"]


def test_links_are_followed_once_and_bad_ones_are_listed(tmp_path):
    folder, outside = tmp_path / "set", images(tmp_path / "outside", "o.png", "deep/p.png")
    images(folder, "real/a.png")
    (folder / "a_link").symlink_to(outside, target_is_directory=True)
    (folder / "b_again").symlink_to(outside, target_is_directory=True)
    (folder / "real" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "file.png").symlink_to(outside / "o.png")
    source = read_source(folder)
    assert [sample.key for sample in source.samples] == ["a_link/deep/p.png", "a_link/o.png", "file.png", "real/a.png"]
    assert {refused.key: refused.reason for refused in source.refused} == {
        "b_again": "link to a folder that is read already",
        "gone.png": "dangling link",
        "real/up": "link loop",
        "self.png": "link loop",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    images(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert [refused.reason for refused in read_source(tmp_path).refused] == ["not a regular file"]


def test_folders_that_cannot_be_entered_are_listed(tmp_path, monkeypatch):
    images(tmp_path, "a.png", "locked/b.png")
    real = os.scandir

    def scandir(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    source = read_source(tmp_path)
    assert [(refused.key, refused.reason) for refused in source.refused] == [
        ("locked", "folder cannot be read: permission denied")
    ]
    assert "permission" in refusal(tmp_path / "locked")


def test_places_without_images_are_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "is empty" in refusal(tmp_path / "empty")
    text(tmp_path / "notes" / "a.txt", "x")
    assert "holds no images (1 other files)" in refusal(tmp_path / "notes")
    assert "is an image" in refusal(image(tmp_path / "x.png"))
    assert "is a file" in refusal(text(tmp_path / "x.zip", "x"))


def test_auto_needs_labels_in_the_layout(tmp_path):
    assert "carries no labels" in refusal(images(tmp_path, "a.png"), labels="auto")


def labelled_folder(tmp_path: Path, table: str, name: str = "labels.csv", place: str = "") -> tuple[Path, Path]:
    photos = images(tmp_path / "photos", "x/a.png", "x/b.png", "y/c.png")
    return photos, text(tmp_path / place / name, table)


@pytest.mark.parametrize("spelling", ["x/a.png", "a.png", "photos/x/a.png", "./x/a.png", "x\\a.png", "ABSOLUTE"])
def test_a_label_file_may_spell_paths_in_many_ways(tmp_path, spelling):
    spelling = str(tmp_path / "photos/x/a.png") if spelling == "ABSOLUTE" else spelling
    photos, table = labelled_folder(tmp_path, f"file_name,label\n{spelling},cat\nx/b.png,\n")
    source = read_source(photos, labels=table)
    assert labels(source) == {"x/a.png": "cat", "x/b.png": None, "y/c.png": None} and source.refused == ()


@pytest.mark.parametrize(
    "table",
    ["\ufefffile_name;quality\na.png;ok\n", "file_name\tquality\na.png\tok\n", 'File_Name,"quality"\r\na.png,"ok"\r\n'],
)
def test_delimiters_and_marks_are_found_out_and_the_other_column_is_the_label(tmp_path, table):
    photos, path = labelled_folder(tmp_path, table)
    assert labels(read_source(photos, labels=path))["x/a.png"] == "ok"


def test_rows_of_no_use_are_listed(tmp_path):
    rows = "a.png,cat\na.png,cat\nb.png,dog\nb.png,cat\nc.png,cat\ngone.png,dog\n"
    photos, table = labelled_folder(tmp_path, "file_name,label\n" + rows)
    source = read_source(photos, labels=str(table))
    assert labels(source) == {"x/a.png": "cat", "x/b.png": "dog", "y/c.png": "cat"}
    assert [refused.key for refused in source.refused] == ["x/a.png", "x/b.png", "gone.png"]
    assert "'cat'" in source.refused[1].reason and "row 6" in source.refused[2].reason


def test_a_label_file_for_other_images_is_refused(tmp_path):
    photos, table = labelled_folder(tmp_path, "file_name,label\nq.png,cat\nr.png,dog\na.png,cat\n")
    assert "2 of 3 rows" in (sentence := refusal(photos, labels=table)) and str(photos / "q.png") in sentence


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("file_name,label\na.png,\nb.png,\n", "gives none of the images a label"),
        ("number,label\n1,cat\n", "no column with image files (it has number, label)"),
        ("file_name,width,height\na.png,1,2\n", "no label column"),
        ("a.png,cat\nb.png,dog\n", "header line"),
        ("file_name,label,label\na.png,x,y\n", "two columns"),
        ("", "is empty"),
    ],
)
def test_unusable_label_files_are_explained(tmp_path, table, said):
    photos, path = labelled_folder(tmp_path, table)
    assert said in refusal(photos, labels=path)


def test_label_files_of_the_wrong_kind_are_refused(tmp_path):
    photos, _ = labelled_folder(tmp_path, "")
    assert "no such file" in refusal(photos, labels=tmp_path / "none.csv")
    assert "not a table" in refusal(photos, labels=text(tmp_path / "x.docx", "x"))
    (tmp_path / "latin.csv").write_bytes("file_name,label\na.png,größe\n".encode("latin-1"))
    assert "UTF-8" in refusal(photos, labels=tmp_path / "latin.csv")
    assert "line 1" in refusal(photos, labels=text(tmp_path / "x.jsonl", "[1]\n"))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    assert "parquet" in refusal(photos, labels=tmp_path / "x.parquet")


def test_groups_come_from_a_column_or_the_folder(tmp_path):
    photos, table = labelled_folder(tmp_path, "file_name,label,module\na.png,cat,m1\nb.png,dog,m1\nc.png,dog,m2\n")
    source = read_source(photos, labels=table, group="module")
    assert [sample.group for sample in source.samples] == ["m1", "m1", "m2"] and source.group_source == "column module"
    source = read_source(photos, group="folder")
    assert [sample.group for sample in source.samples] == ["x", "x", "y"] and source.group_source == "parent folder"
    assert read_source(photos).group_source is None
    assert "file_name, label, module" in refusal(photos, labels=table, group="modul")
    assert "--group folder" in refusal(photos, group="module")


def test_groups_come_from_the_metadata_too(tmp_path):
    images(tmp_path, "a.png", "b.png")
    write_table(tmp_path / "metadata.csv", [{"file_name": "a.png", "patient": 7}, {"file_name": "b.png", "patient": 8}])
    assert [sample.group for sample in read_source(tmp_path, group="patient").samples] == ["7", "8"]


def test_a_table_of_missing_images_is_refused(tmp_path):
    images(tmp_path, "a.png")
    write_table(tmp_path / "metadata.csv", [{"file_name": "a.png"}, {"file_name": "b.png"}, {"file_name": "c.png"}])
    assert "2 of 3 rows" in refusal(tmp_path)
    write_table(tmp_path / "metadata.csv", [{"file_name": "a.png"}, {"file_name": "b.png"}])
    assert [refused.key for refused in read_source(tmp_path).refused] == ["b.png"]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    photos = images(tmp_path / "photos", "a.png")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    assert "pip install 'beholder[tables]'" in refusal(photos, labels=tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("name", "num", "classes"), [("magnetic_tile", 535, 6), ("sign_digits", 1033, 10), ("pneumoniamnist_mini", 1400, 2)]
)
def test_real_sets_are_read_whole(name, num, classes):
    root = os.environ.get("BEHOLDER_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip("BEHOLDER_DATA does not name a folder with this set")
    source = read_source(Path(root) / name, labels="auto")
    assert len(source.samples) == num and len(set(labels(source).values())) == classes and not source.refused
