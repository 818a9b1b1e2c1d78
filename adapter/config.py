"""Every setting, each an `INNERLOOP_*` environment variable. The only place that reads the environment."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_ORIGIN = re.compile(
    r"(http(?!.*:80$)|https(?!.*:443$))://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?"
)

RECORDS_LINK = "records.sock"
"""Leads from the data folder of `innerloop serve` to the Redis that it runs for the records."""

_REDIS = re.compile(r"(rediss?|unix)://.+")
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")


def entries(given: str) -> list[str]:
    """Of a setting that is a list with commas."""
    return [entry.strip() for entry in given.split(",") if entry.strip()]


def networks(given: str) -> list[IPv4Network | IPv6Network]:
    """Of `INNERLOOP_WEBHOOK_NETWORKS`.

    Raises:
        ValueError: one of them is none.
    """
    try:
        return [ip_network(entry, strict=False) for entry in entries(given)]
    except ValueError as error:
        raise ValueError(f"INNERLOOP_WEBHOOK_NETWORKS: {error}; name networks such as 10.1.0.0/16") from error


class Settings(BaseSettings):
    """What an operator may change; docs/settings.md lists the same."""

    # URLs hold passwords, so an error does not repeat what was given.
    model_config = SettingsConfigDict(env_prefix="INNERLOOP_", extra="ignore", hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8321, ge=0, le=65535, description="Port the API listens on.")
    data_dir: Path = Field(default=Path(".innerloop"), description="Folder that an embedded server keeps its data in.")
    redis_url: str | None = Field(
        default=None, description="Records and broker (noeviction, AOF). Unset: `innerloop serve` runs its own."
    )
    weights_redis_url: str | None = Field(
        default=None, description="Cache of adapted tensors (may evict). Unset: the same as the records."
    )
    api_keys: str = Field(
        default="",
        description="Comma-separated `owner:sha256-of-key` pairs: keys with every scope, besides `innerloop keys`.",
    )
    allowed_origins: str = Field(
        default="",
        description="Comma-separated origins whose pages may ask the API from a browser: `https://app.example.org`.",
    )
    meta_models_dir: Path | None = Field(default=None, description="Folder of your own published meta-models.")
    api_processes: int = Field(default=1, ge=1, description="API processes of `innerloop serve` and `innerloop api`.")
    worker_processes: int = Field(default=1, ge=1, description="Adapting processes a worker; 1 for each GPU.")
    worker_threads: int = Field(
        default=0, ge=0, description="CPU threads of an adapting process; 0: all cores but one, shared among them."
    )
    device: str = Field(default="auto", description="`cpu`, `cuda`, `cuda:1` or `auto`: where workers adapt.")
    default_ttl_seconds: int = Field(default=7 * 86400, ge=60, description="Life of a model that does not ask for one.")
    max_ttl_seconds: int = Field(default=365 * 86400, ge=60, description="Longest life a model may ask for.")
    max_body_bytes: int = Field(default=64 * 2**20, ge=1024, description="Largest request body.")
    max_image_bytes: int = Field(default=10 * 2**20, ge=1024, description="Largest encoded image.")
    max_image_pixels: int = Field(default=25_000_000, ge=1024, description="Largest decoded image.")
    max_audio_bytes: int = Field(default=10 * 2**20, ge=1024, description="Largest encoded sound.")
    max_audio_seconds: float = Field(default=60, gt=0, description="Longest sound.")
    max_text_characters: int = Field(default=20_000, ge=100, description="Longest text; its first tokens are read.")
    max_queries: int = Field(default=1000, ge=1, description="Most inputs a prediction request may hold.")
    body_timeout_seconds: float = Field(default=30, gt=0, description="Time a client has to send its request body.")
    max_queued_jobs: int = Field(default=1000, ge=1, description="Jobs waiting before new ones get 503.")
    max_wait_seconds: float = Field(default=60, ge=0, description="Longest `Prefer: wait` that is honoured.")
    lease_seconds: float = Field(default=5, gt=0, description="A worker silent for this long loses its job to another.")
    max_attempts: int = Field(default=3, ge=1, description="Workers that may die on one job before it fails.")
    webhook_networks: str = Field(
        default="",
        description="Comma-separated networks that webhooks may reach besides the public internet: `10.1.0.0/16`.",
    )
    cache_mb: int = Field(default=256, ge=1, description="Adapted tensors an API process keeps in memory.")
    embedded_weights_mb: int = Field(default=512, ge=16, description="Size of the embedded cache of adapted tensors.")

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, given: str) -> str:
        for origin in entries(given):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"INNERLOOP_ALLOWED_ORIGINS: {origin!r} is no origin as browsers send it; name each by http:// or "
                    "https://, its host in small letters and its port where that is not the usual one, without a path: "
                    "https://app.example.org,http://localhost:3000"
                )
        return given

    @field_validator("host")
    @classmethod
    def _is_somewhere(cls, given: str) -> str:
        if not given.strip():
            raise ValueError("INNERLOOP_HOST is empty; give an address: 127.0.0.1, or 0.0.0.0 for all of this machine")
        return given

    @field_validator("redis_url", "weights_redis_url")
    @classmethod
    def _is_redis(cls, given: str | None, info: ValidationInfo) -> str | None:
        if given and not _REDIS.fullmatch(given):
            raise ValueError(
                f"INNERLOOP_{str(info.field_name).upper()} begins with none of redis://, rediss:// and unix://; write "
                "redis://127.0.0.1:6379/0 or unix:///run/redis.sock"
            )
        return given

    @field_validator("device")
    @classmethod
    def _is_device(cls, given: str) -> str:
        if not _DEVICE.fullmatch(given):
            raise ValueError(f"INNERLOOP_DEVICE is {given!r}; give auto, cpu, cuda, or cuda:1 for the second GPU")
        return given

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, given: str) -> str:
        networks(given)
        return given

    @property
    def origins(self) -> list[str]:
        """Whose pages may ask."""
        return entries(self.allowed_origins)

    @property
    def usual_ttl_seconds(self) -> int:
        """Life of a model that does not ask for one: never more than one may ask for."""
        return min(self.default_ttl_seconds, self.max_ttl_seconds)

    @property
    def records_url(self) -> str:
        """Where records and the broker live.

        Raises:
            ValueError: unset, and nobody started an embedded Redis.
        """
        if not self.redis_url:
            raise ValueError("INNERLOOP_REDIS_URL is not set; set it, or start everything with `innerloop serve`")
        return self.redis_url

    @property
    def weights_url(self) -> str:
        return self.weights_redis_url or self.records_url

    @property
    def own_records(self) -> Path | None:
        """Where the Redis of `innerloop serve` writes; None of an operator's, whose disk nobody here knows."""
        url, link = self.redis_url or "", self.data_dir / RECORDS_LINK
        ours = url.startswith("unix://") and link.is_symlink() and url == f"unix://{link.readlink()}"
        return self.data_dir / "records" if ours else None
