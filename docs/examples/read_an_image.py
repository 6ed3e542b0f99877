# A notebook in percent format: open it in VS Code or Jupyter (jupytext), or run it: python docs/examples/read_an_image.py
# Run it in the repository's root, with .venv/bin/python. No service has to run. Not a medical device.

# %% Load a bundle once, then read files: DICOM, PNG or JPEG
from thorax_offline import load_bundle

bundle = load_bundle("models/default")
reading = bundle.predict("samples/chest.dcm")

# %% The five findings, as the API answers them
for finding in reading.findings:
    print(f"{finding.finding.label:<18}{finding.probability:7.1%}  {finding.verdict}")

# %% What was set right, and what the DICOM header says
print([warning.detail for warning in reading.warnings])
print(reading.dicom_attributes and reading.dicom_attributes.view_position)

# %% Where the ensemble looked for the likeliest finding
place = int(reading.probabilities.argmax())
print(
    "map",
    reading.maps[place].shape,
    "of image",
    reading.image.shape,
    "peaks at",
    float(reading.maps[place].max()),
)
# With matplotlib: imshow(reading.image, "gray"), then imshow(reading.maps[place], alpha=0.5, vmin=0, vmax=1), both with
# the same extent.

# %% A refusal is an exception with the API's stable code
from thorax.errors import CodedError  # noqa: E402

try:
    bundle.predict("README.md")
except CodedError as error:
    print(error.code, error.detail)
