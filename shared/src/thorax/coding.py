"""What findings, verdicts and the like are called in codes of others, wherever results leave: DICOM SR and FHIR."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from thorax.findings import Finding
from thorax.operating_points import Verdict

OURS: Final = "99THORAX"
DECIMALS: Final = 4
"""Of a probability that leaves: 0.0001 is far below what a calibration can tell apart."""


@dataclass(frozen=True)
class Concept:
    """A coded concept (PS3.3, 8): a value of a scheme, and its meaning in English. `scheme` as DICOM abbreviates it."""

    value: str
    scheme: str
    meaning: str


FINDING: Final = {
    Finding.ATELECTASIS: Concept("46621007", "SCT", "Atelectasis"),
    Finding.CARDIOMEGALY: Concept("8186001", "SCT", "Cardiomegaly"),
    Finding.CONSOLIDATION: Concept("95436008", "SCT", "Lung consolidation"),
    Finding.EDEMA: Concept("19242006", "SCT", "Pulmonary edema"),
    Finding.PLEURAL_EFFUSION: Concept("60046008", "SCT", "Pleural effusion"),
}
VERDICT: Final = Concept("verdict", OURS, "Verdict")
VERDICTS: Final = {verdict: Concept(str(verdict), OURS, verdict.value.capitalize()) for verdict in Verdict}
ABOVE_THRESHOLD: Final = Concept("above_threshold", OURS, "Probability is at least the threshold")
POSITIVE: Final = {
    True: Concept("10828004", "SCT", "Positive"),
    False: Concept("260385009", "SCT", "Negative"),
}
PROBABILITY: Final = Concept("122157", "DCM", "Probability")
THRESHOLD: Final = Concept("threshold", OURS, "Probability threshold")
NO_UNIT: Final = Concept("1", "UCUM", "no units")
STATUS: Final = Concept("status", OURS, "Status of the analysis")
FOUND: Final = Concept("found", OURS, "Analysed, findings are likely")
NOTHING_FOUND: Final = Concept("nothing_found", OURS, "Analysed, no finding is likely")
PROCEDURE: Final = Concept("399208008", "SCT", "Plain X-ray of chest")


def refusal(code: str, reason: str) -> Concept:
    """Why an image was not analysed, by our stable code; a meaning has 64 characters at most (PS3.3, 8.3)."""
    return Concept(code, OURS, f"Not analysed: {reason}"[:64].rstrip())


def decimal(probability: float) -> str:
    """A probability, 0..1, as it leaves. It is rounded to the six decimals of Thorax's own JSON first, so that all forms agree."""
    return f"{round(probability, 6):.{DECIMALS}f}"


def conclusion(likely: Iterable[tuple[Finding, float]]) -> str:
    """What an image or a study is said to show, in a line: its likely findings with their probabilities."""
    found = ", ".join(f"{finding.label} {probability:.0%}" for finding, probability in likely)
    return f"Likely: {found}" if found else "No finding is likely"
