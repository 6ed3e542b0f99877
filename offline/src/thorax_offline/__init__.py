"""A bundle's answers without services, through the code that serves:

from thorax_offline import load_bundle

reading = load_bundle("models/default").predict("samples/chest.dcm")
reading.probabilities  # float64 [5], calibrated
reading.maps  # float16 [5, 28, 28]
"""

from thorax_offline.reader import FindingReading, Reader, Reading, load_bundle

__all__ = ["FindingReading", "Reader", "Reading", "load_bundle"]
