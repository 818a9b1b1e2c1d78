"""`/v1/meta-models` beside a server: what it costs to be asked again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapter.keys import LOCAL
from api.routes import meta_models
from api.schemas import MetaModelList
from api.services import Services
from meta_models.catalogue import Catalogue


def test_the_list_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    card = meta_models._card

    def counted(*asked: Any) -> Any:
        made.append(asked[-1])
        return card(*asked)

    monkeypatch.setattr(meta_models, "_card", counted)
    s = cast(Services, SimpleNamespace(catalogue=Catalogue()))
    first, second = (asyncio.run(meta_models.list_meta_models(s, LOCAL)) for _ in range(2))
    assert made == [p.manifest.name for p in s.catalogue]
    assert first.body == second.body
    assert [card.name for card in MetaModelList.model_validate_json(first.body).data] == made
