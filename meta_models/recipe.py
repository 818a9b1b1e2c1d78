"""What a recipe file says: everything needed to meta-train one meta-model again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from meta_models.augment import AugmentSpec
from meta_models.augment_sound import SoundAugmentSpec
from meta_models.augment_text import TextAugmentSpec
from meta_models.episodes import EpisodeSpec
from meta_models.inputs import DrawingSpec, InputSpec
from meta_models.manifest import COMMITTED, NAME

RECIPES = Path(__file__).parent / "recipes"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Part):
    """Which classes: Omniglot's, where `background` is protocol L and `vinyals` protocol V, or a folder of your own.
    `vectors` are embeddings and tables from many places (`meta_models/vector_sources.py`), `sounds` keywords and
    environmental sounds (`meta_models/sound_sources.py`), `photos` CIFAR-FS (`meta_models/photo_sources.py`), which are
    split there;
    `text` is intents (`meta_models/text_sources.py`), of which `fold` says who learns from which.

    `development_groups` are held out of meta-training for every choice that is made (protocol V has a
    validation split of its own; the classes of a folder are cut into three parts by their names).
    """

    name: Literal["omniglot", "folder", "vectors", "text", "sounds", "photos"] = "omniglot"
    split: Literal["background", "vinyals", "classes"] = "classes"
    development_groups: tuple[str, ...] = ()
    fold: str = "01"


class Outer(_Part):
    """The outer loop: an optimizer with a schedule of its step size and an exponential average of the weights.

    The step size follows a half cosine of `horizon` steps (by default `steps`), and on top of it falls linearly to zero
    over the last `cooldown` steps, so that a run may end before its horizon.
    """

    steps: int
    horizon: int | None = None
    cooldown: int = 0
    meta_batch_size: int = 1
    optimizer: Literal["adam", "sgd"] = "adam"
    """SGD has Nesterov's momentum, 0.9."""
    outer_lr: float = 1e-3
    outer_lr_of: dict[str, float] = {}
    """Step sizes of tensors whose names begin so, where they differ from `outer_lr`."""
    weight_decay: float = 0.0
    average: float = 0.999
    blend: float = 1.0
    """Share of the way from where the run began to where it ended that is published, for a run that begins from
    another's weights: less than all of it forgets less (Wortsman et al. 2022, arXiv:2109.01903)."""
    all_classes_steps: int = 0
    """Steps more, once everything is chosen, that learn from development classes too (`meta_models/all_classes.py`)."""
    seed: int = 0
    frozen: tuple[str, ...] = ()
    """Tensors whose names begin so stay as they start."""
    from_development: tuple[str, ...] = ()
    """Tensors whose names begin so learn from development episodes, in turn with the others (Liu et al. 2019,
    arXiv:1806.09055, with ξ = 0): few numbers, which say nothing on classes that the others know by heart."""
    development_lr: float = 5e-3
    precision: Literal["bfloat16", "float32"] = "bfloat16"

    @property
    def all_steps(self) -> int:
        return self.steps + self.all_classes_steps


class Development(_Part):
    """What is measured on development classes while training, and how often."""

    every: int = 500
    n_episodes: int = 200
    within_group: float = 1.0
    settings: tuple[tuple[int, int], ...] = ((20, 1), (5, 5))
    """(n_way, n_shot) pairs; what is chosen is chosen by their mean."""
    n_query: int = 10
    label_noise: float = 0.0
    """Share of support examples with a wrong label."""


class Search(_Part):
    """Values of the inner loop tried on development episodes after training."""

    inner_steps: tuple[int, ...] = ()
    inner_lr: tuple[float, ...] = ()


class Recipe(_Part):
    """One meta-model, from data to published folder."""

    file: str = Field(default="", exclude=True)
    """Where `load_recipe` read it, as a card says: a path in this repository, or the name of a file elsewhere."""
    name: str = Field(pattern=NAME)
    version: int = 1
    description: str
    algorithm: dict[str, Any]
    backbone: dict[str, Any]
    input: InputSpec = DrawingSpec()
    data: Data
    episodes: dict[str, Any] | tuple[dict[str, Any], ...]
    """One kind of episode, or several that take turns."""
    augment: dict[str, float] = {}
    outer: Outer
    development: Development = Development()
    search: Search = Search()
    initialize_from: str | None = None
    """Published meta-model, or encoder (`meta_models/pretrained.py`), that gives the starting meta_params."""
    taught_by: str | None = None
    """Run beside this one, a classifier's, whose answers are learned besides the labels (`meta_models/teacher.py`)."""
    beside_paper: str = ""
    """What the family's paper reports, where it is known, and whether this one reaches it: a sentence of the card."""
    small_body: bool = False
    """Publish the shared body's weights once, in its graph, in eight bits."""

    @model_validator(mode="after")
    def _classes_may_come(self) -> Self:
        if self.outer.all_classes_steps and "n_classes" in self.algorithm:
            raise ValueError("all_classes_steps: a classifier of its training classes cannot learn others")
        return self

    @property
    def episode_specs(self) -> tuple[EpisodeSpec, ...]:
        kinds = (self.episodes,) if isinstance(self.episodes, dict) else self.episodes
        return tuple(EpisodeSpec(**kind) for kind in kinds)

    @property
    def augment_spec(self) -> AugmentSpec | SoundAugmentSpec | TextAugmentSpec:
        kinds = {"sound": SoundAugmentSpec, "text": TextAugmentSpec}
        return kinds.get(self.input.kind, AugmentSpec)(**self.augment)

    def development_spec(self, n_way: int, n_shot: int) -> EpisodeSpec:
        """Episodes as a client would send them: upright, unaugmented."""
        d = self.development
        return EpisodeSpec(n_way, n_shot, d.n_query, d.within_group, label_noise=(d.label_noise, d.label_noise))


def load_recipe(name_or_path: str) -> Recipe:
    """A committed recipe by name, or any TOML file by path.

    Raises:
        FileNotFoundError: neither exists; the message lists the committed ones.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPES / f"{name_or_path}.toml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise FileNotFoundError(f"no recipe {name_or_path!r}; committed recipes: {known}; or name a .toml file")
    file = f"{COMMITTED}/{path.name}" if path.resolve().parent == RECIPES.resolve() else path.name
    recipe = Recipe.model_validate({**tomllib.loads(path.read_text()), "file": file})
    _ = recipe.episode_specs, recipe.augment_spec  # a wrong field fails here, not after an hour
    return recipe
