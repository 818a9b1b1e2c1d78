"""What every request works with, made once a process: stores, queue, catalogue, predictor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from fastapi import Request

from adapter.config import Settings
from adapter.deliverer import Deliverer
from adapter.keys import KeyStore
from adapter.outbound import Reach
from adapter.predictor import Predictor, WeightsCache
from adapter.queue import Publisher
from adapter.reaper import Reaper
from adapter.store import Records, Weights, connect
from adapter.usage import UsageStore
from adapter.webhooks import Messages
from api.decode import Decoder
from api.keyring import Keyring
from api.meter import Meter
from api.metrics import Metrics
from api.rate import RateLimiter
from api.readiness import Readiness
from api.store_threads import StoreThreads
from api.streams import Streams
from api.waiter import Waiter
from meta_models.catalogue import Catalogue
from meta_models.threads import cores

P = ParamSpec("P")
T = TypeVar("T")


class Services:
    """Shared by all requests of one API process."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.catalogue = Catalogue(settings.meta_models_dir)
        self.records = Records(connect(settings.records_url), settings)
        self.keyring = Keyring(settings, KeyStore(self.records.client))
        self.usage = UsageStore(self.records.client)
        self.meter = Meter(self.usage, metrics)
        self.weights = Weights(connect(settings.weights_url))
        self.publisher = Publisher(settings.records_url)
        self.predictor = Predictor(self.catalogue)
        self.cache = WeightsCache(settings.cache_mb * 2**20)
        self.decoder = Decoder(settings)
        self.readiness = Readiness(settings)
        self.rate = RateLimiter(settings.records_url)
        self.waiter = Waiter(settings.records_url)
        self.streams = Streams(settings.records_url)
        self.turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of changes, by owner and model
        # Redis calls are short, but for those to a server that does not answer: nobody waits behind the other one's.
        # Arithmetic is bounded by the cores so that requests queue here, not there.
        self._store_threads, self._weights_threads = StoreThreads("store"), StoreThreads("weights")
        self._compute_pool = ThreadPoolExecutor(cores(), thread_name_prefix="compute")
        self._reaper = Reaper(self.records, self.publisher)
        self.reach = Reach(settings.webhook_networks)
        self._deliverer = Deliverer(Messages(self.records.client, settings), self.reach)

    async def start(self) -> None:
        self.waiter.start()
        self.meter.start()
        self._reaper.start()
        self._deliverer.start()

    def let_go(self) -> None:
        """The server is told to stop: whoever waits is answered now, with what there is."""
        self.waiter.let_go()
        self.streams.let_go()

    async def stop(self) -> None:
        await self.waiter.stop()
        await self.meter.stop()
        await self.streams.close()
        await self.rate.close()
        self._reaper.stop()
        self._deliverer.stop()
        self.publisher.close()
        self._store_threads.shutdown()
        self._weights_threads.shutdown()
        self.readiness.close()
        self._compute_pool.shutdown()
        self.decoder.close()

    async def in_store(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call to the Redis of records off the event loop."""
        return await self._store_threads.run(lambda: call(*args, **kwargs))

    async def in_weights(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call to the Redis of weights off the event loop."""
        return await self._weights_threads.run(lambda: call(*args, **kwargs))

    async def in_compute(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run decoding or ONNX off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._compute_pool, lambda: call(*args, **kwargs))


async def services(request: Request) -> Services:
    """The process's services, as a FastAPI dependency; a plain function would be run in a thread for each request."""
    return request.app.state.services
