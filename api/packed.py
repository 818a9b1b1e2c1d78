"""MessagePack bodies: JSON's shapes, with bytes where JSON has base64."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (msgpack has no types)

from __future__ import annotations

from itertools import count
from typing import NoReturn, TypeVar, cast

import msgpack

from adapter.errors import MalformedRequest, TooLarge
from api.schemas_requests import MAX_COLLECTIONS, MAX_ITEMS

MEDIA_TYPES = ("application/msgpack", "application/vnd.msgpack", "application/x-msgpack")

Collection = TypeVar("Collection")


def unpack(data: bytes) -> object:
    """One MessagePack value; extension types, timestamps too, are refused.

    Raises:
        MalformedRequest: it is none, or more than one.
        TooLarge: an array or map has too many items, or there are too many of them.
    """
    collections = count(1)

    def counted(collection: Collection) -> Collection:
        if next(collections) > MAX_COLLECTIONS:
            raise TooLarge(f"the body has more than {MAX_COLLECTIONS} arrays and maps", code="body_too_large")
        return collection

    most = min(len(data), MAX_ITEMS)  # memory for them is taken before they are read
    try:
        return cast(
            "object",
            msgpack.unpackb(
                data,
                max_array_len=most,
                max_map_len=most,
                max_ext_len=0,
                ext_hook=_refuse,
                strict_map_key=True,
                list_hook=counted,
                object_hook=counted,
            ),
        )
    except ValueError as error:  # msgpack's own are its children
        detail = str(error) or type(error).__name__
        if len(data) > MAX_ITEMS and ("max_array_len" in detail or "max_map_len" in detail):
            raise TooLarge(f"an array or map has more than {MAX_ITEMS} items", code="body_too_large") from error
        if "max_ext_len" in detail:
            detail = "extension types are not accepted"
        raise MalformedRequest(f"the body is not MessagePack: {detail}", code="invalid_msgpack") from error


def _refuse(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension types are not accepted, found type {code}")
