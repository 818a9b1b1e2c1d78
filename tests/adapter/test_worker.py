"""A worker's own decisions, without Celery around them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from celery.signals import (
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from adapter import support_set
from adapter.adapt import adapt
from adapter.celery_worker import make_app
from adapter.config import Settings
from adapter.errors import StoreFull
from adapter.measure import cross_validate
from adapter.models import Adaptation, ClassCount, ModelSpec
from adapter.notice import Notice
from adapter.quality import Quality
from adapter.store import Arrays, Records
from adapter.worker import Worker
from meta_models.catalogue import Catalogue
from meta_models.inputs import Caps, DrawingSpec, PhotoSpec
from tests.faults.victim import until
from tests.photos import INKS, inked


def test_a_worker_starts_without_the_compiler_of_torch() -> None:
    """It would be a third of the time; to load what every worker opens, and adapt once with each, needs none of it."""
    code = (
        "import sys; from functools import partial; from adapter.loading import load; "
        "from meta_models.catalogue import Catalogue; from meta_models.on_demand import OnDemand; "
        "OnDemand(Catalogue(), partial(load, device='cpu')); "
        "print(sorted({'torch._dynamo', 'sympy'} & {*sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_worker_without_the_gpu_that_it_was_given_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for signal in (worker_process_init, worker_process_shutdown, worker_ready, worker_shutdown, worker_shutting_down):
        monkeypatch.setattr(signal, "receivers", [])
    notice = Notice()
    make_app(Settings(redis_url="redis://127.0.0.1:1/0", device="cuda:99"), notice)
    assert not notice.failed
    with pytest.raises(SystemExit):
        worker_process_init.send(sender=None)
    assert notice.failed
    assert "INNERLOOP_DEVICE is cuda:99, and torch sees" in caplog.text


def test_a_worker_computes_on_as_many_threads_as_it_is_told(redis_url: str) -> None:
    before = torch.get_num_threads()
    try:
        Worker(Settings(redis_url=redis_url, device="cpu", worker_threads=before + 1))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def queued(records: Records, inner_steps: int = 1, n_shot: int = 1) -> str:
    """The job of a new model of two classes."""
    manifest = Catalogue().resolve("vector").manifest
    support = support_set.canonical(n_shot * ["a", "b"], np.eye(2 * n_shot, 8, dtype=np.float32))
    classes = tuple(ClassCount(name=name, examples=n_shot) for name in support.classes)
    spec = ModelSpec(
        meta_model=manifest.reference,
        modality="vector",
        classes=classes,
        adaptation=Adaptation(inner_steps=inner_steps, inner_lr=0.1),
        digest=f"sha256:{inner_steps}",
        weights="w" if inner_steps == 1 else f"w{inner_steps}",
    )
    return f"anna/{records.create('anna', spec, support_set.encode(support), 100).id}"


@pytest.fixture
def job(records: Records) -> str:
    return queued(records)


def test_a_model_deleted_while_it_is_adapted_leaves_nothing(
    records: Records, redis_url: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(Settings(redis_url=redis_url, device="cpu"))

    def adapt_and_delete(*given: Any, **settings: Any) -> Arrays:
        adapted = adapt(*given, **settings)
        records.delete("anna", job.split("/")[1])
        return adapted

    monkeypatch.setattr(worker, "_adapt", adapt_and_delete)
    assert not worker.run(job)
    assert not records.client.keys("il:anna:weights:*")


def test_weights_that_are_evicted_while_the_model_is_measured_are_put_back(
    records: Records, redis_url: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(Settings(redis_url=redis_url, device="cpu"))
    monkeypatch.setattr("adapter.worker.KEEP_SECONDS", 0.02)
    monkeypatch.setattr("adapter.measure.leave_one_out", Mock(return_value=None))

    def evicted(*given: Any) -> Quality:
        worker.weights.delete("anna", ["w"])
        until(lambda: worker.weights.has("anna", "w"))
        return cross_validate(*given)

    monkeypatch.setattr("adapter.measure.cross_validate", evicted)
    assert worker.run(job)
    assert records.get("anna", job.split("/")[1]).status == "ready"


def test_weights_that_do_not_answer_are_no_attempt_at_a_job(
    records: Records, redis_url: str, job: str, tmp_path: Path
) -> None:
    """However long: three workers would otherwise seem to have died on it."""
    away = Worker(Settings(redis_url=redis_url, weights_redis_url=f"unix://{tmp_path / 'nobody'}", device="cpu"))
    for _ in range(2):
        assert not away.run(job)
        assert records.client.hget(f"il:anna:model:{job.split('/')[1]}", "attempt") == b"0"
    assert records.get("anna", job.split("/")[1]).status == "adapting"
    assert Worker(Settings(redis_url=redis_url, device="cpu")).run(job)
    assert records.get("anna", job.split("/")[1]).status == "ready"


def test_weights_that_are_refused_are_no_attempt_at_a_job(records: Records, redis_url: str, job: str) -> None:
    """Where their Redis is full and may not evict; one that follows another refuses them in the same way."""
    worker = Worker(Settings(redis_url=redis_url, device="cpu", max_attempts=1))
    records.client.config_set("maxmemory", 1)
    try:
        assert not worker.run(job)
    finally:
        records.client.config_set("maxmemory", 0)
    record = records.get("anna", job.split("/")[1])
    assert (record.status, record.job) == ("adapting", "queued")
    assert worker.run(job)


def test_a_full_store_is_no_attempt_at_a_job(
    records: Records, redis_url: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(Settings(redis_url=redis_url, device="cpu", max_attempts=1))
    full = Mock(side_effect=StoreFull("full"))
    monkeypatch.setattr(worker, "_do", full)
    assert not worker.run(job)
    assert records.client.hget(f"il:anna:model:{job.split('/')[1]}", "attempt") == b"0"
    monkeypatch.setattr(worker.records, "postpone", full)
    assert not worker.run(job)
    assert full.call_count == 3
    assert records.get("anna", job.split("/")[1]).status == "adapting"


def test_an_error_that_comes_again_is_told_after_as_many_attempts_as_the_settings_say(
    records: Records, redis_url: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(Settings(redis_url=redis_url, device="cpu", max_attempts=1))
    monkeypatch.setattr(worker, "_adapt", Mock(side_effect=RuntimeError("no memory")))
    worker.run(job)
    error = records.get("anna", job.split("/")[1]).error
    assert error is not None
    assert (error.code, error.detail) == ("adaptation_failed", "RuntimeError: no memory")


def test_an_adapted_model_has_its_weights(records: Records, redis_url: str, job: str) -> None:
    worker = Worker(Settings(redis_url=redis_url, device="cpu"))
    assert worker.run(job)
    assert records.get("anna", job.split("/")[1]).status == "ready"
    assert records.client.keys("il:anna:weights:*") == [b"il:anna:weights:w"]
    assert not worker.run(job), "a second message"


def test_tensors_of_other_files_are_adapted_again(records: Records, redis_url: str, job: str) -> None:
    """The meta-model's folder was replaced, and the weights store outlived that."""
    worker = Worker(Settings(redis_url=redis_url, device="cpu"))
    files = Catalogue().resolve("vector").manifest.files_digest
    assert worker.run(job)
    adapted = worker.weights.get("anna", "w", files)
    assert adapted is not None
    others = {name: np.zeros_like(tensor) for name, tensor in adapted.items()}
    worker.weights.put("anna", "w", others, 60_000, "other files")
    assert records.request_restore(records.get("anna", job.split("/")[1]))
    assert worker.run(job)
    again = worker.weights.get("anna", "w", files)
    assert again is not None
    assert all(np.array_equal(again[name], tensor) for name, tensor in adapted.items())


def test_a_choice_among_one_kind_leaves_the_support_set_as_it_is(
    records: Records, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read once, it is what every candidate reads: nothing to write."""
    rows = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    support = support_set.canonical([f"class {y}" for y in np.arange(12) % 2], rows)
    candidates = tuple(Catalogue().resolve(name).manifest.reference for name in ("vector-prototype", "vector-ridge"))
    spec = ModelSpec(
        meta_model=candidates[0],
        modality="vector",
        input_shape=(5,),
        classes=tuple(ClassCount(name=name, examples=6) for name in support.classes),
        adaptation=Adaptation(),
        digest="sha256:3",
        weights="w",
        candidates=candidates,
    )
    model = records.create("anna", spec, support_set.encode(support), 100).id
    before = records.support("anna", model), records.client.hgetall("il:anna:sizes")

    def encode(_: object) -> bytes:
        raise AssertionError("encoded again")

    monkeypatch.setattr(support_set, "encode", encode)
    worker = Worker(Settings(redis_url=redis_url, device="cpu"))
    assert worker.run(f"anna/{model}")
    record = records.get("anna", model)
    assert record.status == "ready"
    assert record.spec.selection is not None
    assert (records.support("anna", model), records.client.hgetall("il:anna:sizes")) == before
    worker.weights.delete("anna", [record.spec.weights])
    assert records.request_restore(record)
    monkeypatch.setattr(worker, "_choose", Mock(side_effect=AssertionError("chosen again")))
    assert worker.run(f"anna/{model}")
    assert records.get("anna", model).spec == record.spec


def test_a_choice_of_another_kind_takes_the_support_set_along(records: Records, redis_url: str) -> None:
    """What is stored is what the chosen one reads, for as long as before, and counted at its new size."""
    files = [(ink, inked(ink, i)) for i in range(8) for ink in INKS]
    drawn, seen = (np.stack([spec.read(f, Caps()) for _, f in files]) for spec in (DrawingSpec(), PhotoSpec()))
    support = support_set.canonical([ink for ink, _ in files], drawn, other=seen)
    catalogue = Catalogue()
    candidates = tuple(catalogue.resolve(name).manifest.reference for name in ("omniglot-protonet", "photo"))
    spec = ModelSpec(
        meta_model=candidates[0],
        modality="image",
        input_shape=drawn.shape[1:],
        classes=tuple(ClassCount(name=name, examples=8) for name in support.classes),
        adaptation=Adaptation(),
        digest="sha256:2",
        weights="w",
        candidates=candidates,
    )
    model = records.create("anna", spec, support_set.encode(support), 100).id
    assert Worker(Settings(redis_url=redis_url, device="cpu")).run(f"anna/{model}")
    record = records.get("anna", model)
    assert (record.status, record.spec.meta_model) == ("ready", candidates[1])
    stored = records.support("anna", model)
    assert stored is not None
    kept = support_set.decode(stored)
    assert kept.other is None
    assert kept.inputs.shape[1:] == record.spec.input_shape == PhotoSpec().shape
    assert [c.name for c in record.spec.classes] == list(kept.classes)
    sizes = records.client.hgetall("il:anna:sizes")
    assert sizes == {model.encode(): str(len(stored)).encode(), b"total": str(len(stored)).encode()}
    assert 0 < records.client.ttl(f"il:anna:support:{model}") <= 100


def test_a_meta_model_of_other_workers_is_left_to_them(
    records: Records, redis_url: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade goes from process to process: this one has not been told yet."""
    behind = Worker(Settings(redis_url=redis_url, device="cpu"))
    monkeypatch.setattr(behind, "_paths", {})
    for _ in range(4):
        assert not behind.run(job)
    assert Worker(Settings(redis_url=redis_url, device="cpu")).run(job)
    assert records.get("anna", job.split("/")[1]).status == "ready"


def test_a_meta_model_that_no_worker_has_fails_the_model_in_the_end(
    records: Records, redis_url: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = Worker(Settings(redis_url=redis_url, device="cpu"))
    monkeypatch.setattr(behind, "_paths", {})
    monkeypatch.setattr("adapter.worker.ELSEWHERE_MS", 0)
    behind.run(job)
    record = records.get("anna", job.split("/")[1])
    assert record.error is not None
    assert (record.status, record.error.code) == ("failed", "meta_model_gone")
