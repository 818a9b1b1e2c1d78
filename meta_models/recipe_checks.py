"""What can be wrong with a recipe, found before training: what would fail, or pass for something else, afterwards.

Knows names and shapes only; no weights are made.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch.overrides import TorchFunctionMode

from meta_models.algorithms import ALGORITHMS, Algorithm, InnerSettings
from meta_models.algorithms.maml import MAML
from meta_models.algorithms.mamlpp import MAMLPP
from meta_models.algorithms.protocol import CapsSteps, SeesViews
from meta_models.algorithms.reptile import Reptile
from meta_models.backbones import BACKBONES
from meta_models.episodes import EpisodeSpec
from meta_models.inputs import TextSpec
from meta_models.manifest import NAME, InnerLoop
from meta_models.pretrained import ENCODERS
from meta_models.torch_model import build_algorithm

if TYPE_CHECKING:
    from meta_models.recipe import Recipe


def check(recipe: Recipe) -> None:
    """Whether a recipe can be carried out, as far as it tells by itself.

    Raises:
        ValueError: it cannot; the message names the field and what it may be.
    """
    if recipe.data.name == "folder" and isinstance(recipe.input, TextSpec):
        raise ValueError(
            "texts of your own are not meta-trained on: `innerloop meta-models add NAME --encoder ENCODER --data CSV` "
            "makes a meta-model of a text encoder and your classes"
        )
    start = recipe.initialize_from
    if start and start not in ENCODERS and not re.fullmatch(NAME, start):
        raise ValueError(f"initialize_from: {start!r} is neither a meta-model's name nor one of {', '.join(ENCODERS)}")
    for kind in (recipe.episodes,) if isinstance(recipe.episodes, dict) else recipe.episodes:
        check_options(EpisodeSpec, kind, "episodes")
        EpisodeSpec(**kind)
    check_options(recipe.augment_type, recipe.augment, "augment")
    if recipe.outer.unchanged and (len(recipe.input.shape) != 3 or recipe.augment.get("erase")):
        raise ValueError("[outer] unchanged: is of pictures without [augment] erase; leave one of them out")
    algorithm = _built(recipe)
    if isinstance(algorithm, SeesViews) and algorithm.n_support_views and len(recipe.input.shape) != 3:
        raise ValueError(
            f"[algorithm] tangents: {recipe.input.kind} examples cannot be turned and sheared; leave it out"
        )
    _check_inner_loop(recipe, algorithm)
    _check_prefixes(recipe, algorithm)


def check_options(made: Callable[..., Any], options: Mapping[str, Any], where: str) -> None:
    """Whether `made(…, **options)` takes these: names, kinds of values, choices, sizes of one and more.

    Raises:
        ValueError: it does not.
    """
    takes = {name: p for name, p in inspect.signature(made).parameters.items() if name not in ("shape", "backbone")}
    known = {name for name, p in takes.items() if p.kind is not p.VAR_KEYWORD}
    if len(known) == len(takes) and (unknown := sorted(set(options) - known)):
        raise ValueError(f"[{where}] knows no {', '.join(unknown)}; it has {', '.join(sorted(known)) or 'no options'}")
    if missing := sorted(name for name in known - set(options) if takes[name].default is inspect.Parameter.empty):
        raise ValueError(f"[{where}] lacks {', '.join(missing)}")
    hints = get_type_hints(made if is_dataclass(made) else made.__init__)
    for name, value in options.items():
        try:
            TypeAdapter(hints.get(name, Any)).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            raise ValueError(f"[{where}] {name}: {error.errors()[0]['msg']}, found {value!r}") from error


def why_not_normalised(recipe: Recipe) -> str | None:
    """What to know before training begins of a network whose normalisation will never see data; None: nothing."""
    algorithm = _built(recipe)
    if recipe.initialize_from or not recipe.outer.steps or not isinstance(algorithm, MAML):
        return None
    if isinstance(algorithm, MAMLPP) or not any(name.endswith("running_var") for name in _names(algorithm)):
        return None
    return (
        f"note: {algorithm.name} keeps normalisation statistics as they begin, which without initialize_from is mean 0 "
        "and variance 1: begin from a meta-model of the same backbone, or take mamlpp, which gathers its own"
    )


class _Undrawn(TorchFunctionMode):
    """Normal numbers are not drawn: on no device there are none, and torch imports its compiler to find that out, which
    would take longer than everything else here."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.normal_, torch.nn.init.normal_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def _shapes_alone() -> Generator[None]:
    """Tensors are made on no device: shapes without numbers."""
    with torch.device("meta"), _Undrawn():
        yield


def _built(recipe: Recipe) -> Algorithm:
    """Shapes without numbers."""
    for table, known, where in (
        (recipe.algorithm, ALGORITHMS, "algorithm"),
        (recipe.backbone, BACKBONES, "backbone"),
    ):
        if (name := str(table.get("name"))) not in known:
            raise ValueError(f"[{where}] name: {name!r} is unknown; there are {', '.join(sorted(known))}")
        options = {key: value for key, value in table.items() if key not in ("name", "inner")}
        check_options(known[name], options, where)
        defaults = inspect.signature(known[name]).parameters
        for key, value in options.items():
            if value == defaults[key].default:
                continue
            if any(type(size) is int and size < 1 for size in (value if isinstance(value, list | tuple) else [value])):
                raise ValueError(f"[{where}] {key}: {value} has a size below 1")
    if "inner" in recipe.algorithm:
        if not isinstance(inner := recipe.algorithm["inner"], dict):
            raise ValueError(f"[algorithm] inner: {inner!r} is no table of inner_steps and inner_lr")
        check_options(InnerSettings, inner, "algorithm.inner")
    try:
        with _shapes_alone():
            algorithm = build_algorithm(recipe.algorithm, recipe.backbone, recipe.input.shape)
            algorithm.init()
    except (TypeError, ValueError, RuntimeError, LookupError, ZeroDivisionError) as error:
        raise ValueError(f"[algorithm] and [backbone] do not fit each other or the input: {error}") from error
    if getattr(algorithm.backbone, "n_features", 1) < 1:
        raise ValueError(f"[backbone]: nothing is left of an input of {recipe.input.shape}; read larger ones")
    return algorithm


def _names(algorithm: Algorithm) -> list[str]:
    with _shapes_alone():
        return list(algorithm.init())


def _check_inner_loop(recipe: Recipe, algorithm: Algorithm) -> None:
    tried, name = recipe.search, algorithm.name
    # The gradient head of `standardized` has no default: that needs to be given one.
    optional = name != "standardized" and inspect.signature(ALGORITHMS[name]).parameters["inner"].default is None
    if optional and ("inner" in recipe.algorithm or tried.inner_steps):
        raise ValueError(f"{name} takes no inner steps: leave `inner` and [search] out")
    if algorithm.inner is None:
        if tried.inner_steps:
            raise ValueError(f"{name} takes no inner steps as it is set: leave [search] out")
        return
    most = InnerLoop(inner_steps=0, inner_lr=1)
    max_steps = algorithm.max_steps if isinstance(algorithm, CapsSteps) else most.max_inner_steps
    for where, steps in _each("inner_steps", algorithm.inner.inner_steps, tried.inner_steps):
        if not 0 <= steps <= max_steps:
            raise ValueError(f"{where}: {steps} is not from 0 to {max_steps}, the most that {name} takes here")
    for where, rate in _each("inner_lr", algorithm.inner.inner_lr, tried.inner_lr):
        if not 0 < rate <= most.max_inner_lr:
            raise ValueError(f"{where}: {rate} is not above 0 and at most {most.max_inner_lr}")
    if isinstance(algorithm, Reptile) and recipe.outer.all_steps and not algorithm.inner.inner_steps:
        raise ValueError(
            "[algorithm.inner] inner_steps: 0, and reptile learns from where its steps lead: give it 1 or more; "
            "[search] may try 0"
        )
    if isinstance(algorithm, MAMLPP) and algorithm.inner.inner_steps != max_steps:
        raise ValueError(
            f"mamlpp learns something for each of its max_steps = {max_steps} steps, and inner_steps = "
            f"{algorithm.inner.inner_steps} would leave some unlearned: give both the same number"
        )


def _each(field: str, served: float, tried: Iterable[float]) -> list[tuple[str, float]]:
    return [(f"[algorithm.inner] {field}", served), *((f"[search] {field}", one) for one in tried)]


def _check_prefixes(recipe: Recipe, algorithm: Algorithm) -> None:
    outer, names = recipe.outer, _names(algorithm)
    for field in ("frozen", "from_development", "outer_lr_of"):
        for prefix in getattr(outer, field):
            if not any(name.startswith(prefix) for name in names):
                begins = sorted({name.partition(".")[0] for name in names})
                raise ValueError(
                    f"[outer] {field}: no tensor's name begins with {prefix!r}; they begin with {', '.join(begins)}"
                )
