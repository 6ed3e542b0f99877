"""The split keeps patients together, findings spread, and does not depend on the order of rows."""

import numpy as np

from training.splits import PARTS, split_by_patient

rng = np.random.default_rng(3)
PATIENTS = [str(p) for p in rng.integers(0, 300, 1000)]
LABELS = (rng.random((1000, 5)) < [0.1, 0.03, 0.05, 0.03, 0.1]).astype(np.float32)


def test_no_patient_is_in_two_parts_and_the_shares_are_kept() -> None:
    parts = split_by_patient(PATIENTS, LABELS)
    assert len({(p, str(part)) for p, part in zip(PATIENTS, parts, strict=True)}) == len(set(PATIENTS))
    for part, share in zip(PARTS, (0.7, 0.15, 0.15), strict=True):
        assert abs((parts == part).mean() - share) < 0.03
        assert LABELS[parts == part].sum(0).min() > 0


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    parts = split_by_patient(PATIENTS, LABELS)
    turned = split_by_patient(PATIENTS[::-1], LABELS[::-1])
    assert (turned[::-1] == parts).all()
    assert (split_by_patient(PATIENTS, LABELS, seed=21) != parts).any()
