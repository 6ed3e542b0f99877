"""The codes of the report: SNOMED CT and DICOM where there is one, else ours."""

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from thorax.findings import Finding
from thorax.operating_points import Verdict

OURS = "99THORAX"
FINDING_CODES = {
    Finding.ATELECTASIS: Code("46621007", "SCT", "Atelectasis"),
    Finding.CARDIOMEGALY: Code("8186001", "SCT", "Cardiomegaly"),
    Finding.CONSOLIDATION: Code("95436008", "SCT", "Lung consolidation"),
    Finding.EDEMA: codes.SCT.PulmonaryEdema,
    Finding.PLEURAL_EFFUSION: codes.SCT.PleuralEffusion,
}
VERDICT = Code("verdict", OURS, "Verdict")
VERDICTS = {verdict: Code(str(verdict), OURS, verdict.value.capitalize()) for verdict in Verdict}
ABOVE_THRESHOLD = Code("above_threshold", OURS, "Probability is at least the threshold")
POSITIVE = {True: codes.SCT.Positive, False: codes.SCT.Negative}
PROBABILITY = codes.DCM.Probability
THRESHOLD = Code("threshold", OURS, "Probability threshold")
NO_UNIT = Code("1", "UCUM", "no units")
STATUS = Code("status", OURS, "Status of the analysis")
FOUND = Code("found", OURS, "Analysed, findings are likely")
NOTHING_FOUND = Code("nothing_found", OURS, "Analysed, no finding is likely")
PROCEDURE = Code("399208008", "SCT", "Plain X-ray of chest")
TITLE = Code("126000", "DCM", "Imaging Measurement Report")
DEVICE = codes.DCM.Device


def refusal(code: str, reason: str) -> CodedConcept:
    """Why an image was not analysed, by our stable code; a meaning has 64 characters at most (PS3.3, 8.3)."""
    return CodedConcept(value=code, scheme_designator=OURS, meaning=f"Not analysed: {reason}"[:64].rstrip())
