"""Whether a DICOM header says that the file is not a chest radiograph: another object, body part, or our own output.

A missing value, and a word that no list names, is accepted: a chest must not be refused.
"""

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unicodedata import combining, normalize

from thorax.errors import Code, CodedError
from thorax.pacs import OWN_MANUFACTURER

if TYPE_CHECKING:
    from pydicom import Dataset

    from model_worker.decoding.attributes import DicomAttributes

MODALITIES = frozenset({"CR", "DX", "DR", "RG", "XR", "OT", "SC"})
STORAGE = "1.2.840.10008.5.1.4.1.1."
SECONDARY_CAPTURE = frozenset(STORAGE + leaf for leaf in ("7", "7.1", "7.2", "7.3", "7.4"))
SOP_CLASSES = SECONDARY_CAPTURE | {STORAGE + leaf for leaf in ("1", "1.1", "1.1.1")}  # CR, DX (both)

# Body parts of PS3.16 annex L, their plain spellings, modalities' own, and other languages', that are not and do not contain the chest.
NO_CHEST = frozenset(
    """ABDOMEN ABD ABDOMENPELVIS PELVIS HIP HEAD SKULL FACE SINUS ORBIT JAW MANDIBLE MAXILLA TOOTH TEETH NOSE EAR EYE
    BRAIN ABDOMINAL MANDIBULA NECK CSPINE CERVICAL LSPINE LUMBAR SSPINE SACRUM COCCYX LSSPINE CTSPINE TLSPINE EXTREMITY ARM UPPERARM
    HUMERUS ELBOW FOREARM RADIUS ULNA WRIST HAND FINGER THUMB SHOULDER SCAPULA LEG THIGH FEMUR KNEE PATELLA
    LOWERLEG TIBIA FIBULA TIBFIB ANKLE FOOT FEET CALCANEUS HEEL TOE BREAST BLADDER KIDNEY LIVER UTERUS PROSTATE
    LOWERLIMB UPPERLIMB LOWEREXTREMITY UPPEREXTREMITY CERVICALSPINE LUMBARSPINE SIJOINT KUB URINARY
    UPEXM LOWEXM LWS HWS BECKEN SCHAEDEL SCHADEL KNIE FUSS HUEFTE HUFTE SCHULTER ELLENBOGEN ELLBOGEN HANDGELENK UNTERARM OBERARM
    KNIEGELENK SCHULTERGELENK HUFTGELENK HUEFTGELENK ELLENBOGENGELENK HANDWURZEL MITTELHAND MITTELFUSS VORFUSS FERSENBEIN
    HALSWIRBELSAULE HALSWIRBELSAEULE LENDENWIRBELSAULE LENDENWIRBELSAEULE SPRUNGGELENK OSG UNTERSCHENKEL OBERSCHENKEL ZEHE DAUMEN KOPF HALS KIEFER
    GENOU PIED BASSIN HANCHE EPAULE MAIN POIGNET CHEVILLE COUDE CRANE JAMBE CUISSE BRAS AVANTBRAS DOIGT ORTEIL MACHOIRE LOMBAIRE
    RODILLA MANO TOBILLO CRANEO CADERA HOMBRO CODO MUNECA PIE PIERNA MUSLO ANTEBRAZO BRAZO DEDO CUELLO CABEZA
    GINOCCHIO PIEDE BACINO SPALLA POLSO CAVIGLIA GOMITO ANCA CRANIO GAMBA COSCIA BRACCIO AVAMBRACCIO DITO LOMBARE ADDOME
    JOELHO OMBRO PUNHO TORNOZELO COTOVELO QUADRIL MAO PERNA COXA BRACO ANTEBRACO ABDOME
    VOET ENKEL HEUP SCHOUDER POLS ELLEBOOG BEKKEN SCHEDEL ONDERARM BOVENARM ONDERBEEN BOVENBEEN VINGER TEEN DUIM BUIK
    FOT FOD KNE KNA HOFTE HOFT SKULDER ALBUE ARMBAGE HANDLEDD ANKEL BUK""".split()  # noqa: SIM905
)
_CHEST = re.compile(
    "CHEST|THORA|TORA[XC]|POITRINE|PECHO|BRUSTKORB|BORSTKAS|LUNG|POUMON|POLMON|RIB|STERN|CLAVIC|HEART|MEDIASTIN|PULM|TSPINE|BODY"
)
_SIDE = re.compile("^(LEFT|RIGHT|LT|RT)(?=.)")

# Anatomic regions that are not the chest: PS3.16 CID 4009 and 4, in SNOMED CT and SNOMED RT.
_NO_CHEST_CODES = {
    "Abdomen": "818981001 113345001 T-D4000",
    "Abdomen and pelvis": "818982008 818983003 R-FAB57",
    "Pelvis": "816092008 12921003 T-D6000",
    "Hip": "29836001 24136001 T-D2500 T-15710",
    "Head": "69536005 89546000 774007 91397008 89545001 12738006 T-D1100 T-11100 T-D1000 T-11196 T-D1200 T-A0100",
    "Sinuses": "2095001 T-22000",
    "Jaw": "661005 91609006 70925003 T-D1213 T-11180 T-11170",
    "Orbit": "363654007 371398005 81745001 T-D14AE T-D0801 T-AA000",
    "Neck": "45048000 T-D1600",
    "Cervical spine": "122494005 T-11501",
    "Lumbar spine": "122496007 1217253001 T-11503",
    "Sacrum": "54735007 64688005 1217254007 39723000 T-11AD0 T-11BF0 T-15680",
    "Extremity": "66019005 53120007 61685007 T-D0300 T-D8000 T-D9000",
    "Shoulder": "16982005 79601000 85856004 T-D2220 T-12280 T-15420",
    "Upper arm": "40983000 85050009 371195002 T-D8200 T-12410 T-D0821",
    "Elbow": "16953009 76248009 T-15430 T-D8300",
    "Forearm": "14975008 23416004 62413002 T-D8500 T-12430 T-12420",
    "Wrist": "74670003 8205005 T-15460 T-D8600",
    "Hand": "85562004 T-D8700",
    "Finger": "7569003 76505004 T-D8800 T-D8810",
    "Thigh": "68367000 71341001 T-D9100 T-12710",
    "Knee": "72696002 64234005 49076000 T-D9200 T-12730",
    "Lower leg": "30021000 12611008 87342007 72001000 T-D9400 T-12740 T-12750 T-12700",
    "Ankle": "70258002 344001 T-15750 T-D9500",
    "Foot": "56459004 80144004 27949001 58742003 T-D9700 T-12770 T-15770 T-12980",
    "Toe": "29707007 T-D9800",
    "Breast": "76752008 T-04000",
    "Urinary tract": "431491007 89837001 T-7000B T-74000",
    "Colon": "71854001 14742008 T-59300 T-59000",
}
_PART_OF_CODE = {code: part for part, codes in _NO_CHEST_CODES.items() for code in codes.split()}


def refuse_other_objects(ds: "Dataset", attributes: "DicomAttributes") -> None:
    """Raise NOT_A_CHEST for another modality or SOP class, an animal, and for pictures made by software."""
    if attributes.modality and attributes.modality not in MODALITIES:
        raise _refusal(f"Modality (0008,0060) is {attributes.modality}, not CR or DX")
    sop_class = attributes.sop_class_uid or ""
    if sop_class.startswith(STORAGE) and sop_class not in SOP_CLASSES:
        name = getattr(ds.get("SOPClassUID"), "name", sop_class)
        raise _refusal(f"The file is {name}, not a radiograph")
    if ds.get("AnatomicalOrientationType") == "QUADRUPED":
        raise _refusal("Anatomical Orientation Type (0010,2210) is QUADRUPED")
    if str(ds.get("Manufacturer") or "").strip("\0 ").upper() == OWN_MANUFACTURER:
        raise _refusal("The image was made by Thorax itself")
    kind = [str(v).strip().upper() for v in _values(ds.get("ImageType"))]
    if kind[:2] != ["DERIVED", "SECONDARY"]:
        return
    # A digitised film (DF) is a radiograph with its patient's name in it; a capture by software is not.
    if (
        sop_class in SECONDARY_CAPTURE
        and ds.get("BurnedInAnnotation") == "YES"
        and ds.get("ConversionType") not in ("DF", "SI")
    ):
        raise _refusal("The image is a derived secondary capture with burned in annotation")


def refuse_other_parts(ds: "Dataset") -> None:
    """Raise NOT_A_CHEST where Body Part Examined or, unless that names the chest, the anatomic region is another."""
    said = str(ds.get("BodyPartExamined") or "")
    if names_chest(said):
        return
    if part := _PART_OF_CODE.get(said.upper().strip("\0 ")) or _other_part(said):
        raise _refusal(f"Body Part Examined (0018,0015) is {part.upper()}")
    for item in ds.get("AnatomicRegionSequence") or []:
        meaning = str(item.get("CodeMeaning") or "").upper()
        part = _PART_OF_CODE.get(code_of(item)) or ("" if names_chest(meaning) else _other_part(meaning))
        if part:
            raise _refusal(f"Anatomic Region Sequence (0008,2218) names {part.lower()}")


def code_of(item: "Dataset") -> str:
    """A code sequence item's code, in whichever of the three elements it is (PS3.3 8.1)."""
    values = (item.get(name) for name in ("CodeValue", "LongCodeValue", "URNCodeValue"))
    return next((str(value).strip("\0 ") for value in values if value), "")


def names_chest(said: object) -> bool:
    """Whether a text names the chest, or what lies in it."""
    return bool(_CHEST.search("".join(capitals(said))))


def _other_part(said: str) -> str:
    """The body part that words in capitals name, or nothing."""
    words = capitals(said)
    for word in ("".join(words), *words):
        part = _SIDE.sub("", word)
        if part in NO_CHEST or part.removesuffix("S") in NO_CHEST:
            return part
    return ""


def capitals(text: object) -> list[str]:
    """A text's words: letters only, in capitals without accents."""
    said = str(text or "")
    with suppress(UnicodeError):  # a code string in UTF-8, of which pydicom makes Latin-1
        said = said.encode("latin-1").decode()
    bare = "".join(c for c in normalize("NFKD", said.upper()) if not combining(c))
    return re.findall(r"[^\W\d_]+", normalize("NFC", bare))


def _values(value: Any) -> list[Any]:
    return value.split("\\") if isinstance(value, str) else list(value or [])


def _refusal(reason: str) -> CodedError:
    return CodedError(Code.NOT_A_CHEST, f"{reason}.")
