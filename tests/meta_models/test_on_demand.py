"""Published meta-models are opened once, when they are asked for; those that aliases name at once."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from meta_models.catalogue import ZOO, Catalogue, Published
from meta_models.inputs import VectorSpec
from meta_models.manifest import HEAD_FILE, MANIFEST_FILE
from meta_models.on_demand import OnDemand


def test_opens_what_is_asked_for_once() -> None:
    catalogue, opened = Catalogue(), list[str]()

    def load(published: Published) -> str:
        opened.append(published.manifest.reference)
        return published.manifest.name

    found = OnDemand(catalogue, load)
    defaults = {catalogue.resolve(name).manifest.reference for name in catalogue.aliases.values()}
    assert set(opened) == defaults
    assert set(found) == {p.manifest.reference for p in catalogue}
    other = next(reference for reference in found if reference not in defaults)
    assert other in found
    assert len(opened) == len(defaults)
    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(found.__getitem__, [other] * 8))
    assert names == {other.split("@")[0]}
    assert opened.count(other) == 1
    assert found.get("nothing@1") is None
    assert "nothing@1" not in found
    with pytest.raises(KeyError):
        found["nothing@1"]


def test_another_in_its_folder_is_not_opened_under_its_name(tmp_path: Path) -> None:
    own = tmp_path / "mine"
    shutil.copytree(ZOO / "vector-ridge", own)
    manifest = json.loads((own / MANIFEST_FILE).read_text())
    (own / MANIFEST_FILE).write_text(json.dumps({**manifest, "name": "mine"}))
    catalogue = Catalogue(tmp_path)
    reference, found = catalogue.resolve("mine").manifest.reference, OnDemand(catalogue, lambda p: p.manifest.name)
    assert reference in found
    with (own / HEAD_FILE).open("ab") as head:
        head.write(b"x")
    with pytest.raises(KeyError):
        found[reference]
    assert found.get(reference) is None
    assert reference not in found


def test_those_that_read_the_same_are_ranked() -> None:
    catalogue = Catalogue()
    ranked = catalogue.ranked(VectorSpec())
    assert ranked[0].name == catalogue.aliases["vector"]
    scores = [manifest.training.development_accuracy or 0.0 for manifest in ranked]
    assert scores == sorted(scores, reverse=True)
    assert {manifest.input.kind for manifest in ranked} == {"vector"}
