"""From a decoded picture of any size to what a meta-model reads, as an ONNX graph: the front of an exported classifier.

What `meta_models/inputs` does with numpy and Pillow is said here once more, in ONNX's own language. A kind of picture
is one function here and one line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from string import Template
from typing import Any

import numpy as np
import onnx
import onnx.compose
import onnx.inliner
import onnx.parser
from numpy.typing import NDArray

from meta_models.inputs import DrawingSpec, PhotoSpec, Picture
from meta_models.inputs.drawing import DRAWN, FAINT, PAPER
from meta_models.pillow_graph import DOMAIN, DOUBLE, FLOAT, INT64, UINT8, pillow_functions


def from_pixels(classifier: onnx.ModelProto, spec: Picture) -> None:
    """Let a classifier take the decoded pixels of one picture in place of a batch of examples.

    Args:
        classifier: from `inputs` (n, *shape) to `probabilities` and `rejected`, of opset 18 or later. Afterwards it
            takes `pixels` (height, width, 3) uint8, and rejects blank pictures too.
        spec: how its examples are made.
    """
    front = pixels_graph(spec, classifier.opset_import[0].version, classifier.ir_version)
    front = onnx.compose.add_prefix(front, "pixels/", rename_inputs=False, rename_outputs=False).graph
    graph = classifier.graph
    [rejects] = [node for node in graph.node if "rejected" in node.output]
    rejects.output[0] = rejects.name = "unlike"
    rejected = onnx.helper.make_node("Or", ["unlike", "blank"], ["rejected"], name="rejected")
    nodes = [*front.node, *graph.node, rejected]
    graph.ClearField("node")
    graph.node.extend(nodes)
    graph.ClearField("input")
    graph.input.extend(front.input)
    graph.initializer.extend(front.initializer)
    for output in graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.checker.check_model(classifier, full_check=True)


def pixels_graph(spec: Picture, opset: int, ir_version: int) -> onnx.ModelProto:
    """`Picture.fit`, and the shrinking of large pictures before it, for one picture.

    From `pixels` (height, width, 3) uint8 to `inputs` (1, *shape) uint8 and `blank`, whether nothing is drawn: `fit`
    refuses such a picture, which a graph cannot; it makes an empty example.
    """
    header = f'<ir_version: {ir_version}, opset_import: ["" : {opset}, "{DOMAIN}" : 1]>'
    text = f"{header} {KINDS[type(spec)](spec)} {pillow_functions(opset)}"
    return onnx.inliner.inline_local_functions(onnx.parser.parse_model(text))


def made_up_pictures() -> Iterator[NDArray[np.uint8]]:
    """(height, width, 3) pictures to compare graphs on: ink on paper, flat, tall, tiny and larger than is worked on."""
    rng = np.random.default_rng(0)
    colours = ((255, 0), (0, 255), ((250, 240, 200), (40, 60, 160)))
    for number, (height, width) in enumerate(((105, 105), (5, 9), (28, 31), (300, 400), (233, 61), (1100, 130))):
        cells = np.zeros((8, 8), bool)
        cells[1:7, 1:7] = rng.random((6, 6)) < 0.5
        cells[2:6, 2:6] |= np.eye(4, dtype=bool)
        mask = cells[np.arange(height) * 8 // height][:, np.arange(width) * 8 // width]
        paper, ink = colours[number % len(colours)]
        flat = np.where(mask[..., None], ink, paper) + np.zeros(3, int)
        yield np.clip(flat + rng.integers(-9, 10, flat.shape), 0, 255).astype(np.uint8)


def _drawing(spec: DrawingSpec) -> str:
    """`drawing`."""
    text = _DRAWING.replace("$CROP", _WHOLE_FRAME if spec.min_crop >= 1 else _AROUND_INK)
    return Template(text).substitute(
        SIZE=spec.size,
        WIDENED=1 + 2 * spec.margin,
        MIN_CROP=spec.min_crop,
        FAINT=FAINT,
        DRAWN=DRAWN,
        PAPER=PAPER,
        FLOAT=FLOAT,
        UINT8=UINT8,
        INT64=INT64,
        DOUBLE=DOUBLE,
    )


_DRAWING = """
drawing (uint8[height, width, 3] pixels) => (uint8[1, 1, $SIZE, $SIZE] inputs, bool blank)
<
    int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] last = {-1}, int64[1] four = {4},
    int64[2] edges = {0, -1}, int64[2] colours = {-1, 3}, int64[1] size = {$SIZE}, double size_ = {$SIZE},
    double none_ = {0}, double one_ = {1}, double two_ = {2}, double most_ = {255},
    double drawn = {$DRAWN}, double paper = {$PAPER},
    float black = {0}, float white = {255}, float faint = {$FAINT}
>
{
    shrunk = innerloop.shrunk (pixels)

    # The background is the median colour of the border, ink the distance from it.
    long_edges = Gather <axis = 0> (shrunk, edges)
    short_edges = Gather <axis = 1> (shrunk, edges)
    rows_around = Reshape (long_edges, colours)
    columns_around = Reshape (short_edges, colours)
    border = Concat <axis = 0> (rows_around, columns_around)
    n_border = Shape <end = 1> (border)
    before_half = Div (n_border, two)
    half = Add (before_half, one)
    lower_half, which = TopK <axis = 0, largest = 0> (border, half)
    background = ReduceMax <keepdims = 0> (lower_half, zero)
    differences = Sub (shrunk, background)
    distances = Abs (differences)
    distance = ReduceMax <keepdims = 0> (distances, last)
    peak = ReduceMax <keepdims = 0> (distance)
    is_there = Greater (peak, faint)
    ink = Where (is_there, distance, black)

    # A square around the ink, which may reach past the picture; where there is none, everything is ink.
    peak_ = Cast <to = $DOUBLE> (peak)
    part = Mul (peak_, drawn)
    threshold_ = Floor (part)
    threshold = Cast <to = $FLOAT> (threshold_)
    is_ink = Greater (ink, threshold)
    mask = Cast <to = $FLOAT> (is_ink)
    in_rows = ReduceMax <keepdims = 0> (mask, one)
    in_columns = ReduceMax <keepdims = 0> (mask, zero)
    top = ArgMax <axis = 0> (in_rows)
    left = ArgMax <axis = 0> (in_columns)
    bottom = ArgMax <axis = 0, select_last_index = 1> (in_rows)
    right = ArgMax <axis = 0, select_last_index = 1> (in_columns)
    firsts = Concat <axis = 0> (top, left)
    lasts = Concat <axis = 0> (bottom, right)
    ends = Add (lasts, one)
    low = Cast <to = $DOUBLE> (firsts)
    high = Cast <to = $DOUBLE> (ends)
    shape = Shape (ink)
    frame = Cast <to = $DOUBLE> (shape)
    longer = ReduceMax <keepdims = 0> (frame)
    $CROP
    half_side = Div (side, two_)
    start = Sub (middle, half_side)
    stop = Add (middle, half_side)

    # Background around the picture, as far as the square reaches.
    over_start = Neg (start)
    over_stop = Sub (stop, frame)
    over = Max (over_start, over_stop, none_)
    most_over = ReduceMax <keepdims = 1> (over)
    pad_ = Ceil (most_over)
    pad = Cast <to = $INT64> (pad_)
    pads = Expand (pad, four)
    canvas = Pad (ink, pads)
    canvas_ = Cast <to = $DOUBLE> (canvas)
    planes = Unsqueeze (canvas_, zero)
    from = Add (start, pad_)
    to = Add (stop, pad_)
    x_start = Gather (start, last)
    x_stop = Gather (stop, last)
    extent_x = Sub (x_stop, x_start)
    shrinks = GreaterOrEqual (extent_x, size_)
    small = innerloop.fitted (planes, from, to, shrinks, size)

    # Stretched to the whole range, the paper's grain dropped.
    darkest = ReduceMax <keepdims = 0> (small)
    blank = Equal (darkest, none_)
    dark = Max (darkest, one_)
    grain_ = Mul (dark, paper)
    range = Sub (dark, grain_)
    gain_ = Div (most_, range)
    grain = Cast <to = $FLOAT> (grain_)
    gain = Cast <to = $FLOAT> (gain_)
    values = Cast <to = $FLOAT> (small)
    above_grain = Sub (values, grain)
    stretched = Mul (above_grain, gain)
    clipped = Clip (stretched, black, white)
    rounded = Round (clipped)
    bytes = Cast <to = $UINT8> (rounded)
    inputs = Unsqueeze (bytes, zero)
}
"""

_AROUND_INK = """
    both = Add (low, high)
    middle = Div (both, two_)
    extents = Sub (high, low)
    extent = ReduceMax <keepdims = 0> (extents)
    widened = Constant <value = double {$WIDENED}> ()
    with_margin = Mul (extent, widened)
    min_crop = Constant <value = double {$MIN_CROP}> ()
    least = Mul (longer, min_crop)
    side = Max (with_margin, least)
"""

_WHOLE_FRAME = """
    middle = Div (frame, two_)
    side = Identity (longer)
"""


def _photo(spec: PhotoSpec) -> str:
    """`PhotoSpec.fit`; no photograph is blank."""
    return Template(_PHOTO).substitute(SIZE=spec.size, UINT8=UINT8, DOUBLE=DOUBLE)


_PHOTO = """
photo (uint8[height, width, 3] pixels) => (uint8[1, 3, $SIZE, $SIZE] inputs, bool blank)
<int64[1] zero = {0}, int64[1] size = {$SIZE}, double two_ = {2}, bool no = {0}>
{
    shrunk = innerloop.shrunk (pixels)
    planes = Transpose <perm = [2, 0, 1]> (shrunk)
    planes_ = Cast <to = $DOUBLE> (planes)
    shape = Shape <end = 2> (shrunk)
    frame = Cast <to = $DOUBLE> (shape)
    side = ReduceMin <keepdims = 0> (frame)
    around = Sub (frame, side)
    start = Div (around, two_)
    stop = Add (start, side)
    small = innerloop.fitted (planes_, start, stop, no, size)
    bytes = Cast <to = $UINT8> (small)
    inputs = Unsqueeze (bytes, zero)
    blank = Identity (no)
}
"""

KINDS: dict[type, Callable[[Any], str]] = {DrawingSpec: _drawing, PhotoSpec: _photo}
"""By kind of picture, its graph as text."""
