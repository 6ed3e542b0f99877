"""A DICOM file to a grey image, upright, and light where X-rays were stopped. Runs in the sandboxed child.

Everything between a stored word and a grey value (masking, Modality LUT, VOI LUT, polarity, padding) is one table
with an entry per possible word: built in a millisecond, applied in one pass, and easy to test as a whole.
"""

from pydicom.dataset import FileDataset

from model_worker.decoding.anatomy import refuse_other_objects, refuse_other_parts
from model_worker.decoding.attributes import read_attributes
from model_worker.decoding.codestream import decode_words, digest
from model_worker.decoding.decoded import DecodedImage, Notes
from model_worker.decoding.greyscale import grey_table
from model_worker.decoding.orientation import AS_STORED, NAMES, from_patient_orientation, upright
from model_worker.decoding.raster import Grey, refuse_colour, through, to_eight_bits, to_grey
from model_worker.decoding.reading import complete, read, refuse_unusable
from model_worker.decoding.view import directions_of, refuse_lateral
from thorax.image_warnings import WarningCode


def decode_dicom(data: bytes, *, force: bool = False) -> DecodedImage:
    """Decode a DICOM file (PS3.10) of one frame.

    Raises CodedError: UNREADABLE_IMAGE, IMAGE_SIZE, IMAGE_TOO_LARGE, DECODE_LIMIT; NOT_A_CHEST and NOT_FRONTAL where the
    file says so, which `force` turns into warnings.
    """
    notes = Notes(force)
    ds = read(data, notes)
    attributes, directions = read_attributes(ds), directions_of(ds)
    notes.check(lambda: refuse_other_objects(ds, attributes))
    notes.check(lambda: refuse_other_parts(ds))
    notes.check(lambda: refuse_lateral(ds, directions))
    refuse_unusable(ds)
    complete(ds, notes)
    grey = _grey(ds, notes)
    orientation = (from_patient_orientation(directions.letters) if directions else None) or AS_STORED
    if directions and orientation != AS_STORED:
        notes.warn(WarningCode.TURNED, f"{directions.sentence}: the image was {NAMES[orientation]}.")
    grey = upright(grey, orientation)
    rows, columns = grey.shape
    return DecodedImage(grey, rows, columns, orientation, tuple(notes.warnings), attributes)


def pixel_digest(data: bytes) -> str:
    """What tells the pixels of two DICOM files apart, whatever their encoding and header. Raises as `decode_dicom`."""
    notes = Notes(force=True)
    ds = read(data, notes)
    refuse_unusable(ds)
    complete(ds, notes)
    return digest(*decode_words(ds, notes))


def _grey(ds: FileDataset, notes: Notes) -> Grey:
    words, layout = decode_words(ds, notes)
    if words.ndim == 2:
        return through(words, grey_table(ds, words, layout, notes))
    notes.check(lambda: refuse_colour(words))
    return to_eight_bits(to_grey(words[:, :, ::-1]))  # DICOM has R G B, cv2 B G R
