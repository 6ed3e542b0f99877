"""Which files share a child: a few of one tenant, while nothing about them is unusual."""

from uuid import UUID, uuid4

import cv2
import numpy as np
import pytest
from tests.factories.hostile import DICOM, PNG, dicom, png_of
from tests.factories.images import SAMPLE, grey
from tests.factories.patience import PATIENCE_S

from model_worker.sandbox import children as sharing
from model_worker.sandbox import client, server
from model_worker.sandbox.answers import Decoded
from model_worker.sandbox.fork_servers import server_of
from thorax.bundle import InputSpec
from thorax.errors import Code, CodedError

CHEST = SAMPLE.read_bytes()
NOISE = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[sharing.Child]:
    """The children that are made from now on."""
    made = list[sharing.Child]()

    class Child(sharing.Child):
        def __init__(self, *rest: object, **how: bool) -> None:
            super().__init__(*rest, **how)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(sharing, "Child", Child)
    for bound in ("KEPT_S", "READY_S"):  # a starved machine keeps none of them
        monkeypatch.setattr(sharing, bound, PATIENCE_S)
    return made


def decode(tenant: UUID | None, data: bytes = CHEST, media_type: str = PNG, **how: bool) -> Decoded:
    return client.decode(data, media_type, [InputSpec()], tenant=tenant, **how)


def test_files_of_a_tenant_share_a_child_and_come_out_alike(children: list[sharing.Child]) -> None:
    tenant = uuid4()
    alone = decode(None)
    for _ in range(3):
        shared = decode(tenant)
        assert shared.display_png == alone.display_png
        assert (shared.inputs["224"] == alone.inputs["224"]).all()
    assert len(children) == 2


def test_each_file_of_a_shared_child_is_its_own(children: list[sharing.Child]) -> None:
    """Longer and shorter than the file before."""
    tenant, dark = uuid4(), cv2.imdecode(np.frombuffer(CHEST, np.uint8), cv2.IMREAD_GRAYSCALE) // 2
    pictures = [CHEST, png_of(dark[::2, ::2]), png_of(dark), CHEST]
    alone = [decode(None, data).display_png for data in pictures]
    children.clear()
    assert [decode(tenant, data).display_png for data in pictures] == alone
    assert len(children) == 1
    assert len(set(alone)) == 3


def test_tenants_and_files_without_one_never_share(children: list[sharing.Child]) -> None:
    one, other = uuid4(), uuid4()
    for tenant in (one, other, None, one, other, None):
        decode(tenant)
    assert len(children) == 4


def test_a_child_serves_so_many_files_and_no_longer(
    children: list[sharing.Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "FILES", 2)
    tenant = uuid4()
    for _ in range(4):
        decode(tenant)
    assert len(children) == 2
    monkeypatch.setattr(sharing, "KEPT_S", 0)
    decode(tenant)
    decode(tenant)
    assert len(children) == 4


def test_a_large_file_has_its_own(children: list[sharing.Child], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "ROOM", len(CHEST))
    tenant = uuid4()
    decode(tenant)
    decode(tenant)
    assert len(children) == 2


def test_after_a_warning_a_new_one_follows(children: list[sharing.Child]) -> None:
    tenant = uuid4()
    assert decode(tenant, png_of(NOISE), force=True).warnings
    decode(tenant)
    assert len(children) == 2


def test_a_refusal_is_believed_from_a_new_child_only(children: list[sharing.Child]) -> None:
    tenant = uuid4()
    decode(tenant)
    with pytest.raises(CodedError) as caught:
        decode(tenant, b"no picture")
    assert caught.value.code is Code.UNREADABLE_IMAGE
    assert len(children) == 2
    decode(tenant)
    assert len(children) == 3


def test_memory_that_a_file_leaves_in_use_shows() -> None:
    server._clean(0)  # what earlier tests left to the garbage collector
    before = server._held()
    assert server._clean(before)
    left = bytes(2 * server.LEFT_BEHIND)
    assert not server._clean(before)
    del left
    assert server._clean(before)


def test_a_child_that_does_not_say_that_it_is_clean_is_replaced(
    children: list[sharing.Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = uuid4()
    decode(tenant)
    monkeypatch.setattr(sharing, "CLEAN", b"\2")
    decode(tenant)
    assert len(children) == 2


def test_a_child_that_died_waiting_is_nobodys_fault(children: list[sharing.Child]) -> None:
    tenant = uuid4()
    decode(tenant)
    server_of(PNG).stop()  # and with it all children
    decode(tenant)
    assert len(children) == 2


def test_children_are_kept_for_a_few_tenants(children: list[sharing.Child]) -> None:
    tenants = [uuid4() for _ in range(sharing.KEPT + 1)]
    for tenant in tenants:
        decode(tenant)
    assert len(sharing._kept) == sharing.KEPT
    decode(tenants[-1])
    assert len(children) == len(tenants)


def test_dicom_files_share_as_well(children: list[sharing.Child]) -> None:
    tenant, data = (
        uuid4(),
        dicom(grey().tobytes(), Rows=256, Columns=256, ViewPosition="PA", BodyPartExamined="CHEST"),
    )
    for _ in range(3):
        decode(tenant, data, DICOM)
    assert len(children) == 1
