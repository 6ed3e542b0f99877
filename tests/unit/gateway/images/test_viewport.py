"""The parameter `viewport` (PS3.18, 8.3.5.1.3)."""

import pytest

from gateway.images.viewport import Viewport, parse
from thorax.errors import CodedError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("256,128", Viewport(256, 128)),
        ("512,512,,,100.5,-20", Viewport(512, 512, 0, 0, 100.5, -20)),
        ("1,4096,-3,4", Viewport(1, 4096, 3, 4)),
    ],
)
def test_a_viewport_is_read(text: str, expected: Viewport) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1,",
        ",1",
        "0,1",
        "1,4097",
        "1,1,1,1,0,1",
        "1,1,1,1,1,1,1",
        "1,1,1,1,1,1,",
        "a,b",
        "1e2,1",
        "nan,1",
    ],
)
def test_what_is_no_viewport_is_refused(text: str) -> None:
    with pytest.raises(CodedError):
        parse(text)
