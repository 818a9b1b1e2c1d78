"""What clients prefer, by `Accept` and `Prefer`."""

from __future__ import annotations

import pytest

from adapter.errors import MalformedRequest
from api.asking import DEFAULT_WAIT_SECONDS, wait_seconds
from api.elements import joined, preferred

JSON, NPZ = "application/json", "application/x-npz"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("image/png", JSON),
        ("application/*", JSON),
        (NPZ, NPZ),
        ("Application/X-NPZ ; q=0.5", NPZ),
        (f"{NPZ}, */*", NPZ),
        (f"*/*, {NPZ}", NPZ),
        (f"{NPZ}, {JSON}", NPZ),
        (f"{JSON}, {NPZ}", JSON),
        (f"{JSON}, {NPZ};q=0.1", JSON),
        (f"{JSON};q=0.1,{NPZ};v=1;q=0.2", NPZ),
        (f"{NPZ};q=0, */*", JSON),
        (f"{NPZ};q=2, {JSON};q=0.001", JSON),
        (f'text/html;note="{NPZ}, {NPZ}", {JSON};q=0.1', JSON),
        (f"{NPZ}x", JSON),
        (',;="', JSON),
    ],
)
def test_what_is_named_with_the_highest_quality_is_sent(accept: str, wanted: str) -> None:
    assert preferred(accept, JSON, NPZ) == wanted


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, DEFAULT_WAIT_SECONDS),
        ("", DEFAULT_WAIT_SECONDS),
        ("return=minimal", DEFAULT_WAIT_SECONDS),
        ("await=3, x-respond-async", DEFAULT_WAIT_SECONDS),
        ("wait=2.5", 2.5),
        ("wait=3; x=y", 3),
        ('wait="4"', 4),
        ('wait=""', DEFAULT_WAIT_SECONDS),
        ('x="wait=9, respond-async", Wait = 5', 5),
        ("wait=6, wait=7", 6),
        ("respond-async", 0),
        ("Respond-Async; x=y", 0),
        ("respond-async, wait=8", 8),
        ("wait=8, respond-async", 8),
    ],
)
def test_seconds_to_wait(prefer: str | None, seconds: float) -> None:
    assert wait_seconds(prefer) == seconds


@pytest.mark.parametrize("wait", ["soon", "-1", "1e3", "nan", "²", '"1'])
def test_what_is_no_number_of_seconds(wait: str) -> None:
    with pytest.raises(MalformedRequest, match="takes seconds"):
        wait_seconds(f"respond-async, wait={wait}")


def test_several_lines_of_a_list_are_one() -> None:
    """Those of other headers stay as they are, and so does their order."""
    prefer = [(b"prefer", b"respond-async"), (b"prefer", b"wait=3")]
    headers = [prefer[0], (b"host", b"here"), prefer[1], (b"accept", JSON.encode()), (b"host", b"there")]
    found = joined(headers)
    assert [value for name, value in found if name == b"host"] == [b"here", b"there"]
    assert dict(found) | {b"host": b""} == {b"host": b"", b"prefer": b"respond-async, wait=3", b"accept": JSON.encode()}
    assert len(found) == 4
    assert joined(headers[:2]) == headers[:2]
