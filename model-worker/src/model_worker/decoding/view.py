"""Whether a DICOM header says that the view is lateral. The networks were shown frontal views only.

The first source that says anything decides: View Code Sequence, View Position, the patient's orientation, then the words of
the modality's own description. A word that no list names says nothing, since a frontal image must not be refused.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_worker.decoding.anatomy import capitals, code_of, names_chest
from thorax.errors import Code, CodedError
from thorax.greyscale import numbers

if TYPE_CHECKING:
    from pydicom import Dataset

# PS3.16 CID 4010 "DX View", in SNOMED CT and the older SNOMED RT codes.
_CODES = {
    "frontal": "399033003 272479007 399348003 R-10202 R-10214 R-40888 R-10206",
    "lateral": "399067008 399173006 399198007 399352003 399260004 30730003 399325008"
    " R-102CD R-10236 R-10232 R-10228 R-10224 G-A145 R-10254",
    "oblique": "399182000 399135007 399356000 399038007 399006002 399236003 399184004 399160007 260427002 260426006"
    " 399059000 399312000 399099002 399368009 R-102C1 R-10220 R-40985 R-10210 R-10212 R-10234 R-10238 R-10204"
    " R-40783 R-40782 R-10216 R-10208 R-10230 R-10226",
}
_VIEW_OF_CODE = {code: view for view, codes in _CODES.items() for code in codes.split()}

# View Position (PS3.3 C.8.1.1, C.8.11.5) and what is written there instead. A decubitus view is frontal.
# The words are what "lateral view" (SNOMED CT 399067008) is called in ordinary use; nobody publishes a list of them.
_LATERAL_WORDS = {
    "English, Latin": "(CHEST|THORAX|TORAX|LUNG)?(L|R|LT|RT|LEFT|RIGHT)?(LATERO|TRANS)?LAT(ERAL(E|ES|IS)?)?(LL?|RL?|LEFT|RIGHT)?"
    "|[XH]LAT",
    "German": "SEITL(ICHE?)?|SEITENBILD|SEITAUFNAHME|SEITENAUFNAHME",
    "French, Italian": "PROFIL[EO]?",
    "Spanish, Portuguese": "PERFIL",
    "Dutch": "ZIJDELINGSE?|ZIJAANZICHT",
    "Danish, Norwegian, Swedish": "SIDEBILLEDE|SIDEBILDE|SIDOBILD",
    "Polish, Czech": "BOCZN.*|BOCN.*",
    "Russian": "БОКОВ.*",
    "Chinese, Japanese, Korean": ".*([侧側][位面]|측면).*",
}
_LATERAL = re.compile("|".join(_LATERAL_WORDS.values()))
_LATERAL_TERMS = frozenset(
    {"LL", "RL", "XTL", "XTLAT", "XTABLE", "CROSSTABLE", "SIDE"}
)  # of View Position: in a description SIDE says little
_FRONTAL = frozenset(
    [
        "AP",
        "PA",
        "FRONTAL",
        "FRONTALE",
        "FRONTAAL",
        "FACE",
        "FRENTE",
        "ANTEROPOSTERIOR",
        "POSTEROANTERIOR",
        "AXR",
        "DECUB",
        "DECUBITUS",
        "LLD",
        "RLD",
    ]
)
_INITIALS = re.compile(r"\b(?:(A)\.? ?(P)|(P)\.? ?(A))\b", re.IGNORECASE)  # "p.a." would be two words
_SECOND_PLANE = re.compile(r"(?!.*\b(1\.|erste)).*\b(2\.|zweite) ?Ebene\b", re.IGNORECASE)
"""German: the second of the two planes that a chest is taken in, unless the first is named too."""
_FRONTAL_PART = re.compile("正|ПРЯМ|정면")  # these languages write words together, and inflect them
_LATEROLATERAL = frozenset({"LL", "RL"})  # of the chest, as Italian descriptions say it
MAINLY = 0.8  # a cosine: within 37° of the axis
_OBLIQUE = frozenset(["OBLIQUE", "OBL", "RAO", "LAO", "RPO", "LPO", "RLO", "LLO"])
_DESCRIPTIONS = {
    "AcquisitionDeviceProcessingDescription": "Acquisition Device Processing Description (0018,1400)",
    "SeriesDescription": "Series Description (0008,103E)",
    "ProtocolName": "Protocol Name (0018,1030)",
}


def refuse_lateral(ds: "Dataset", directions: "Directions | None") -> None:
    """Raise NOT_FRONTAL where the header names a lateral or oblique view."""
    view = _coded_view(ds)
    if view == "frontal":
        return
    if view:
        raise _refusal(f"View Code Sequence (0054,0220) names this view: {view}")
    position = _words(ds.get("ViewPosition"))
    if _is_frontal(position):
        return
    if _LATERAL_TERMS & position or _is_lateral(position):
        raise _refusal("View Position (0018,5101) names a lateral view")
    if _OBLIQUE & position:
        raise _refusal("View Position (0018,5101) names an oblique view")
    if directions:
        if directions.principal & {"A", "P"}:  # the picture's plane contains the front to back axis
            raise _refusal(f"{directions.sentence}, not a frontal plane")
        return
    for keyword, name in _DESCRIPTIONS.items():
        words = _words(ds.get(keyword))
        of_chest = _LATEROLATERAL & words or _SECOND_PLANE.match(str(ds.get(keyword) or ""))
        lateral = _is_lateral(words) or (of_chest and names_chest(ds.get(keyword)))
        if lateral and not _is_frontal(words):
            raise _refusal(f"{name} names a lateral view")


@dataclass(frozen=True)
class Directions:
    """Where rows and columns of a picture lead to, e.g. ["L", "F"] (PS3.3 C.7.6.1.1.1), and who says it, in a sentence."""

    letters: list[str]
    sentence: str

    @property
    def principal(self) -> set[str]:
        """The first letters."""
        return {letters[:1] for letters in self.letters}


def directions_of(ds: "Dataset") -> Directions | None:
    """Patient Orientation's directions, else those that Image Orientation (Patient) has, which may stand in its place.

    None unless there are two of known letters. An axial plane is not believed: converters write it by default.
    """
    value = ds.get("PatientOrientation") or []
    values = value.split("\\") if isinstance(value, str) else list(value)
    said = [str(v).strip().upper() for v in values]
    if len(said) == 2 and all(re.fullmatch("[APLRHF]{1,3}", d) for d in said):
        return Directions(said, f"Patient Orientation (0020,0020) is {chr(92).join(said)}")
    cosines = numbers(ds, "ImageOrientationPatient")
    if len(cosines) != 6:
        return None
    letters = [_axis(cosines[:3]), _axis(cosines[3:])]
    if not {"H", "F"} & set(letters) or "" in letters:
        return None
    return Directions(letters, f"Image Orientation (0020,0037) is {chr(92).join(letters)}")


def _axis(cosines: list[float]) -> str:
    """The letter of the patient's axis that a direction is mainly along (PS3.3 C.7.6.2.1.1: x to the left, y back, z up)."""
    size, letter = max((abs(c), pair[c < 0]) for c, pair in zip(cosines, ("LR", "PA", "HF"), strict=True))
    return letter if size > MAINLY else ""


def _refusal(reason: str) -> CodedError:
    return CodedError(Code.NOT_FRONTAL, f"{reason}.")


def _coded_view(ds: "Dataset") -> str | None:
    """What View Code Sequence says, by the meaning of a code that is not known (PS3.3 8.8)."""
    for item in (ds.get("ViewCodeSequence") or [])[:1]:
        if view := _VIEW_OF_CODE.get(code_of(item)):
            return view
        meaning = _words(item.get("CodeMeaning"))
        if _is_frontal(meaning):
            return "frontal"
        return "lateral" if _is_lateral(meaning) else None
    return None


def _words(value: object) -> set[str]:
    return set(capitals(_INITIALS.sub(lambda found: "".join(filter(None, found.groups())), str(value or ""))))


def _is_frontal(words: set[str]) -> bool:
    return bool(_FRONTAL & words) or any(map(_FRONTAL_PART.search, words))


def _is_lateral(words: set[str]) -> bool:
    return any(_LATERAL.fullmatch(word) for word in words)
