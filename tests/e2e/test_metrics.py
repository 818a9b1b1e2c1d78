"""`/metrics`: what it counts, that several processes count together, and who may read it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapter.config import Settings
from adapter.tally import BOUNDS, OUTCOMES, Totals
from api.metrics import Metrics
from innerloop.embedded import Embedded
from tests.asking import adapt, assert_problem, drawn, predict
from tests.drawings import inputs_json, png, support_json
from tests.e2e.test_keys import command, holder

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"

TOTALS = Totals(dict.fromkeys(OUTCOMES, 0), dict.fromkeys(BOUNDS, 0), 0, 0, {"queued": 0, "running": 0}, 0, 0)

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(http: httpx.Client) -> Series:
    """Every series by name and labels."""
    answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    return series.get((name, frozenset(labels.items())), 0)


def test_what_is_done_is_counted(http: httpx.Client) -> None:
    before = scrape(http)
    model = adapt(http, drawn(2, 1, first=8500), meta_model="omniglot-protonet")["id"]
    predict(http, model, [png(8500, 9)] * 3)
    http.post("/v1/classify", json={"support": support_json(2, 1), "inputs": inputs_json([0, 1])})
    http.get("/v1/models/mdl_none")
    http.head("/healthz")
    after = scrape(http)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    route = "/v1/models/{model_id}"
    asked, seconds = "innerloop_http_requests_total", "innerloop_http_request_seconds"
    assert more(asked, method="POST", route=f"{route}/predictions", status="2xx") == 1
    assert more(asked, method="GET", route=route, status="4xx") == 1
    assert more(asked, method="HEAD", route="/healthz", status="2xx") == 1
    assert more(f"{seconds}_count", method="POST", route="/v1/classify") == 1
    assert 0 < more(f"{seconds}_sum", method="POST", route="/v1/classify") < 60
    assert more("innerloop_predictions_total", meta_model="omniglot-protonet@1") == 3
    assert more("innerloop_adaptations_total", status="ready") == 2
    assert more("innerloop_adaptation_seconds_count") == 2
    assert 0 < more("innerloop_adaptation_seconds_sum") < 60
    assert more("innerloop_models") == 1
    assert more("innerloop_support_bytes") > 0
    assert value(after, "innerloop_workers") == 1
    assert value(after, "innerloop_jobs", state="queued") == value(after, "innerloop_queue_depth") == 0
    for role in ("records", "weights"):
        assert value(after, "innerloop_redis_up", role=role) == 1
        assert value(after, "innerloop_redis_memory_bytes", role=role) > 0
    assert value(after, "innerloop_redis_memory_limit_bytes", role="weights") == 512 * 2**20


def test_what_is_refused_before_it_is_a_request_is_counted(server: Embedded, http: httpx.Client) -> None:
    refused = "innerloop_http_requests_total"
    before = scrape(http)
    for sent in (b"nonsense\r\n\r\n", b"GET /%b HTTP/1.1\r\n" % (b"x" * 10_000)):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as asking:
            asking.sendall(sent)
            assert asking.recv(64).startswith(b"HTTP/1.1 4")
    after = scrape(http)
    for method in ("other", "GET"):
        named = {"method": method, "route": "none", "status": "4xx"}
        assert value(after, refused, **named) - value(before, refused, **named) == 1


def test_no_label_comes_from_a_client(http: httpx.Client) -> None:
    http.get("/v1/models/mdl_somebody/events")
    http.get("/strange/path?strange=query")
    http.request("PROPFIND", "/v1/models")
    http.post("/v1/models", content=b"strange", headers={"Content-Encoding": "strange"})
    series = scrape(http)
    labels = {label for _, pairs in series for _, label in pairs}
    assert not [label for label in labels if "strange" in label or "somebody" in label]
    assert value(series, "innerloop_http_requests_total", method="GET", route="none", status="4xx") >= 1
    assert value(series, "innerloop_http_requests_total", method="other", route="/v1/models", status="4xx") >= 1


def test_every_metric_is_documented(http: httpx.Client) -> None:
    families = {family.name for family in text_string_to_metric_families(http.get("/metrics").text)}
    assert len(families) > 12
    page = PAGE.read_text()
    assert not [name for name in families if f"`{name}" not in page]


def test_a_cache_that_does_not_answer_is_a_figure_too() -> None:
    page = Metrics().page(TOTALS, 1, {"weights": None}).decode()
    assert 'innerloop_redis_up{role="weights"} 0.0' in page
    assert "memory_bytes{" not in page


def test_files_that_were_swept_away_take_no_figure_of_the_service_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prometheus_client.values.ValueClass", object)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "gone"))
    assert "innerloop_workers 1.0" in Metrics().page(TOTALS, 1, {}).decode()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A service of two API processes behind one port."""
    with Embedded(Settings(port=0, data_dir=tmp_path_factory.mktemp("metrics"), api_processes=2)) as running:
        yield running


def test_only_an_operator_reads_them(guarded: Embedded) -> None:
    keys = {scope: command(guarded.data, "create", "anna", "--scope", scope) for scope in ("adapt", "admin")}
    with holder(guarded, None) as stranger, holder(guarded, keys["adapt"]["key"]) as anna:
        assert_problem(stranger.get("/metrics"), 401, "unauthorized")
        assert "admin" in assert_problem(anna.get("/metrics"), 403, "forbidden")["detail"]
        assert stranger.get("/healthz").status_code == 200
    with holder(guarded, keys["admin"]["key"]) as operator:
        assert value(scrape(operator), "innerloop_workers") == 1


def test_processes_behind_one_port_count_together(guarded: Embedded) -> None:
    key = command(guarded.data, "create", "anna", "--scope", "admin")["key"]
    counted = {"method": "GET", "route": "/v1/limits", "status": "2xx"}
    with holder(guarded, key) as operator:
        before = value(scrape(operator), "innerloop_http_requests_total", **counted)
        for _ in range(20):  # a connection each: both processes get some
            assert operator.get("/v1/limits").status_code == 200
        found = [value(scrape(operator), "innerloop_http_requests_total", **counted) - before for _ in range(6)]
    assert found == [20] * 6
    assert [*guarded.data.glob("innerloop-metrics-*/counter_*.db")], "elsewhere they would be swept away in time"
