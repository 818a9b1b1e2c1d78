"""What schemathesis cannot guess: which strings are files. It loads this by the name in SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import base64
import io
import math
import re
import zipfile

import msgpack
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext, Response, SerializationContext
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.transport.serialization import Binary

from api.asking import ETAGS
from tests.drawings import blank, bomb, png
from tests.photos import jpeg
from tests.sounds import silence, wav

_DRAWN = [png(kind, example, size=28) for kind in range(6) for example in range(2)]
_SEEN = [jpeg(kind, example, (40, 30)) for kind in range(3) for example in range(2)]
_HEARD = [wav(kind, example) for kind in range(3) for example in range(2)]


def _archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, drawing in enumerate(_DRAWN[:4]):
            archive.writestr(f"class {i // 2}/{i}.png", drawing)
    return file.getvalue()


# Mostly drawings, so that requests get as far as a model; the rest is what clients send by mistake or malice.
_FILES = st.one_of(
    st.sampled_from(_DRAWN),
    st.sampled_from(_DRAWN),
    st.sampled_from([_archive(), blank(), bomb(), _DRAWN[0][:40]]),
    st.sampled_from([*_SEEN, _SEEN[0][:300]]),
    st.sampled_from([*_HEARD, silence(), _HEARD[0][:40]]),
    st.binary(),
)

schemathesis.openapi.format("byte", _FILES.map(lambda data: base64.b64encode(data).decode()))
schemathesis.openapi.format("binary", _FILES.map(Binary))


@schemathesis.serializer("application/msgpack")
def pack(context: SerializationContext, value: object) -> bytes:
    """As clients do: bytes where JSON has base64."""
    return msgpack.packb(_unbase64(value), unicode_errors="surrogatepass")


def _unbase64(value: object) -> object:
    if isinstance(value, dict):
        return {k: _decoded(v) if k in ("image", "audio") else _unbase64(v) for k, v in value.items()}
    if isinstance(value, int) and not -(2**63) <= value < 2**64:  # MessagePack has no greater ones
        return math.copysign(math.inf, value)
    return [_unbase64(v) for v in value] if isinstance(value, list) else value


def _decoded(value: object) -> object:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value
    except ValueError:
        return value


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """The coverage phase fills If-Match, whose pattern it cannot meet, with rubbish, and calls the request valid.

    A form has no other values than texts: an object in place of a list of inputs arrives as one field, which is a text
    and is answered as one. An input that nobody can read is refused in its place, among the others' answers.
    """
    sent = case.headers.get("if-match")
    if isinstance(failure, RejectedPositiveData) and sent is not None and not re.fullmatch(ETAGS, sent):
        return False
    form = case.body if case.media_type == "multipart/form-data" and isinstance(case.body, dict) else {}
    if not isinstance(failure, AcceptedNegativeData):
        return True
    return isinstance(form.get("inputs", []), list) and not _refused_in_place(response)


def _refused_in_place(response: Response) -> bool:
    """Whether the answer has an error in an input's place."""
    if response.headers.get("content-type") != ["application/json"]:
        return False
    answer = response.json()
    return bool(answer.get("unreadable")) or any("error" in result for result in answer.get("results", ()))
