"""What a recipe file says: everything needed to meta-train one meta-model again."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from meta_models.augment import AugmentSpec
from meta_models.augment_sound import SoundAugmentSpec
from meta_models.augment_text import TextAugmentSpec
from meta_models.episodes import EpisodeSpec
from meta_models.inputs import DrawingSpec, InputSpec
from meta_models.manifest import COMMITTED, NAME, RecipeFile
from meta_models.recipe_checks import check

RECIPES = Path(__file__).parent / "recipes"
ITS_OWN = ("name", "version", "description", "beside_paper")
"""What no recipe has from its base."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]
Ways = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


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

    The step size follows a half cosine of `horizon` steps (by default `steps`, never fewer), and on top of it falls
    linearly to zero over the last `cooldown` steps, so that a run may end before its horizon.
    """

    steps: Steps
    horizon: Count | None = None
    cooldown: Steps = 0
    meta_batch_size: Count = 1
    optimizer: Literal["adam", "sgd"] = "adam"
    """SGD has Nesterov's momentum, 0.9."""
    outer_lr: Positive = 1e-3
    outer_lr_of: dict[str, Positive] = {}
    """Step sizes of tensors whose names begin so, where they differ from `outer_lr`."""
    weight_decay: float = Field(default=0.0, ge=0)
    average: float = Field(default=0.999, ge=0, lt=1)
    blend: Share = 1.0
    """Share of the way from where the run began to where it ended that is published, for a run that begins from
    another's weights: less than all of it forgets less (Wortsman et al. 2022, arXiv:2109.01903)."""
    unchanged: Share = 0.0
    """Share of the steps, the last ones, that see training pictures as they are, as those that are served will be
    (Touvron et al. 2019, arXiv:1906.06423)."""
    all_classes_steps: Steps = 0
    """Steps more, once everything is chosen, that learn from development classes too (`meta_models/all_classes.py`)."""
    seed: int = Field(default=0, ge=0)
    frozen: tuple[str, ...] = ()
    """Tensors whose names begin so stay as they start."""
    from_development: tuple[str, ...] = ()
    """Tensors whose names begin so learn from development episodes, in turn with the others (Liu et al. 2019,
    arXiv:1806.09055, with ξ = 0): few numbers, which say nothing on classes that the others know by heart."""
    development_lr: Positive = 5e-3
    precision: Literal["bfloat16", "float32"] = "bfloat16"

    @model_validator(mode="after")
    def _ends_within_horizon(self) -> Self:
        if self.horizon is not None and self.horizon < self.steps:
            raise ValueError(
                f"horizon: {self.horizon} is below steps = {self.steps}, and nothing is learned after it; raise it, or "
                "leave it out for as many as steps"
            )
        return self

    @property
    def all_steps(self) -> int:
        return self.steps + self.all_classes_steps


class Development(_Part):
    """What is measured on development classes while training, and how often."""

    every: Count = 500
    n_episodes: Count = 200
    within_group: Share = 1.0
    settings: tuple[tuple[Ways, Count], ...] = Field(default=((20, 1), (5, 5)), min_length=1)
    """(n_way, n_shot) pairs; what is chosen is chosen by their mean."""
    n_query: Count = 10
    label_noise: Share = 0.0
    """Share of support examples with a wrong label."""


class Search(_Part):
    """Values of the inner loop tried on development episodes after training."""

    inner_steps: tuple[int, ...] = ()
    inner_lr: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.inner_steps) != bool(self.inner_lr):
            raise ValueError("inner_steps and inner_lr are tried together: give both, or neither")
        return self


class Recipe(_Part):
    """One meta-model, from data to published folder."""

    file: str = Field(default="", exclude=True)
    """Where `load_recipe` read it, as a card says: a path in this repository, or the name of a file elsewhere."""
    files: tuple[RecipeFile, ...] = Field(default=(), exclude=True)
    """That file, its base, the base of that, and so on, as they were read."""
    name: str = Field(pattern=NAME)
    version: Count = 1
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
    initialize_from: Annotated[str | None, AfterValidator(lambda name: name or None)] = None
    """Published meta-model, or encoder (`meta_models/pretrained.py`), that gives the starting meta_params; none where
    it is empty."""
    taught_by: str | None = Field(default=None, pattern=NAME)
    """Run beside this one, a classifier's, whose answers are learned besides the labels (`meta_models/teacher.py`)."""
    beside_paper: str = ""
    """What the family's paper reports, where it is known, and whether this one reaches it: a sentence of the card."""
    small_body: bool = False
    """Publish the shared body's weights once, in its graph, in eight bits."""

    @model_validator(mode="after")
    def _classes_may_come(self) -> Self:
        if self.outer.all_classes_steps and "n_classes" in self.algorithm:
            raise ValueError("all_classes_steps: a classifier of its training classes cannot learn others")
        if self.outer.all_classes_steps and self.data.name not in ("omniglot", "folder"):
            raise ValueError(
                f"all_classes_steps: training and development classes of {self.data.name} are read apart and cannot be "
                "joined, those of omniglot and of a folder can"
            )
        return self

    @property
    def episode_specs(self) -> tuple[EpisodeSpec, ...]:
        kinds = (self.episodes,) if isinstance(self.episodes, dict) else self.episodes
        return tuple(EpisodeSpec(**kind) for kind in kinds)

    @property
    def augment_type(self) -> type[AugmentSpec | SoundAugmentSpec | TextAugmentSpec]:
        return {"sound": SoundAugmentSpec, "text": TextAugmentSpec}.get(self.input.kind, AugmentSpec)

    @property
    def augment_spec(self) -> AugmentSpec | SoundAugmentSpec | TextAugmentSpec:
        return self.augment_type(**self.augment)

    def development_spec(self, n_way: int, n_shot: int) -> EpisodeSpec:
        """Episodes as a client would send them: upright, unaugmented."""
        d = self.development
        return EpisodeSpec(n_way, n_shot, d.n_query, d.within_group, label_noise=(d.label_noise, d.label_noise))


def load_recipe(name_or_path: str) -> Recipe:
    """A committed recipe by name, or any TOML file by path. One with a `base` says only what differs from that recipe.

    Raises:
        FileNotFoundError: neither exists; the message lists the committed ones.
        ValueError: it cannot be carried out; the message names file and fields. Found here, not after an hour.
    """
    path = _found(name_or_path)
    try:
        fields, read = _fields(path, {})
        files = tuple(
            RecipeFile(file=_named(one), sha256=hashlib.sha256(data).hexdigest()) for one, data in read.items()
        )
        recipe = Recipe.model_validate({**fields, "file": _named(path), "files": files})
        check(recipe)
    except ValidationError as error:
        raise ValueError(f"{path}: {'; '.join(map(_in_words, error.errors()))}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return recipe


def _found(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPES / f"{name_or_path}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise FileNotFoundError(f"no recipe {name_or_path!r}; committed recipes: {known}; or name a .toml file")
    return path


def _named(path: Path) -> str:
    return f"{COMMITTED}/{path.name}" if path.resolve().parent == RECIPES.resolve() else path.name


def _fields(path: Path, above: Mapping[Path, bytes]) -> tuple[dict[str, Any], dict[Path, bytes]]:
    """What a file says, over what its `base` says, a recipe by name or by path from the file's folder; and all files
    that were read, after those `above`."""
    if path in above:
        raise ValueError(f"base: {path.name} is its own base in the end")
    data = path.read_bytes()
    read = {**above, path: data}
    try:
        own = tomllib.loads(data.decode())
    except ValueError as error:
        raise ValueError(f"base: {path}: {error}" if above else str(error)) from error
    base = own.pop("base", None)
    if base is None:
        return own, read
    if not isinstance(base, str):
        raise ValueError(f"base: {base!r} is not one recipe")
    try:
        found = _found(str(path.parent / base) if base.endswith(".toml") else base)
    except FileNotFoundError as error:
        raise ValueError(f"base: {error}") from error
    below, read = _fields(found.resolve(), read)
    return _over({key: value for key, value in below.items() if key not in ITS_OWN}, own), read


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables field by field; anything else, a list of tables or a table of another name or kind, as a whole."""
    both = {key: _over(below[key], above[key]) for key in below if _are_alike(below[key], above.get(key))}
    return {**below, **above, **both}


def _are_alike(below: Any, above: Any) -> bool:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return False
    return all(above.get(key, below.get(key)) == below.get(key) for key in ("name", "kind"))


def _in_words(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors: the field, what is wrong, and what was found."""
    field, said = ".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, ")
    found = "" if isinstance(error["input"], dict) else f", found {error['input']!r}"
    return f"{field}: {said}{found}" if field else said
