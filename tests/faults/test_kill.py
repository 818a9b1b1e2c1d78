"""Promise 4, accepted is kept: kill -9 of any process loses nothing. `make faults` does the same many times."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from adapter.admission import REMEMBERED_SECONDS
from adapter.config import Settings
from innerloop.embedded import Embedded
from tests.asking import assert_problem
from tests.drawings import inputs_json, support_json
from tests.faults.victim import Victim, children, quick, slow, until


def test_worker_killed_while_adapting(victim: Victim) -> None:
    model_id = victim.adapt_later(slow(1))
    until(lambda: victim.status(model_id) == "adapting")
    victim.kill("worker")
    victim.all_ready([model_id])


def test_worker_killed_while_adapting_a_version(victim: Victim) -> None:
    model_id = victim.adapt_later({**slow(4), "support": quick(60)["support"]})
    victim.all_ready([model_id])
    path = f"/v1/models/{model_id}"
    body = {"examples": support_json(4, 4, first=60_000)}
    grown = victim.http.post(f"{path}/examples", json=body, headers={"Prefer": "respond-async"})
    assert grown.status_code == 202, grown.text
    victim.kill("worker")
    victim.kill("redis-records")
    until(lambda: victim.http.get(f"{path}/versions/2").json().get("status") == "ready")
    assert victim.http.get(path).json()["version"] == 2


def test_redis_killed_with_queued_jobs(victim: Victim) -> None:
    ids = [victim.adapt_later(slow(2)), *(victim.adapt_later(quick(seed)) for seed in range(20))]
    assert "queued" in [victim.status(i) for i in ids]
    victim.kill("redis-records")
    victim.all_ready(ids)


@pytest.mark.parametrize("round_", range(3))
def test_redis_killed_as_soon_as_a_job_is_done(victim: Victim, round_: int) -> None:
    answer = victim.http.post("/v1/models", json=quick(60 + 2 * round_))
    assert answer.status_code == 201, answer.text
    victim.kill("redis-records")  # the worker is about to ask for the next message
    victim.all_ready([victim.adapt_later(quick(61 + 2 * round_))])


@pytest.mark.faults
def test_ready_after_an_outage_means_that_jobs_are_taken(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innerloop.embedded.RESTARTS", 100)
    records = victim.part("redis-records")
    assert records.process is not None
    logs = records.log.parent.rename(records.log.parent.with_name("logs.old"))
    records.log.parent.touch()  # in the way of the folder: it cannot be started
    try:
        records.process.kill()
        time.sleep(7)
    finally:
        records.log.parent.unlink()
        logs.rename(records.log.parent)
    until(lambda: victim.http.get("/readyz").status_code == 200)
    began = time.monotonic()
    assert victim.http.post("/v1/models", json=quick(92)).status_code == 201
    assert time.monotonic() - began < 4


def test_api_killed_with_queued_jobs(victim: Victim) -> None:
    ids = [victim.adapt_later(slow(3)), *(victim.adapt_later(quick(seed)) for seed in range(5))]
    victim.kill("api")
    victim.all_ready(ids)


def test_evicted_weights_are_adapted_again_once(victim: Victim) -> None:
    model = victim.http.post("/v1/models", json=quick(50)).json()
    path, body = f"/v1/models/{model['id']}/predictions", {"inputs": inputs_json([10_500, 10_501])}
    before = victim.http.post(path, json=body).json()["results"]
    victim.kill("redis-weights")
    victim.kill("api")  # its cache of adapted tensors goes too
    until(lambda: victim.status(model["id"]) == "ready")

    def ask(_: int) -> list[object]:
        answer = victim.http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert answers == [before] * 20
    writes = victim.store("weights").info("commandstats")["cmdstat_set"]["calls"]
    assert writes == 1


def test_evicted_weights_and_no_worker_are_told_at_once(server: Embedded, http: httpx.Client) -> None:
    victim = Victim(server, http)
    model_id = http.post("/v1/models", json=quick(80)).json()["id"]  # not asked yet, so in no cache
    worker, records = victim.part("worker").process, victim.store("records")
    assert worker is not None
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        records.delete(*records.keys("il:worker:*"))  # as when its last beat is long ago
        victim.store("weights").flushall()
        time.sleep(REMEMBERED_SECONDS)
        began = time.monotonic()
        answer = http.post(f"/v1/models/{model_id}/predictions", json={"inputs": inputs_json([10_800])})
        assert_problem(answer, 503, "no_worker")
        assert time.monotonic() - began < 5
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    until(lambda: http.get("/readyz").status_code == 200)
    assert http.post(f"/v1/models/{model_id}/predictions", json={"inputs": inputs_json([10_800])}).status_code == 200


def test_evicted_weights_that_a_measuring_worker_puts_back_are_not_waited_for_in_vain(
    server: Embedded, http: httpx.Client
) -> None:
    victim = Victim(server, http)
    records, weights = victim.store("records"), victim.store("weights")
    weights.flushall()
    model_id = http.post("/v1/models", json=quick(81)).json()["id"]
    [(name, kept)] = [(name, weights.get(name)) for name in weights.keys("il:*:weights:*")]
    weights.delete(name)
    records.hset(f"il:local:model:{model_id}", "job", "running")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = {"inputs": inputs_json([10_810])}
        waiting = pool.submit(http.post, f"/v1/models/{model_id}/predictions", json=asked)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        weights.set(name, kept)
        assert waiting.result(10).status_code == 200
    http.delete(f"/v1/models/{model_id}")


@pytest.mark.faults
def test_one_of_two_processes_of_a_worker_killed(tmp_path: Path) -> None:
    """Each takes a job of its own, and none more than it can do: what one leaves behind the other does."""
    settings = Settings(port=0, data_dir=tmp_path, worker_processes=2)
    with Embedded(settings) as running, httpx.Client(base_url=running.url, timeout=90) as http:
        victim = Victim(running, http)
        ids = [*(victim.adapt_later(slow(n)) for n in (5, 6)), *(victim.adapt_later(quick(70 + n)) for n in range(10))]
        until(lambda: [victim.status(i) for i in ids[:2]] == ["adapting"] * 2)
        worker = victim.part("worker").process
        assert worker is not None
        os.kill(children(worker.pid)[0], signal.SIGKILL)
        victim.all_ready(ids)


@pytest.mark.faults
@pytest.mark.parametrize("round_", range(10))
@pytest.mark.parametrize("part", ["worker", "redis-records", "redis-weights", "api"])
def test_campaign(victim: Victim, part: str, round_: int) -> None:
    """Each part killed ten times under load; nothing accepted is lost, nothing runs twice to another result."""
    ids = [victim.adapt_later(slow(100 + round_)), *(victim.adapt_later(quick(100 * round_ + s)) for s in range(10))]
    victim.kill(part)
    ids += [victim.adapt_later(quick(5000 + 100 * round_ + s)) for s in range(3)] if part != "api" else []
    victim.all_ready(ids)
