"""What Prometheus reads of this server and of the whole service.

Requests and predictions are this server's own, counted in memory: whoever scrapes several servers adds them up. Several
processes behind one port count together, in the files of prometheus_client's multiprocess mode (`innerloop api` sets it
up), so it does not matter which of them answers. Jobs, models and stores are the service's: read from Redis when they
are asked for, the same at every server. No label has a client's text in it, so the number of series is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest, values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.tally import Memory, Totals

METHODS = {"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"}
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

disable_created_metrics()  # a second series for each, which nobody asks


class Metrics:
    """Of one API process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "innerloop_http_requests",
            "Requests answered, by route and class of status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "innerloop_http_request_seconds",
            "Until the answer begins, waiting for an adaptation included.",
            ["method", "route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._predictions = Counter(
            "innerloop_predictions", "Inputs classified.", ["meta_model"], registry=self._registry
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request began to be answered; `route` is the template that it matched."""
        named = method if method in METHODS else "other"
        self._requests.labels(named, route, f"{status // 100}xx").inc()
        self._seconds.labels(named, route).observe(seconds)

    def predicted(self, meta_model: str, n: int) -> None:
        self._predictions.labels(meta_model).inc(n)

    def page(self, totals: Totals, workers: int, stores: Mapping[str, Memory | None]) -> bytes:
        """All of it in Prometheus' text format; a store that does not answer is None."""
        own = self._registry
        if values.ValueClass is not values.MutexValue:  # each process has files that the others read
            own = CollectorRegistry()
            with suppress(ValueError):  # swept away: the rest is worth knowing all the more
                MultiProcessCollector(own)
        service = CollectorRegistry()
        service.register(_Service(totals, workers, stores))
        return generate_latest(own) + generate_latest(service)


class _Service(Collector):
    """What is the same at every server."""

    def __init__(self, totals: Totals, workers: int, stores: Mapping[str, Memory | None]) -> None:
        self._totals, self._workers, self._stores = totals, workers, stores

    def collect(self) -> Iterator[Metric]:
        totals = self._totals
        jobs = GaugeMetricFamily("innerloop_jobs", "Open jobs by state.", labels=["state"])
        for state, n in totals.jobs.items():
            jobs.add_metric([state], n)
        yield jobs
        yield GaugeMetricFamily(
            "innerloop_queue_depth", "Open jobs, as INNERLOOP_MAX_QUEUED_JOBS bounds them.", sum(totals.jobs.values())
        )
        ended = CounterMetricFamily("innerloop_adaptations", "Adaptations by how they ended.", labels=["status"])
        for status, n in totals.ended.items():
            ended.add_metric([status], n)
        yield ended
        within: list[tuple[str, float]] = []
        so_far = 0
        for bound, n in totals.within.items():
            so_far += n
            within.append(("+Inf" if bound == float("inf") else f"{bound:g}", so_far))
        yield HistogramMetricFamily(
            "innerloop_adaptation_seconds",
            "Adapting until ready, without waiting in the queue.",
            within,
            totals.adapt_seconds,
        )
        yield CounterMetricFamily("innerloop_restorations", "Evicted weights that were adapted again.", totals.restored)
        yield GaugeMetricFamily("innerloop_models", "Models kept, of all owners.", totals.models)
        yield GaugeMetricFamily("innerloop_support_bytes", "Of their support sets, all versions.", totals.support_bytes)
        yield GaugeMetricFamily("innerloop_workers", "Adapting processes that live.", self._workers)
        yield from self._redis()

    def _redis(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("innerloop_redis_up", "Whether the store answers.", labels=["role"])
        used = GaugeMetricFamily("innerloop_redis_memory_bytes", "Memory in use.", labels=["role"])
        limit = GaugeMetricFamily("innerloop_redis_memory_limit_bytes", "Its limit; 0: none.", labels=["role"])
        evicted = CounterMetricFamily("innerloop_redis_evicted_keys", "Keys that had to make room.", labels=["role"])
        for role, memory in self._stores.items():
            up.add_metric([role], memory is not None)
            if memory is not None:
                used.add_metric([role], memory.used)
                limit.add_metric([role], memory.limit)
                evicted.add_metric([role], memory.evicted)
        yield from (up, used, limit, evicted)


class Measured:
    """Around everything else: counts requests and how long they take."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, method, answered = time.perf_counter(), scope["method"], False

        def note(status: int) -> None:
            nonlocal answered
            answered = True
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.answered(method, route, status, time.perf_counter() - began)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if not answered:  # whoever catches it answers 500
                note(500)
            raise
