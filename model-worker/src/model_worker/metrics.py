"""What a model worker counts besides steps."""

from prometheus_client import Counter, Histogram

from thorax.metrics import SECONDS

PREDICT_SECONDS = Histogram(
    "thorax_predict_seconds", "One run of a backbone", ["backbone", "provider"], buckets=SECONDS
)
BATCH_IMAGES = Histogram(
    "thorax_batch_images", "Images in one run of a backbone", ["provider"], buckets=(1, 2, 4, 8, 16, 32)
)
IMAGES_REFUSED = Counter(
    "thorax_images_refused", "Images that could not be decoded or used, by code", ["code"]
)
