"""How a worker opens meta-models: on which device, and once warm."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meta_models.catalogue import Published
    from meta_models.serving_path import ServingPath


def device_of(setting: str) -> str:
    """What torch calls the device that `INNERLOOP_DEVICE` names.

    Raises:
        ValueError: this machine has no such GPU.
    """
    import torch

    if setting == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = setting.partition(":")
    if kind == "cuda" and int(number or 0) >= (there := torch.cuda.device_count()):
        raise ValueError(
            f"INNERLOOP_DEVICE is {setting}, and torch sees {there or 'no'} GPUs here; see that NVIDIA's driver and a "
            "torch for CUDA are installed, or set it to auto or cpu"
        )
    return setting


def load(published: Published, device: str) -> ServingPath:
    """Load a meta-model and adapt once: the first adaptation of a process is slow, and no client waits for it here."""
    import numpy as np

    from meta_models.algorithms import InnerSettings
    from meta_models.serving import ServedModel
    from meta_models.serving_path import ServingPath
    from meta_models.torch_model import TorchModel

    path = ServingPath(
        ServedModel(published.folder, published.manifest),
        TorchModel.load(published.folder, published.manifest, device),
    )
    labels = np.array([0, 1, 1])  # one alone, which some algorithms see in views, and several
    inputs = published.manifest.input.examples(np.random.default_rng(0), labels)
    one_step = InnerSettings(1, 0.0) if path.torch_model.algorithm.inner else None
    path.adapt(path.support_features(inputs, labels), labels, 2, one_step)
    return path
