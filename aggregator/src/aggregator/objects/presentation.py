"""The presentation state (GSPS): contours over the source image, in a layer that hides; the reader keeps the image."""

from highdicom import pr

from aggregator.objects.answer import AnalysedImage, Answer
from aggregator.objects.identity import MODEL_NAME, NOT_FOR_DIAGNOSIS, UNSEALED, Sealed, seal, series_uid
from aggregator.objects.regions import regions
from aggregator.objects.shades import shade
from aggregator.objects.source import evidence
from thorax.coding import conclusion
from thorax.pacs import OWN_MANUFACTURER
from thorax.version import VERSION

SERIES_NUMBER = 9903


def presentation(answer: Answer, image: AnalysedImage, number: int) -> Sealed:
    """The GSPS of one analysed image: the contours of each likely finding, and a line of text that says what it is."""
    shown = evidence(image.source)
    layer = pr.GraphicLayer(layer_name="THORAX", order=1, description="Findings of Thorax")
    graphics = [
        pr.GraphicObject(pr.GraphicTypeValues.POLYLINE, contour, pr.AnnotationUnitsValues.PIXEL)
        for said in image.likely
        for contour in regions(image, said.finding)
    ]
    made = pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[shown],
        series_instance_uid=series_uid(answer, "PR"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=UNSEALED,
        instance_number=number,
        manufacturer=OWN_MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=VERSION,
        device_serial_number=answer.digest[:16],
        content_label="THORAX",
        content_description=caption(image)[:64],
        content_creator_name=f"{MODEL_NAME}^^^^",
        graphic_layers=[layer],
        graphic_annotations=[
            pr.GraphicAnnotation(
                [shown], layer, graphic_objects=graphics or None, text_objects=[_text(image)]
            )
        ],
    )
    shade(made, image)
    return seal(made, answer, image.source)


def caption(image: AnalysedImage) -> str:
    """What an image is said to show, in a line."""
    return conclusion((said.finding, said.probability) for said in image.likely)


def _text(image: AnalysedImage) -> pr.TextObject:
    return pr.TextObject(
        f"{MODEL_NAME} (AI). {caption(image)}. {NOT_FOR_DIAGNOSIS}",
        pr.AnnotationUnitsValues.DISPLAY,
        bounding_box=(0.01, 0.93, 0.99, 0.99),
        text_justification=pr.TextJustificationValues.LEFT,
    )
