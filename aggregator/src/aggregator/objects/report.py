"""The structured report: Comprehensive SR with TID 1500 as its root (PS3.16)."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from highdicom import sr
from pydicom import Dataset
from pydicom.uid import ComprehensiveSRStorage

from aggregator.objects.answer import AnalysedImage, Answer, Predecessor, Said
from aggregator.objects.codes import DEVICE, TITLE, code
from aggregator.objects.identity import MODEL_NAME, UNSEALED, Sealed, seal, series_uid, uid_of
from aggregator.objects.regions import regions
from aggregator.objects.source import evidence
from thorax import coding
from thorax.pacs import OWN_MANUFACTURER

SERIES_NUMBER = 9901
Group = sr.MeasurementsAndQualitativeEvaluations | sr.PlanarROIMeasurementsAndQualitativeEvaluations


def report(answer: Answer) -> Sealed:
    """The SR of a study: per image its status, and per finding the probability, threshold, verdict and largest region."""
    images = [evidence(image.source) for image in answer.images]
    observer = sr.ObserverContext(
        DEVICE,
        sr.DeviceObserverIdentifyingAttributes(
            uid=uid_of(answer.digest),
            name=MODEL_NAME,
            manufacturer_name=OWN_MANUFACTURER,
            model_name=answer.model,
        ),
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=code(coding.PROCEDURE),
        imaging_measurements=_with_regions_first(
            group for image in answer.images for group in _groups(answer, image)
        ),
        title=TITLE,
    )
    (root,) = content
    tree, root.ContentSequence = root.ContentSequence, []  # the library copies it, and searches it four times
    made = sr.ComprehensiveSR(
        evidence=images,
        content=content,
        series_instance_uid=series_uid(answer, "SR"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=UNSEALED,
        instance_number=1,
        is_complete=True,
        previous_versions=[_previous(answer, answer.predecessor)] if answer.predecessor else None,
    )
    made.ContentSequence = tree
    return seal(made, answer, answer.images[0].source)


def _with_regions_first(groups: Iterable[Group]) -> list[Group]:
    """As OHIF opens a report at its first group, and draws nothing where that has no region."""
    return sorted(
        groups, key=lambda group: not isinstance(group, sr.PlanarROIMeasurementsAndQualitativeEvaluations)
    )


def _groups(answer: Answer, image: AnalysedImage) -> Iterator[Group]:
    status = coding.FOUND if image.likely else coding.NOTHING_FOUND
    yield sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(image, "status"),
        algorithm_id=_algorithm(answer),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                code(coding.STATUS),
                code(status if image.said else coding.refusal(image.refusal, image.reason)),
            )
        ],
        source_images=[_source(image)],
    )
    for said in image.said:
        yield _finding(answer, image, said)


def _finding(answer: Answer, image: AnalysedImage, said: Said) -> Group:
    """One finding. Of several regions the largest is told, as a group has one; the presentation state shows all."""
    parts: dict[str, Any] = {
        "tracking_identifier": _tracking(image, str(said.finding)),
        "finding_type": code(coding.FINDING[said.finding]),
        "algorithm_id": _algorithm(answer),
        "measurements": [
            _share(coding.PROBABILITY, said.probability),
            _share(coding.THRESHOLD, said.threshold),
        ],
        "qualitative_evaluations": [
            sr.QualitativeEvaluation(code(coding.VERDICT), code(coding.VERDICTS[said.verdict])),
            sr.QualitativeEvaluation(code(coding.ABOVE_THRESHOLD), code(coding.POSITIVE[said.positive])),
        ],
    }
    found = regions(image, said.finding) if said in image.likely else []
    if not found:
        return sr.MeasurementsAndQualitativeEvaluations(source_images=[_source(image)], **parts)
    where = sr.SourceImageForRegion(image.source.SOPClassUID, image.source.SOPInstanceUID)
    region = sr.ImageRegion(sr.GraphicTypeValues.POLYLINE, np.asarray(found[0]), where)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **parts)


def _share(name: coding.Concept, share: float) -> sr.Measurement:
    return sr.Measurement(code(name), float(coding.decimal(share)), code(coding.NO_UNIT))


def _tracking(image: AnalysedImage, what: str) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid_of(str(image.source.SOPInstanceUID), what), what)


def _algorithm(answer: Answer) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(answer.model, answer.version, [f"bundle sha256:{answer.digest}"])


def _source(image: AnalysedImage) -> sr.SourceImageForMeasurementGroup:
    return sr.SourceImageForMeasurementGroup(image.source.SOPClassUID, image.source.SOPInstanceUID)


def _previous(answer: Answer, before: Predecessor) -> Dataset:
    item = Dataset()
    item.SOPClassUID, item.SOPInstanceUID = ComprehensiveSRStorage, before.sop_instance_uid
    item.StudyInstanceUID = answer.images[0].source.StudyInstanceUID
    item.SeriesInstanceUID = before.series_instance_uid
    return item
