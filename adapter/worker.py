"""What a worker does with a job: claim it, adapt, store the weights, say that it is done."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import redis

from adapter import support_set
from adapter.config import Settings
from adapter.errors import StoreFull
from adapter.leases import LeaseKeeper
from adapter.loading import device_of, load
from adapter.models import JobError
from adapter.notice import Notice
from adapter.quality import COPIES, doubts, twins
from adapter.redis_store import now_ms
from adapter.store import Arrays, Claim, Records, Weights, connect
from meta_models.catalogue import Catalogue
from meta_models.memory import keep_freed_memory
from meta_models.on_demand import OnDemand
from meta_models.threads import all_but_one

if TYPE_CHECKING:
    from adapter.support_set import SupportSet
    from meta_models.serving_path import ServingPath
    from meta_models.torch_model import Features

log = logging.getLogger("innerloop.worker")


ELSEWHERE_MS = 3_600_000
"""So long after a job was opened another worker may publish its meta-model: upgrades take one process at a time."""


KEEP_SECONDS = 1.0
"""Between two looks at whether the weights of the model that is measured are still there."""


class _LeaseLostError(Exception):
    """Another worker has the job, or nobody wants it any more."""


class _StoppedError(Exception):
    """This worker was told to stop, and the job takes longer than there is time for."""


class Worker:
    """What one adapting process holds: stores and loaded meta-models. Made after a fork, CUDA included.

    Args:
        settings: of the service.
        notice: of all processes of this worker; one of its own is never given.
    """

    def __init__(self, settings: Settings, notice: Notice | None = None) -> None:
        # torch enters here: importing it before a fork would cost its threads and its GPU.
        import torch

        from adapter.adapt import adapt
        from adapter.choosing import choose

        torch.set_num_threads(settings.worker_threads or all_but_one(settings.worker_processes))
        keep_freed_memory()  # a third of what adapting every weight takes
        self.records = Records(connect(settings.records_url), settings)
        self.weights = Weights(connect(settings.weights_url))
        self._notice = notice or Notice()
        self._leases = LeaseKeeper(self.records, settings.lease_seconds)
        device = device_of(settings.device)
        self._paths = OnDemand(Catalogue(settings.meta_models_dir), partial(load, device=device))
        self._adapt, self._choose = adapt, choose

    def run(self, job: str) -> bool:
        """Do a job unless it is done or taken; returns whether this call did it."""
        claim = self.records.claim(job)
        if claim is None:
            return False
        with self._leases.hold(claim) as still_ours:
            try:
                return self._do(claim, still_ours)
            except _LeaseLostError:
                return False
            except _StoppedError:
                log.warning("%s: this worker stops before the job can end; left to another one", job)
                return self._hand_back(claim)
            except (redis.RedisError, StoreFull):
                log.exception("%s: Redis does not answer or refuses, full for one; the job stays open", job)
                return self._hand_back(claim)
            except Exception as error:
                return self._give_up(claim, error)

    def _do(self, claim: Claim, still_ours: Callable[[], bool]) -> bool:
        began = time.perf_counter()
        owner, spec = claim.owner, claim.spec
        support = support_set.decode(claim.support)
        if spec.candidates and spec.selection is None:
            read_once = support.other is None
            spec, support = self._choose(spec, support, self._paths, self._go_on)
            chosen = self.records.choose(claim, spec, None if read_once else support_set.encode(support))
            if chosen is None:
                return False
            claim = chosen
        path = self._paths.get(spec.meta_model)
        if path is None:
            if claim.waited_ms < ELSEWHERE_MS:
                log.warning("%s: %s is not published on this worker; left to another one", claim.job, spec.meta_model)
                self.records.postpone(claim)
                return False
            return self.records.fail(
                claim, JobError("meta_model_gone", f"{spec.meta_model} is not published on this worker")
            )
        files, measured = path.served.manifest.files_digest, claim.measured or spec.ephemeral
        adapted = self.weights.get(owner, spec.weights, files)
        if adapted is not None and measured:
            return self.records.finish(claim, _ms_since(began))
        model, features = path.torch_model, path.support_features(support.inputs, support.labels)
        if adapted is None:

            def tell(step: int, support_loss: float) -> None:
                if not still_ours():
                    raise _LeaseLostError
                self._go_on()
                if claim.steps.add(step, support_loss):
                    self.records.tell_steps(owner, claim.record_id, claim.steps.take())

            adapted = self._adapt(model, support, features, spec.adaptation, on_step=tell)
            if not still_ours():
                return False
            self._put(claim, adapted, files)
        took = _ms_since(began)
        if measured:
            done = self.records.finish(claim, took)
        else:
            done = self._measure(claim, took, path, support, features, adapted)
        if not done and not self.records.exists(owner, claim.record_id):
            self.weights.delete(owner, [spec.weights])  # deleted while it was adapted: nothing of it stays
        return done

    def _measure(
        self,
        claim: Claim,
        took: float,
        path: ServingPath,
        support: SupportSet,
        features: Features,
        adapted: Arrays,
    ) -> bool:
        """End the job with the model's quality: at once where it costs next to nothing, else after `ready`."""
        from adapter.measure import cross_validate, leave_one_out

        model, n_way, n_shot = path.torch_model, len(claim.spec.classes), claim.spec.mean_shot
        temperature = path.served.manifest.calibration_for(n_way, n_shot).temperature
        quality = leave_one_out(model, support, features, temperature)
        if quality is None:
            if not self.records.serve(claim, took):
                return False
            with self._kept(claim, adapted, path.served.manifest.files_digest):
                quality = cross_validate(model, support, features, claim.spec.adaptation, temperature, self._go_on)
        spec = path.served.manifest.input
        found = {
            "twins": twins(support, spec.unnamed(support.inputs)),
            "doubts": doubts(support, spec.doubts(support.inputs) | {COPIES: support.is_copy}),
        }
        return self.records.finish(claim, took, quality.model_copy(update=found).model_dump_json())

    def _put(self, claim: Claim, adapted: Arrays, files: str) -> None:
        self.weights.put(claim.owner, claim.spec.weights, adapted, max(claim.expires_ms - now_ms(), 1000), files)

    @contextmanager
    def _kept(self, claim: Claim, adapted: Arrays, files: str) -> Generator[None]:
        """Put weights back that are evicted meanwhile: until this job ends no other one can adapt them again."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(KEEP_SECONDS):
                with suppress(redis.RedisError):
                    gone = not self.weights.has(claim.owner, claim.spec.weights)
                    if gone and self.records.exists(claim.owner, claim.record_id):
                        self._put(claim, adapted, files)

        threading.Thread(target=keep, name="weights", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _go_on(self, *_: object) -> None:
        if self._notice.is_over:
            raise _StoppedError

    def _hand_back(self, claim: Claim) -> bool:
        """It is nobody's fault: without this another claim would count as an attempt."""
        with suppress(redis.RedisError, StoreFull):
            self.records.postpone(claim)
        return False

    def _give_up(self, claim: Claim, error: Exception) -> bool:
        """An error that comes again each time fails the model; anything else is tried again."""
        if isinstance(error, ArithmeticError):
            return self.records.fail(claim, JobError("adaptation_diverged", str(error)))
        log.exception("%s: attempt %d failed", claim.job, claim.attempt)
        if claim.attempt >= self.records.settings.max_attempts:
            return self.records.fail(claim, JobError("adaptation_failed", f"{type(error).__name__}: {error}"))
        self.records.retry(claim)
        return False


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
