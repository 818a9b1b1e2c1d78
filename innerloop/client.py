"""A small HTTP client. Knows httpx only: nothing of the server is imported.

Retries what the server calls retryable, after its Retry-After, with one idempotency key per support set.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

DEFAULT_URL = "http://127.0.0.1:8321"
TRIES = 5


class InnerloopHTTPError(Exception):
    """The server refused; carries the problem document."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem.get('code')} ({problem.get('status')}): {problem.get('detail')}")
        self.problem = problem
        self.code: str = problem.get("code", "unknown")
        self.status: int = problem.get("status", 0)


class Client:
    """Talks to one server.

    Args:
        url: where it is.
        api_key: sent as a bearer token where given.
    """

    def __init__(self, url: str = DEFAULT_URL, api_key: str | None = None, timeout: float = 120) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def meta_models(self) -> list[dict[str, Any]]:
        """Every published meta-model."""
        return self._call("GET", "/v1/meta-models")["data"]

    def adapt(
        self,
        support: Iterable[tuple[str, bytes]],
        *,
        meta_model: str | None = None,
        name: str | None = None,
        inner_steps: int | None = None,
        inner_lr: float | None = None,
        wait: float = 60,
    ) -> dict[str, Any]:
        """Adapt to (label, encoded image) pairs and wait until the model is ready.

        Raises:
            InnerloopHTTPError: refused, or adapting failed.
            TimeoutError: not ready after `wait` seconds.
        """
        body = {
            "meta_model": meta_model,
            "name": name,
            "support": _support(support),
            "adaptation": {"inner_steps": inner_steps, "inner_lr": inner_lr},
        }
        headers = {"Idempotency-Key": secrets.token_hex(16), "Prefer": f"wait={wait:g}"}
        model = self._call("POST", "/v1/models", json=body, headers=headers)
        deadline = time.monotonic() + wait
        while model["status"] in ("queued", "adapting"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"model {model['id']} is still {model['status']} after {wait:g} s")
            time.sleep(0.5)
            model = self.model(model["id"])
        return model

    def models(self) -> list[dict[str, Any]]:
        """Your models, newest first, all pages."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = self._call("GET", "/v1/models", params={"limit": 100, **({"after": after} if after else {})})
            found += page["data"]
            if not page["has_more"]:
                return found
            after = page["next_cursor"]

    def model(self, model_id: str) -> dict[str, Any]:
        """One model."""
        return self._call("GET", f"/v1/models/{model_id}")

    def delete(self, model_id: str) -> None:
        """Forget a model."""
        self._call("DELETE", f"/v1/models/{model_id}")

    def predict(
        self, model_id: str, images: Sequence[bytes], *, top_k: int = 5, batch: int = 200
    ) -> list[dict[str, Any]]:
        """One result per encoded image, in order."""
        results: list[dict[str, Any]] = []
        for start in range(0, len(images), batch):
            inputs = [{"image": _base64(data)} for data in images[start : start + batch]]
            body = {"inputs": inputs, "top_k": top_k}
            results += self._call("POST", f"/v1/models/{model_id}/predictions", json=body)["results"]
        return results

    def classify(
        self,
        support: Iterable[tuple[str, bytes]],
        images: Sequence[bytes],
        *,
        meta_model: str | None = None,
        top_k: int = 5,
    ) -> dict[str, Any]:
        """Adapt and classify in one request; nothing is kept."""
        body = {
            "meta_model": meta_model,
            "support": _support(support),
            "inputs": [{"image": _base64(data)} for data in images],
            "top_k": top_k,
        }
        return self._call("POST", "/v1/classify", json=body)

    def _call(self, method: str, path: str, **request: Any) -> Any:
        for attempt in range(TRIES):
            last = attempt == TRIES - 1
            try:
                answer = self._http.request(method, path, **request)
            except httpx.ConnectError as error:
                if last:
                    raise ConnectionError(
                        f"no server at {self._http.base_url}; start one with `innerloop serve`"
                    ) from error
                time.sleep(0.2 * 2**attempt)
                continue
            if answer.is_success:
                return answer.json() if answer.content else None
            problem = _problem(answer)
            if last or not problem.get("retryable") or answer.status_code not in (429, 503):
                raise InnerloopHTTPError(problem)
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        raise AssertionError("unreachable")


def read_folder(folder: Path) -> list[tuple[str, Path]]:
    """(label, file) pairs of a folder that holds a folder per class.

    Raises:
        ValueError: it has no class folders with files.
    """
    pairs = [
        (child.name, file)
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".")
        for file in sorted(child.iterdir())
        if file.is_file() and not file.name.startswith(".")
    ]
    if not pairs:
        raise ValueError(f"{folder} must hold one folder per class, each with its examples")
    return pairs


def _support(support: Iterable[tuple[str, bytes]]) -> list[dict[str, Any]]:
    return [{"label": label, "input": {"image": _base64(data)}} for label, data in support]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        return answer.json()
    except ValueError:
        return {"code": "not_innerloop", "status": answer.status_code, "detail": answer.text[:200]}
