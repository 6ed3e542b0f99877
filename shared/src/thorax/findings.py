"""The five findings and their one canonical order."""

from enum import StrEnum


class Finding(StrEnum):
    """CheXpert's five competition findings, in the order every array of five uses."""

    ATELECTASIS = "atelectasis"
    CARDIOMEGALY = "cardiomegaly"
    CONSOLIDATION = "consolidation"
    EDEMA = "edema"
    PLEURAL_EFFUSION = "pleural_effusion"

    @property
    def label(self) -> str:
        """The name a radiologist reads, e.g. `Pleural Effusion`."""
        return self.value.replace("_", " ").title()


FINDINGS: tuple[Finding, ...] = tuple(Finding)
