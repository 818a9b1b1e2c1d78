"""The graph makes of pixels the very bytes that the service makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from meta_models.inputs import DrawingSpec, InputSpec, PhotoSpec, Picture
from meta_models.inputs.picture import BlankImageError, preprocess
from meta_models.pixels_graph import KINDS, from_pixels, made_up_pictures, pixels_graph
from meta_models.serving import cpu_session

Pixels = NDArray[np.uint8]

SPECS = (
    DrawingSpec(),
    DrawingSpec(size=17, margin=0.33, min_crop=0.5),
    DrawingSpec(size=32, margin=0, min_crop=1),
    PhotoSpec(),
    PhotoSpec(size=84),
)
SIZES = ((5, 9), (1, 40), (28, 28), (32, 32), (33, 84), (105, 105), (150, 40), (400, 300), (301, 299), (61, 1201))


def rgb(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def noise(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return noise(rng, height, width)[..., 0]


def strokes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    paper, ink = (tuple(int(value) for value in colour) for colour in rng.integers(0, 256, (2, 3)))
    image = Image.new("RGB", (width, height), paper)
    points = [(float(x * width), float(y * height)) for x, y in rng.uniform(-0.1, 1.1, (4, 2))]
    ImageDraw.Draw(image).line(points, fill=ink, width=1 + max(height, width) // 30)
    return np.asarray(image)


def opened(spec: Picture) -> onnxruntime.InferenceSession:
    return cpu_session(pixels_graph(spec, opset=20, ir_version=10).SerializeToString())


def ran(session: onnxruntime.InferenceSession, pixels: Pixels) -> tuple[Pixels, bool]:
    example, blank = session.run(["inputs", "blank"], {"pixels": rgb(pixels)})
    return np.asarray(example)[0], bool(blank)


def by_pillow(spec: Picture, pixels: Pixels) -> tuple[Pixels, bool]:
    try:
        return preprocess(Image.fromarray(pixels), spec), False
    except BlankImageError:
        return np.zeros(spec.shape, np.uint8), True


@pytest.mark.parametrize("spec", SPECS, ids=repr)
@pytest.mark.parametrize("draw", [noise, grey, strokes])
def test_the_bytes_are_those_of_the_service(spec: Picture, draw: Callable[..., Pixels]) -> None:
    rng, session = np.random.default_rng(7), opened(spec)
    some = [(int(height), int(width)) for height, width in rng.integers(1, 200, (60, 2))]
    for height, width in (*SIZES, *some):
        pixels = draw(rng, height, width)
        (here, empty), (there, blank) = ran(session, pixels), by_pillow(spec, pixels)
        assert empty == blank, (height, width)
        assert np.array_equal(here, there), (height, width)


@pytest.mark.parametrize("spec", SPECS, ids=repr)
@pytest.mark.parametrize("size", [(1025, 3), (1500, 2100), (3, 5000), (2049, 2048)])
def test_large_pictures_are_shrunk_first(spec: Picture, size: tuple[int, int]) -> None:
    pixels = strokes(np.random.default_rng(3), *size)
    assert np.array_equal(ran(opened(spec), pixels)[0], by_pillow(spec, pixels)[0])


def two_specks() -> Pixels:
    """Ink that vanishes when it is averaged."""
    pixels = np.full((1000, 1000), 255, np.uint8)
    pixels[100, 100] = pixels[900, 900] = 0
    return pixels


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((1, 1), 0, np.uint8),
        np.full((60, 80, 3), 255, np.uint8),
        np.random.default_rng(0).integers(100, 112, (50, 40, 3), dtype=np.uint8),
        two_specks(),
    ],
    ids=["one pixel", "white", "grain", "specks"],
)
def test_of_a_blank_picture_an_empty_example_is_made(pixels: Pixels) -> None:
    with pytest.raises(BlankImageError):
        preprocess(Image.fromarray(pixels), DrawingSpec())
    example, blank = ran(opened(DrawingSpec()), pixels)
    assert blank
    assert not example.any()


def test_made_up_pictures_can_be_told_apart() -> None:
    """They are proof only where they say something."""
    made = [preprocess(Image.fromarray(pixels), DrawingSpec()) for pixels in made_up_pictures()]
    assert len({example.tobytes() for example in made}) == len(made)


def test_every_kind_of_picture_has_its_graph() -> None:
    union, _ = get_args(InputSpec)
    assert {spec for spec in get_args(union) if issubclass(spec, Picture)} == set(KINDS)


@pytest.mark.parametrize("spec", [DrawingSpec(), PhotoSpec()], ids=repr)
def test_any_classifier_of_examples_can_take_pixels(spec: Picture) -> None:
    """This one tells the mean apart from its rest, and knows everything."""
    channels, height, width = spec.shape
    classifier = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 20]>
        classifier (uint8[n, {channels}, {height}, {width}] inputs) => (float[n, 2] probabilities, bool[n] rejected)
        <int64[3] axes = {{1, 2, 3}}, int64[2] shape = {{-1, 1}}, float white = {{255}}, float one = {{1}}>
        {{
            values = Cast <to = 1> (inputs)
            means = ReduceMean <keepdims = 0> (values, axes)
            range = Div (means, white)
            light = Reshape (range, shape)
            dark = Sub (one, light)
            probabilities = Concat <axis = 1> (light, dark)
            rejected = Greater (range, one)
        }}
    """)
    from_pixels(classifier, spec)
    session = cpu_session(classifier.SerializeToString())
    assert [(given.name, given.shape) for given in session.get_inputs()] == [("pixels", ["height", "width", 3])]
    for pixels in made_up_pictures():
        found, rejected = session.run(["probabilities", "rejected"], {"pixels": pixels})
        light = preprocess(Image.fromarray(pixels), spec).mean() / 255
        assert np.asarray(found) == pytest.approx(np.array([[light, 1 - light]]), abs=1e-6)
        assert np.asarray(rejected).tolist() == [False]
    _, rejected = session.run(["probabilities", "rejected"], {"pixels": np.full((40, 30, 3), 200, np.uint8)})
    assert np.asarray(rejected).tolist() == [isinstance(spec, DrawingSpec)]  # a photograph may be of one colour


@pytest.mark.parametrize("opset", [18, 20])
def test_the_graph_is_plain_onnx(opset: int) -> None:
    for spec in SPECS:
        graph = pixels_graph(spec, opset, ir_version=8)
        onnx.checker.check_model(graph, full_check=True)
        assert not graph.functions
        assert {node.domain for node in graph.graph.node} == {""}
