"""The source image's header: what an object takes over from it, and what it says about it."""

from io import BytesIO

from highdicom.base import SOPClass
from pydicom import Dataset, config, dcmread
from pydicom.uid import UID

from thorax.dicom_files import bare_data_set

NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
"""Without these no object can refer to an image."""
_LOSSY = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
"""Transfer syntaxes that may lose information, and what PS3.3 C.7.6.1.1.5.1 calls their methods."""


def read_header(file: bytes) -> Dataset:
    """The data set of a DICOM file, without its pixels. The file has been read in the sandbox before.

    Notes how lossy it is: a transfer syntax says so even where the attributes do not.
    """
    with config.disable_value_validation():
        plain, _ = bare_data_set(file) or (file, "")
        header = dcmread(BytesIO(plain), stop_before_pixels=True, force=True)
    method = _LOSSY.get(str(header.file_meta.get("TransferSyntaxUID", "")))
    if method and header.get("LossyImageCompression") != "01":
        whole = header.Rows * header.Columns * header.get("SamplesPerPixel", 1) * header.BitsAllocated / 8
        header.LossyImageCompression = "01"
        header.LossyImageCompressionRatio = f"{whole / len(file):.2f}"
        header.LossyImageCompressionMethod = method
    return header


def evidence(header: Dataset) -> Dataset:
    """What the library needs of a source image, nothing of its patient: it checks values that old files have wrong."""
    plain = Dataset()
    for keyword in NEEDED:
        setattr(plain, keyword, header[keyword].value)
    for keyword in (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
    ):
        setattr(plain, keyword, "")
    plain.StudyDate = plain.StudyTime = None
    plain.SamplesPerPixel = 1
    return plain


def take_over(header: Dataset, made: SOPClass) -> None:
    """Copy the modules of the Patient and Study entities, complete and nothing else (PS3.3 C.7.1, C.7.2), with what
    their values need to be read: Specific Character Set and Timezone Offset From UTC. Empty values stay empty."""
    made.copy_patient_and_study_information(header)
    for keyword in ("SpecificCharacterSet", "TimezoneOffsetFromUTC"):
        if keyword in header:
            made.add(header[keyword])


def reference(header: Dataset) -> Dataset:
    """An item of a sequence that refers to the image."""
    item = Dataset()
    item.ReferencedSOPClassUID = UID(header.SOPClassUID)
    item.ReferencedSOPInstanceUID = UID(header.SOPInstanceUID)
    return item
