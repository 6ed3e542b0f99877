"""The query of QIDO-RS (PS3.18, 8.3.4): which attributes are matched, and how. What is not known is refused, never ignored."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from gateway.dicomweb.results import fields
from thorax.errors import Code, CodedError
from thorax.http.parameters import refuse_repeated

STUDY_KEYS: Final = {
    "StudyInstanceUID": "0020000D",
    "StudyDate": "00080020",
    "AccessionNumber": "00080050",
    "ModalitiesInStudy": "00080061",
}
SERIES_KEYS: Final = {"SeriesInstanceUID": "0020000E", "Modality": "00080060"}
INSTANCE_KEYS: Final = {"SOPInstanceUID": "00080018", "SOPClassUID": "00080016"}
_PATIENT = {
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("00100010", "00100020", "00100021", "00100030", "00100040"),
}
_OPTIONS = ("limit", "offset", "includefield", "fuzzymatching")
MOST = 1000  # results of one answer
_USUAL = 100
_FURTHEST = 10_000
_LONGEST = 8192  # characters of a value


@dataclass(frozen=True)
class Query:
    """What to match, by keyword, and which part of the results to send."""

    matches: Mapping[str, str]
    limit: int = _USUAL
    offset: int = 0
    fields: frozenset[str] = frozenset()  # keywords of `includefield`


def parse(pairs: Iterable[tuple[str, str]], keys: Mapping[str, str]) -> Query:
    """A request's query. `keys`: keyword to tag, either of which may be used.

    Raises CodedError: UNKNOWN_PARAMETER for another key, VALIDATION for a value that can't be matched,
    and for what is there twice, but `includefield` (PS3.18, 8.3.4.3).
    """
    keyword_of = {name: keyword for keyword, tag in keys.items() for name in (keyword, tag)}
    matches, options, included = dict[str, str](), dict[str, str](), list[str]()
    pairs = list(pairs)
    for name, value in pairs:
        if len(value) > _LONGEST or "\0" in value:
            raise CodedError(Code.VALIDATION, "A value of the query is too long, or not text.")
        if name == "includefield":
            included.append(value)
        elif name in _OPTIONS:
            options[name] = value
        elif name in keyword_of:
            matches |= {keyword_of[name]: value} if value.strip("*") else {}  # PS3.4, C.2.2.2.3: universal
        else:
            raise _unknown(name, keys)
    refuse_repeated(keyword_of.get(name, name) for name, _ in pairs if name != "includefield")
    if options.get("fuzzymatching", "false").lower() != "false":
        raise CodedError(Code.VALIDATION, "Fuzzy matching is not supported. Leave out `fuzzymatching`.")
    limit, offset = (_number(options, name) for name in ("limit", "offset"))
    if offset and offset > _FURTHEST:
        detail = f"`offset` is at most {_FURTHEST}. Search for a range of dates instead."
        raise CodedError(Code.VALIDATION, detail)
    return Query(matches, min(_USUAL if limit is None else limit, MOST), offset or 0, fields(included))


def _unknown(name: str, keys: Mapping[str, str]) -> CodedError:
    known = [*keys, *_OPTIONS]
    what = (
        "Patients are not searched for: their names and ids are not kept (ADR 0012)."
        if name in _PATIENT
        else "The query has a key that is not matched here."
    )
    return CodedError(Code.UNKNOWN_PARAMETER, f"{what} Known: {', '.join(known)}.", parameters=known)


def _number(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise CodedError(Code.VALIDATION, f"`{name}` is a whole number.")
    return int(text)


def listed(value: str) -> list[str]:
    """A list of UIDs (PS3.4, C.2.2.2.2), between commas or backslashes."""
    return [uid.strip() for uid in re.split(r"[,\\]", value)]


def days(value: str) -> tuple[date | None, date | None]:
    """The first and the last day of a date or a range of dates (PS3.4, C.2.2.2.5). Raises CodedError(VALIDATION)."""
    first, dash, last = value.strip().partition("-")
    try:
        since = date.fromisoformat(first) if first else None
        until = (date.fromisoformat(last) if last else None) if dash else since
        if (first and len(first) != 8) or (last and len(last) != 8) or not (since or until):
            raise ValueError
    except ValueError:
        raise CodedError(Code.VALIDATION, "`StudyDate` is YYYYMMDD, or a range: YYYYMMDD-YYYYMMDD.") from None
    return since, until


def is_pattern(value: str) -> bool:
    """Whether a value has wildcards (PS3.4, C.2.2.2.4)."""
    return "*" in value or "?" in value


def prefix(value: str) -> str:
    """What a value with wildcards begins with."""
    return re.split(r"[*?]", value.strip(), maxsplit=1)[0]


def grams(value: str) -> list[str]:
    """What a value with wildcards has of three characters in a row."""
    parts = re.split(r"[*?]", value.strip())
    return sorted({part[at : at + 3] for part in parts for at in range(len(part) - 2)})


def like(value: str) -> str:
    """A value with the wildcards * and ? (PS3.4, C.2.2.2.4) as the pattern of SQL's `like`."""
    escaped = re.sub(r"([\\%_])", r"\\\1", value.strip())
    return escaped.replace("*", "%").replace("?", "_")
