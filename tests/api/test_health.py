"""`/readyz` says which part is missing, and of no other that it is."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import Mock

import pytest
import redis

from api.routes.health import _checks  # pyright: ignore[reportPrivateUsage]
from api.services import Services


@pytest.mark.parametrize("away", ["records", "weights", "worker"])
def test_each_part_is_asked_by_itself(away: str) -> None:
    services: Any = Mock()
    services.records.room().workers = 0 if away == "worker" else 1
    if away != "worker":
        getattr(services, away).client.ping.side_effect = redis.ConnectionError("nobody there")
    checks = _checks(cast("Services", services))
    assert checks == {name: name != away for name in ("records", "weights", "worker")}
