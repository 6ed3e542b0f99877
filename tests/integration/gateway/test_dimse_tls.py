"""C-STORE over TLS with client certificates: dcmtk and pynetdicom as senders, and those that must stay outside."""

import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context

from tests.factories.certificates import Authority, Issued
from tests.factories.patience import PATIENCE_S
from tests.factories.platform import Platform
from tests.integration.gateway.scp import (
    CR,
    OWN_CHECKPOINT,
    Scp,
    data_set,
    instance,
    rejection,
    run_scp,
    tool,
    uid,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def hospital(folder: Path) -> Authority:
    return Authority(folder, "hospital")


@pytest.fixture(scope="module")
def modality(hospital: Authority) -> Issued:
    return hospital.issue("modality")


@pytest.fixture(scope="module")
def scp(platform: Platform, hospital: Authority, folder: Path) -> Iterator[Scp]:
    """An SCP that takes only peers with a certificate of the hospital's."""
    own = hospital.issue("thorax")
    with run_scp(
        platform,
        folder,
        DICOM_TLS_CERTIFICATE=str(own.certificate),
        DICOM_TLS_KEY=str(own.key),
        DICOM_TLS_CLIENTS=str(hospital.certificate),
    ) as scp:
        yield scp


def over_tls(client: Issued, authority: Authority) -> list[str]:
    """dcmtk's options."""
    return ["+tls", str(client.key), str(client.certificate), "+cf", str(authority.certificate)]


def test_dcmtk_sends_with_a_client_certificate(
    scp: Scp, hospital: Authority, modality: Issued, tmp_path: Path
) -> None:
    place = ["-aec", "THORAX", "127.0.0.1", str(scp.port)]
    done = tool("echoscu", *over_tls(modality, hospital), "-aet", "SCU", *place)
    assert done.returncode == 0, done.stderr
    (tmp_path / "a.dcm").write_bytes(instance(uid()))
    done = tool("storescu", *over_tls(modality, hospital), *place, str(tmp_path / "a.dcm"))
    assert done.returncode == 0, done.stderr
    [job] = scp.jobs(1)
    assert job["state"] == "succeeded"


def test_dcmtk_is_refused_without_tls_and_with_a_certificate_of_another_ca(
    scp: Scp, hospital: Authority, folder: Path
) -> None:
    place = ["-aec", "THORAX", "-aet", "SCU", "127.0.0.1", str(scp.port)]
    assert tool("echoscu", *place).returncode != 0
    assert tool("echoscu", "+tla", "+cf", str(hospital.certificate), *place).returncode != 0  # anonymous
    stranger = Authority(folder, "elsewhere").issue("stranger")
    assert tool("echoscu", *over_tls(stranger, hospital), *place).returncode != 0


def test_pynetdicom_sends_with_a_client_certificate(scp: Scp, hospital: Authority, modality: Issued) -> None:
    association = associate(scp, context_of(hospital, modality))
    assert association.is_established
    assert association.send_c_store(data_set(instance(uid()))).Status == 0
    association.release()


@pytest.mark.parametrize(("called", "calling", "reason"), [("OTHER", "SCU", 7), ("THORAX", "FAR", 3)])
def test_a_certificate_does_not_replace_the_allow_list(
    scp: Scp, hospital: Authority, modality: Issued, called: str, calling: str, reason: int
) -> None:
    association = associate(scp, context_of(hospital, modality), called=called, calling=calling)
    assert rejection(association).diagnostic == reason


def test_pynetdicom_is_refused_without_tls_or_certificate(scp: Scp, hospital: Authority) -> None:
    assert not associate(scp, None).is_established
    assert not associate(scp, context_of(hospital, None)).is_established


def test_a_peer_that_does_not_shake_hands_does_not_block_others(
    scp: Scp, hospital: Authority, modality: Issued
) -> None:
    with socket.create_connection(("127.0.0.1", scp.port)):
        association = associate(scp, context_of(hospital, modality))
        assert association.is_established
        association.release()


def test_old_versions_of_tls_are_refused(scp: Scp, hospital: Authority, modality: Issued) -> None:
    old = context_of(hospital, modality)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    assert not associate(scp, old).is_established


def test_prometheus_is_told_when_the_certificate_ends(scp: Scp) -> None:
    told = httpx.get(f"http://127.0.0.1:{scp.metrics}/metrics").text
    (until,) = re.findall(
        r'^thorax_certificate_until_seconds{certificate="thorax.pem"} (\S+)$', told, re.MULTILINE
    )
    assert 0 < float(until) - time.time() <= 86400


def context_of(authority: Authority, client: Issued | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if client:
        context.load_cert_chain(client.certificate, client.key)
    return context


def associate(scp: Scp, tls: ssl.SSLContext | None, called: str = "THORAX", calling: str = "SCU") -> Any:
    ae = AE(ae_title=calling)
    ae.requested_contexts = [build_context(CR, ExplicitVRLittleEndian)]
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = PATIENCE_S
    tls_args = (tls, "127.0.0.1") if tls else None
    return ae.associate(
        "127.0.0.1", scp.port, ae_title=called, tls_args=tls_args, evt_handlers=[OWN_CHECKPOINT]
    )
