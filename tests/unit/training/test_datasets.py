"""Labelled sets of three kinds are read alike, and a bad one is told in one sentence."""

from pathlib import Path

import numpy as np
import pytest

from training.datasets import DataError, check_patients, read_soft_labels, read_table

PLAIN = "image,atelectasis,cardiomegaly,consolidation,edema,pleural_effusion,patient_id,view\n"
CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,Atelectasis,Cardiomegaly,Consolidation,Edema,Pleural Effusion\n"
)


def write(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, "utf-8")
    return path


def test_a_plain_table(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, PLAIN + "a.png,1,0,,-1,0,7,AP\nb.png,0,1,1,0,1,8,PA\n"))
    assert table.images == ("a.png", "b.png")
    assert table.patients == ("7", "8")
    assert table.labels.tolist() == [[1, 0, 0, 1, 0], [0, 1, 1, 0, 1]]
    assert table.columns["view"] == ("AP", "PA")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("u-ones", [1, 1]), ("u-zeros", [0, 0]), ("original", [1, 0])],
)
def test_chexpert_takes_frontal_views_and_a_policy_for_uncertain_labels(
    tmp_path: Path, policy: str, expected: list[int]
) -> None:
    rows = "set/train/patient00001/study1/view1_frontal.jpg,Male,60,Frontal,AP,-1.0,-1.0,,0.0,1.0\n"
    lateral = "set/train/patient00001/study1/view2_lateral.jpg,Male,60,Lateral,,1.0,,,,\n"
    table = read_table(write(tmp_path, CHEXPERT + rows + lateral), policy)
    assert table.patients == ("patient00001",)
    assert table.labels[0, :2].tolist() == expected
    assert table.labels[0, 2:].tolist() == [0, 0, 1]


def test_uncertain_labels_can_be_ignored(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, PLAIN + "a.png,-1,0,0,0,0,7,AP\n"), "u-ignore")
    assert np.isnan(table.labels[0]).tolist() == [True, False, False, False, False]


def test_chest_xray14_names_findings_in_one_column(tmp_path: Path) -> None:
    text = "Image Index,Finding Labels,Patient ID,View Position\nx.png,Effusion|Edema,3,PA\ny.png,No Finding,4,AP\n"
    table = read_table(write(tmp_path, text))
    assert table.labels.tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,atelectasis\na.png,1\n", "missing are cardiomegaly"),
        (PLAIN, "at least one row"),
        (PLAIN + "a.png,1,0,0,2,0,7,AP\n", "line 2: edema is '2'; expected -1, 0, 1 or blank"),
        (PLAIN + "a.png,1,0,0,nan,0,7,AP\n", "edema is 'nan'"),
        (PLAIN + ",1,0,0,0,0,7,AP\n", "line 2: expected the name of an image"),
        (CHEXPERT + "a.jpg,Male,60,Lateral,,1,0,0,0,0\n", "expected frontal views; found 1 others"),
    ],
)
def test_a_bad_table_is_explained_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=r"labels\.csv") as caught:
        read_table(path)
    assert said in str(caught.value)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, PLAIN + "a.png,1,0,0,0,0,7,AP\nb.png,0,1,1,0,1,8,PA\n"))
    with pytest.raises(DataError, match="edema has one class only"):
        table.require_both_classes()


def test_a_patient_in_two_parts_is_refused(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, PLAIN + "a.png,1,0,0,0,0,7,AP\nb.png,0,1,1,0,1,7,PA\n"))
    with pytest.raises(DataError, match="patient 7 is in train and in test"):
        check_patients({"train": table.take(np.array([0])), "test": table.take(np.array([1]))})


def test_soft_labels_are_probabilities(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, PLAIN + "a.png,1,0,0,0,0,7,AP\n"))
    soft = tmp_path / "soft.csv"
    soft.write_text(PLAIN.replace(",patient_id,view", "") + "a.png,.1,.2,x,.4,.5\n")
    with pytest.raises(DataError, match=r"soft\.csv, line 2: consolidation is 'x'; expected a probability"):
        read_soft_labels(soft, table)


def test_soft_labels_are_matched_by_image(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, PLAIN + "a.png,1,0,0,0,0,7,AP\nb.png,0,1,1,0,1,7,PA\n"))
    soft = tmp_path / "soft.csv"
    soft.write_text(
        "image,atelectasis,cardiomegaly,consolidation,edema,pleural_effusion\nb.png,.1,.2,.3,.4,.5\n"
    )
    read = read_soft_labels(soft, table)
    assert np.isnan(read[0]).all()
    assert read[1].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
