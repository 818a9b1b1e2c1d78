"""Changes of one model within one process: one after another, and none waits for ever."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock, Mock
from weakref import WeakValueDictionary

import pytest

from adapter.errors import NotReady
from adapter.keys import LOCAL
from api import growing
from api.services import Services


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setattr(growing, "TURN_SECONDS", 0.05)
    monkeypatch.setattr(growing, "FIRST_PAUSE", 0.0)
    return Mock(spec=Services, turns=WeakValueDictionary())


def changed(services: Services) -> object:
    return asyncio.run(growing.grow(services, LOCAL, "mdl_1", "class_removed", lambda support: support, None))


def test_a_change_waits_for_those_of_its_model_alone_and_not_for_ever(services: Services) -> None:
    async def ask() -> None:
        async with growing._turn(services, LOCAL, "mdl_1"):
            async with growing._turn(services, LOCAL, "mdl_2"):
                pass
            with pytest.raises(NotReady) as told:
                async with growing._turn(services, LOCAL, "mdl_1"):
                    pass
            assert told.value.retry_after
        async with growing._turn(services, LOCAL, "mdl_1"):
            pass

    asyncio.run(ask())


def test_a_change_that_others_are_always_faster_than_is_given_up(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Mock()
    tried = AsyncMock(side_effect=[None, None, made])
    monkeypatch.setattr(growing, "_tried", tried)
    assert changed(services) is made
    tried.side_effect = None
    tried.return_value = None
    with pytest.raises(NotReady):
        changed(services)
    assert not services.turns
