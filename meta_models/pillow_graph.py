"""What Pillow does to pictures that are shrunk and resized, in ONNX's own language: functions of `pixels_graph`.

Pillow counts: a weight of a resize is a whole number of 2^-22nds, and each axis ends in bytes. float64 holds such sums
exactly, whatever their order, so that a graph arrives at the very same bytes. `tests/meta_models/test_pixels_graph.py`
compares them with the Pillow that is installed.
"""

from __future__ import annotations

from string import Template

from meta_models.inputs.picture import MAX_WORKING_SIDE

FLOAT, UINT8, INT64, DOUBLE = 1, 2, 7, 11
"""Numbers of ONNX's types."""

DOMAIN = "innerloop"

_FUNCTIONS = """
shrunk (pixels) => (shrunk) {
    # (height, width, c) bytes as floats, the longer side at most MAX_WORKING_SIDE: `Image.reduce`.
    values = Cast <to = $FLOAT> (pixels)
    shape = Shape <end = 2> (pixels)
    longest = ReduceMax <keepdims = 1> (shape)
    most = Constant <value_ints = [$MOST]> ()
    almost = Constant <value_ints = [$ALMOST]> ()
    more = Add (longest, almost)
    factor = Div (more, most)
    is_large = Greater (longest, most)
    shrunk = If (is_large) <
        then_branch = large () => (averages) {
            columns, in_column = innerloop.summed (values, factor)
            sums32, in_row = innerloop.summed (columns, factor)
            down = Constant <value_ints = [-1, 1, 1]> ()
            along = Constant <value_ints = [-1, 1]> ()
            n_down = Reshape (in_column, down)
            n_along = Reshape (in_row, along)
            n32 = Mul (n_down, n_along)
            n = Cast <to = $DOUBLE> (n32)
            sums = Cast <to = $DOUBLE> (sums32)
            two = Constant <value = double {2}> ()
            halves = Div (n, two)
            half = Floor (halves)
            rounding = Add (sums, half)
            unit = Constant <value = double {$SHARES}> ()
            shares = Div (unit, n)
            share = Floor (shares)
            scaled = Mul (rounding, share)
            exact = Div (scaled, unit)
            whole = Floor (exact)
            averages = Cast <to = $FLOAT> (whole)
        },
        else_branch = small () => (same) { same = Identity (values) }
    >
}


summed (rows, factor) => (turned, counts) {
    # (n, m, c) to sums of `factor` rows (m, n / factor, c), and of how many each is: the last may be of fewer.
    n = Shape <end = 1> (rows)
    rest = Shape <start = 1> (rows)
    k = Min (factor, n)
    negative = Neg (n)
    missing = Mod (negative, k)
    zero = Constant <value_ints = [0]> ()
    one = Constant <value_ints = [1]> ()
    any = Constant <value_ints = [-1]> ()
    ends = Concat <axis = 0> (zero, missing)
    nothing = Constant <value = float {0}> ()
    padded = Pad (rows, ends, nothing, zero)
    shape = Concat <axis = 0> (any, k, rest)
    blocks = Reshape (padded, shape)
    sums = ReduceSum <keepdims = 0> (blocks, one)
    turned = Transpose <perm = [1, 0, 2]> (sums)
    single = Constant <value = float {1}> ()
    singles = Expand (single, n)
    padded_singles = Pad (singles, ends)
    in_blocks = Concat <axis = 0> (any, k)
    single_blocks = Reshape (padded_singles, in_blocks)
    counts = ReduceSum <keepdims = 0> (single_blocks, one)
}


fitted (planes, start, stop, by_area, size) => (small) {
    # What lies between start and stop, (top, left) and (bottom, right), of bytes (c, height, width), as
    # (c, size, size): `Image.resize` with a box, which goes across first unless there is more to shrink downwards.
    from = Cast <to = $FLOAT> (start)
    to = Cast <to = $FLOAT> (stop)
    top, left = Split <axis = 0, num_outputs = 2> (from)
    bottom, right = Split <axis = 0, num_outputs = 2> (to)
    shape = Shape <start = 1> (planes)
    height, width = Split <axis = 0, num_outputs = 2> (shape)
    rows = innerloop.weights (top, bottom, height, by_area, size)
    weights = innerloop.weights (left, right, width, by_area, size)
    columns = Transpose (weights)

    more_down = Sub (height, size)
    more_across = Sub (width, size)
    twice = Add (more_across, more_across)
    none = Constant <value_ints = [0]> ()
    less = Max (twice, none)
    is_tall = Greater (more_down, less)
    small = If (is_tall) <
        then_branch = down_first () => (small_tall) {
            low_sums = MatMul (rows, planes)
            low = innerloop.rounded (low_sums)
            tall_sums = MatMul (low, columns)
            small_tall = innerloop.rounded (tall_sums)
        },
        else_branch = across_first () => (small_wide) {
            narrow_sums = MatMul (planes, columns)
            narrow = innerloop.rounded (narrow_sums)
            wide_sums = MatMul (rows, narrow)
            small_wide = innerloop.rounded (wide_sums)
        }
    >
}


weights (start, stop, length, by_area, size) => (weights) {
    # What each of `length` pixels counts in each of `size`, (size, length): whole numbers, 2^22 in all.
    half = Constant <value = double {0.5}> ()
    zero = Constant <value = double {0}> ()
    one = Constant <value = double {1}> ()
    last = Constant <value_ints = [-1]> ()
    n = Cast <to = $DOUBLE> (length)
    n_pixels = Squeeze (n)
    pixels = Range (zero, n_pixels, one)
    n_made = Cast <to = $DOUBLE> (size)
    n_cells = Squeeze (n_made)
    cells = Range (zero, n_cells, one)

    extent32 = Sub (stop, start)
    extent = Cast <to = $DOUBLE> (extent32)
    origin = Cast <to = $DOUBLE> (start)
    scale = Div (extent, n_made)
    width = Max (scale, one)
    part = Where (by_area, half, one)
    reach = Mul (width, part)
    steps = Add (cells, half)
    offsets = Mul (steps, scale)
    middle_row = Add (origin, offsets)
    middles = Unsqueeze (middle_row, last)

    lowest = Sub (middles, reach)
    from_exact = Add (lowest, half)
    from = Floor (from_exact)
    highest = Add (middles, reach)
    before_exact = Add (highest, half)
    before = Floor (before_exact)
    is_after = GreaterOrEqual (pixels, from)
    is_before = Less (pixels, before)
    is_near = And (is_after, is_before)

    to_edge = Sub (pixels, middles)
    to_pixel = Add (to_edge, half)
    density = Div (one, width)
    place = Mul (to_pixel, density)
    distance = Abs (place)
    height = Sub (one, distance)
    tent = Max (height, zero)
    minus_half = Neg (half)
    is_right = Greater (place, minus_half)
    is_left = LessOrEqual (place, half)
    is_inside = And (is_right, is_left)
    box = Where (is_inside, one, zero)
    shape = Where (by_area, box, tent)
    raw = Where (is_near, shape, zero)
    sums = ReduceSum <keepdims = 1> (raw, last)
    shares = Div (raw, sums)
    unit = Constant <value = double {$UNIT}> ()
    scaled = Mul (shares, unit)
    raised = Add (scaled, half)
    weights = Floor (raised)
}


rounded (sums) => (bytes) {
    unit = Constant <value = double {$UNIT}> ()
    half = Constant <value = double {0.5}> ()
    means = Div (sums, unit)
    raised = Add (means, half)
    bytes = Floor (raised)
}
"""


def pillow_functions(opset: int) -> str:
    """`shrunk (pixels)` and `fitted (planes, start, stop, by_area, size)` of `DOMAIN`, and what they call.

    Args:
        opset: at least 18.
    """
    header = f'<domain: "{DOMAIN}", opset_import: ["" : {opset}, "{DOMAIN}" : 1]>'
    text = Template(_FUNCTIONS).substitute(
        FLOAT=FLOAT, DOUBLE=DOUBLE, MOST=MAX_WORKING_SIDE, ALMOST=MAX_WORKING_SIDE - 1, SHARES=2.0**24, UNIT=2.0**22
    )
    return "".join(f"{header} {function}" for function in text.strip().split("\n\n\n"))
