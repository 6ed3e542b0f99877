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
    algorithm = sr.AlgorithmIdentification(answer.model, answer.version, [f"bundle sha256:{answer.digest}"])
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=code(coding.PROCEDURE),
        imaging_measurements=_with_regions_first(
            group for image in answer.images for group in _groups(image, algorithm)
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


def _groups(image: AnalysedImage, algorithm: sr.AlgorithmIdentification) -> Iterator[Group]:
    """Of one image. What several groups say is one item in each of them: making items is most of a report's cost."""
    source = sr.SourceImageForMeasurementGroup(image.source.SOPClassUID, image.source.SOPInstanceUID)
    status = coding.FOUND if image.likely else coding.NOTHING_FOUND
    yield sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(image, "status"),
        algorithm_id=algorithm,
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                code(coding.STATUS),
                code(status if image.said else coding.refusal(image.refusal, image.reason)),
            )
        ],
        source_images=[source],
    )
    for said in image.said:
        yield _finding(image, said, algorithm, source)


def _finding(
    image: AnalysedImage,
    said: Said,
    algorithm: sr.AlgorithmIdentification,
    source: sr.SourceImageForMeasurementGroup,
) -> Group:
    """One finding. Of several regions the largest is told, as a group has one; the presentation state shows all."""
    parts: dict[str, Any] = {
        "tracking_identifier": _tracking(image, str(said.finding)),
        "finding_type": code(coding.FINDING[said.finding]),
        "algorithm_id": algorithm,
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
        return sr.MeasurementsAndQualitativeEvaluations(source_images=[source], **parts)
    where = sr.SourceImageForRegion(image.source.SOPClassUID, image.source.SOPInstanceUID)
    region = sr.ImageRegion(sr.GraphicTypeValues.POLYLINE, np.asarray(found[0]), where)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **parts)


def _share(name: coding.Concept, share: float) -> sr.Measurement:
    return sr.Measurement(code(name), float(coding.decimal(share)), code(coding.NO_UNIT))


def _tracking(image: AnalysedImage, what: str) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid_of(str(image.source.SOPInstanceUID), what), what)


def _previous(answer: Answer, before: Predecessor) -> Dataset:
    item = Dataset()
    item.SOPClassUID, item.SOPInstanceUID = ComprehensiveSRStorage, before.sop_instance_uid
    item.StudyInstanceUID = answer.images[0].source.StudyInstanceUID
    item.SeriesInstanceUID = before.series_instance_uid
    return item
