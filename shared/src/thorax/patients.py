"""Whose an image is, without saying who that is: a digest by which images of one patient are recognised."""

import hashlib
import re

NOBODY = frozenset(
    {"", "ANON", "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "UNKNOWN", "NONE", "NA", "NULL", "TEST"}
)
"""Patient IDs of anonymised files. They stand for many patients, so no patient is recorded."""


def patient_digest(number: str, issuer: str) -> str | None:
    """Patient ID and Issuer of Patient ID (PS3.3 C.2.2) as one sha256 (hex); None if they name nobody.

    A backslash can't occur in either.
    """
    number, issuer = number.strip("\0 "), issuer.strip("\0 ")
    if re.sub("[^A-Z0-9]", "", number.upper()).strip("0") in NOBODY:
        return None
    return hashlib.sha256(f"{issuer}\\{number}".encode()).hexdigest()
