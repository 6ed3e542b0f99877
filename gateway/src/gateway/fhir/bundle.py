"""A job as a Bundle: its DiagnosticReport, and every resource that this refers to."""

import orjson

from gateway.fhir.elements import SYSTEMS, Element, coded, hl7, id_of, patient, reference, uid
from gateway.fhir.observations import observations, results
from gateway.jobs.schemas import DISCLAIMER, ImageView, JobView
from thorax import coding
from thorax.operating_points import Verdict
from thorax.pacs import OWN_MANUFACTURER
from thorax.states import JobState

_STATUS = {  # `partial`: `preliminary` and `final` are for what a person has verified
    JobState.QUEUED: "registered",
    JobState.RUNNING: "registered",
    JobState.SUCCEEDED: "partial",
    JobState.FAILED: "cancelled",
    JobState.CANCELLED: "cancelled",
}
_ENDED = (JobState.SUCCEEDED, JobState.FAILED)


def bundle(job: JobView) -> bytes:
    """A Bundle of type `collection`, as JSON. The same job gives the same bytes."""
    resources = [
        _report(job),
        *([_imaging_study(job)] if job.study.study_instance_uid else []),
        *([_device(job), *observations(job)] if job.state in _ENDED else []),
    ]
    made = {
        "resourceType": "Bundle",
        "id": id_of(job.id, "bundle"),
        "meta": {"versionId": str(job.version)},
        "type": "collection",
        "timestamp": job.finished_at or job.created_at,
        "entry": [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in resources],
    }
    return orjson.dumps(made)


def _report(job: JobView) -> Element:
    made: Element = {
        "resourceType": "DiagnosticReport",
        "id": str(job.id),
        "status": _STATUS[job.state],
        "category": [hl7("v2-0074", "RAD", "Radiology")],
        "code": coded(coding.PROCEDURE),
        "subject": patient(job.study.patient),
        "conclusion": f"{_conclusion(job)} {DISCLAIMER}",
    }
    if job.study.study_date:
        made["effectiveDateTime"] = job.study.study_date
    if job.study.study_instance_uid:
        made["imagingStudy"] = [reference("ImagingStudy", id_of(job.id, "study"))]
    if job.state not in _ENDED:
        return made
    likely = [f.finding for f in job.study.findings if f.verdict is Verdict.LIKELY]
    codes = {"conclusionCode": [coded(coding.FINDING[finding]) for finding in likely]} if likely else {}
    return {**made, "issued": job.finished_at, "result": results(job), **codes}


def _conclusion(job: JobView) -> str:
    if job.error:
        return f"Not analysed: {job.error.detail}"
    if not job.state.final:
        return "Not analysed yet."
    likely = ((f.finding, f.probability) for f in job.study.findings if f.verdict is Verdict.LIKELY)
    return f"{coding.conclusion(likely)}."


def _imaging_study(job: JobView) -> Element:
    """The study with those of its images that this job is about."""
    study = job.study
    series: dict[str, list[ImageView]] = {}
    for image in job.images:
        if image.series_instance_uid and image.sop_instance_uid and image.sop_class_uid:
            series.setdefault(image.series_instance_uid, []).append(image)
    identifiers = [uid(study.study_instance_uid)]
    if study.accession:
        identifiers.append({"type": hl7("v2-0203", "ACSN", "Accession ID"), "value": study.accession})
    made: Element = {
        "resourceType": "ImagingStudy",
        "id": id_of(job.id, "study"),
        "identifier": identifiers,
        "status": "available",
        "subject": patient(study.patient),
        "numberOfSeries": len(series),
        "numberOfInstances": sum(map(len, series.values())),
    }
    if study.study_date:
        made["started"] = study.study_date
    if series:
        made["series"] = [_series(series_uid, images) for series_uid, images in series.items()]
    return made


def _series(series_uid: str, images: list[ImageView]) -> Element:
    instances = [
        {
            "uid": image.sop_instance_uid,
            "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{image.sop_class_uid}"},
        }
        for image in images
    ]
    return {
        "uid": series_uid,
        "modality": {"system": SYSTEMS["DCM"], "code": images[0].modality or "OT"},
        "numberOfInstances": len(instances),
        "instance": instances,
    }


def _device(job: JobView) -> Element:
    """What analysed it: the model bundle, by its digest."""
    return {
        "resourceType": "Device",
        "id": id_of(job.id, "device"),
        "identifier": [{"system": SYSTEMS[coding.OURS], "value": f"sha256:{job.bundle.digest}"}],
        "status": "active",
        "manufacturer": OWN_MANUFACTURER,
        "deviceName": [{"name": "Thorax", "type": "model-name"}],
        "modelNumber": job.bundle.name,
        "version": [{"value": job.bundle.version}],
        "note": [{"text": DISCLAIMER}],
    }
