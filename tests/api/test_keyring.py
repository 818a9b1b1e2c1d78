"""The copy of the keys that requests share."""

from __future__ import annotations

import asyncio
import hashlib
import time
from unittest.mock import Mock

import pytest
import redis

from adapter.config import Settings
from adapter.errors import Unauthorized
from adapter.keys import LOCAL, Key, KeyCopy, KeyStore, keys_of_settings
from api.keyring import Keyring


def test_requests_share_a_look_that_fails() -> None:
    """One after another each would wait as long as all before it together."""

    def away() -> int:
        time.sleep(0.05)
        raise redis.ConnectionError("nobody there")

    store = Mock(spec=KeyStore, changes=Mock(side_effect=away))
    keyring = Keyring(Settings(), store)

    async def ask(n: int) -> list[object]:
        return await asyncio.gather(*(keyring.holder(None) for _ in range(n)), return_exceptions=True)

    found = asyncio.run(ask(20))
    assert [type(one) for one in found] == [redis.ConnectionError] * 20
    assert store.changes.call_count == 1
    with pytest.raises(redis.ConnectionError):
        asyncio.run(keyring.holder(None))
    assert store.changes.call_count == 2, "and the next one looks again"


def test_a_key_with_the_word_of_its_header_is_told_to_come_alone() -> None:
    """What fields for keys are given by whoever copies the header."""
    fixed = f"anna:{hashlib.sha256(b'il_1_x').hexdigest()}"
    store = Mock(spec=KeyStore, changes=Mock(return_value=-1), copy=Mock(return_value=KeyCopy(-1, {})))
    keyring = Keyring(Settings(api_keys=fixed), store)
    assert asyncio.run(keyring.holder("il_1_x")).owner == "anna"
    with pytest.raises(Unauthorized, match="give the key alone"):
        asyncio.run(keyring.holder("Bearer il_1_x"))


def test_what_lasts_goes_on_while_its_key_opens() -> None:
    """Without a key anyone may listen until there is one; those of the environment have no end."""
    text = f"anna:{hashlib.sha256(b'il_1_x').hexdigest()}"
    valid, ended = Key(id="key_1", owner="bert"), Key(id="key_2", owner="bert", revoked_ms=1)

    def opens(key: Key, *there: Key, fixed: str = "") -> bool:
        copy = Mock(return_value=KeyCopy(0, {one.id: one for one in there}))
        store = Mock(spec=KeyStore, changes=Mock(return_value=0), copy=copy)
        return asyncio.run(Keyring(Settings(api_keys=fixed), store).still_opens(key))

    assert opens(LOCAL)
    assert not opens(LOCAL, valid)
    assert not opens(LOCAL, fixed=text)
    assert opens(*keys_of_settings(text), fixed=text)
    assert opens(valid, valid, ended)
    assert not opens(ended, valid, ended)
    assert not opens(valid, ended)
