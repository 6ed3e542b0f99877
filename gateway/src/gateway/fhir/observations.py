"""Observations: each finding of the study and of each image, and whether an image was analysed. They say what the SR says."""

from collections.abc import Iterator
from typing import Any

from gateway.fhir.elements import Element, coded, hl7, id_of, patient, reference, share, uid
from gateway.jobs.schemas import DISCLAIMER, FindingView, ImageView, JobView
from thorax import coding
from thorax.operating_points import Verdict

_INTERPRETATIONS = {  # of http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation
    Verdict.LIKELY: ("POS", "Positive"),
    Verdict.UNCERTAIN: ("IND", "Indeterminate"),
    Verdict.UNLIKELY: ("NEG", "Negative"),
}


def observations(job: JobView) -> Iterator[Element]:
    """All of an analysed job: the study's findings, then each image's status and findings."""
    for finding in job.study.findings:
        parts = [
            reference("Observation", id_of(job.id, image.id, finding.finding))
            for image in job.images
            if image.findings
        ]
        yield _finding(job, finding, id_of(job.id, finding.finding), {"derivedFrom": [*_study(job), *parts]})
    for image in job.images:
        yield _status(job, image)
        for finding in image.findings:
            yield _finding(job, finding, id_of(job.id, image.id, finding.finding), _of_image(job, image))


def results(job: JobView) -> list[Element]:
    """References to the Observations that a report of the job begins with."""
    of_study = [id_of(job.id, finding.finding) for finding in job.study.findings]
    return [reference("Observation", id_) for id_ in (*of_study, *(id_of(job.id, i.id) for i in job.images))]


def _finding(job: JobView, finding: FindingView, id_: str, source: Element) -> Element:
    parts = {
        coding.PROBABILITY: {"valueQuantity": share(finding.probability)},
        coding.THRESHOLD: {"valueQuantity": share(finding.threshold)},
        coding.ABOVE_THRESHOLD: {"valueCodeableConcept": coded(coding.POSITIVE[finding.positive])},
    }
    return {
        **_observation(job, id_, coding.FINDING[finding.finding]),
        "valueCodeableConcept": coded(coding.VERDICTS[finding.verdict]),
        "interpretation": [hl7("v3-ObservationInterpretation", *_INTERPRETATIONS[finding.verdict])],
        **source,
        "component": [{"code": coded(name), **value} for name, value in parts.items()],
    }


def _status(job: JobView, image: ImageView) -> Element:
    """Whether an image was analysed, and if not, why: "not run", "negative" and "refused" differ."""
    error = image.error or job.error
    if error and not image.findings:
        status = coding.refusal(error.code, error.detail)
    else:
        likely = any(finding.verdict is Verdict.LIKELY for finding in image.findings)
        status = coding.FOUND if likely else coding.NOTHING_FOUND
    members = [
        reference("Observation", id_of(job.id, image.id, finding.finding)) for finding in image.findings
    ]
    return {
        **_observation(job, id_of(job.id, image.id), coding.STATUS),
        "valueCodeableConcept": coded(status),
        **_of_image(job, image),
        **({"hasMember": members} if members else {}),
    }


def _observation(job: JobView, id_: str, code: coding.Concept) -> Element:
    """`preliminary`, as nobody has verified it (hl7.org/fhir/R4/valueset-observation-status.html)."""
    made: dict[str, Any] = {
        "resourceType": "Observation",
        "id": id_,
        "status": "preliminary",
        "category": [hl7("observation-category", "imaging", "Imaging")],
        "code": coded(code),
        "subject": patient(job.study.patient),
        "device": reference("Device", id_of(job.id, "device")),
        "note": [{"text": DISCLAIMER}],
    }
    if job.study.study_date:
        made["effectiveDateTime"] = job.study.study_date
    if job.finished_at:
        made["issued"] = job.finished_at
    return made


def _study(job: JobView) -> list[Element]:
    known = job.study.study_instance_uid
    return [reference("ImagingStudy", id_of(job.id, "study"))] if known else []


def _of_image(job: JobView, image: ImageView) -> Element:
    """Where it comes from: the study, and in it the image by its SOP Instance UID or, without one, by Thorax's id."""
    own = {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{image.id}"}
    identifier = uid(image.sop_instance_uid) if image.sop_instance_uid else own
    focus = {"identifier": identifier, "display": f"Image {image.position + 1}"}
    study = _study(job)
    return {"focus": [focus], **({"derivedFrom": study} if study else {})}
