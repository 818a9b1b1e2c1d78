"""The outer loop learns, logs, and goes on after an interruption as if there had been none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from meta_models import checkpoint
from meta_models.algorithms import ALGORITHMS, Episode, Tensors, meta_loss
from meta_models.algorithms.pretrain import Pretrain, distance
from meta_models.algorithms.protonet import ProtoNet
from meta_models.checkpoint import CHECKPOINT, CLASSES, RECIPE, TrainState, save
from meta_models.datasets import ClassPool
from meta_models.meta_train import LOG, meta_train
from meta_models.outer_step import schedule
from meta_models.plots import plot_log
from meta_models.pretrained import ENCODERS
from meta_models.recipe import RECIPES, Data, Development, Outer, Recipe, load_recipe
from meta_models.splits import Splits
from meta_models.teacher import Teacher
from meta_models.torch_model import build_algorithm
from meta_models.training_episodes import draw, fetch_episode


def recipe(steps: int, algorithm: str = "protonet", precision: Literal["float32", "bfloat16"] = "float32") -> Recipe:
    options: dict[str, Any] = {"pretrain": {"n_classes": 8 * 8}, "protonet": {}}.get(
        algorithm, {"inner": {"inner_steps": 2, "inner_lr": 0.01}}
    )
    return Recipe(
        name="sketches",
        description="sketches of the tests",
        algorithm={"name": algorithm, **options},
        backbone={"name": "conv4", "width": 8},
        data=Data(split="background"),
        episodes={"n_way": 8, "n_shot": 1, "n_query": 3, "symmetries": True},
        augment={"rotation": 10, "scale": 0.1},
        outer=Outer(steps=steps, outer_lr=3e-3, precision=precision, average=0.9),
        development=Development(every=4, n_episodes=5, within_group=0, settings=((5, 1),), n_query=3),
    )


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    "algorithm",
    ["protonet", "protonet, by halves", "maml", "mamlpp", "reptile", "pretrain", "pretrain, taught", "cnaps"],
)
def test_resumes_exactly(splits: Splits, tmp_path: Path, algorithm: str) -> None:
    made = recipe(8, algorithm.partition(",")[0], "bfloat16" if algorithm == "cnaps" else "float32")
    if algorithm.endswith("halves"):  # two optimizers, each with moments of its own
        halves = {"optimizer": "sgd", "from_development": ("log_scale",)}
        made = made.model_copy(update={"outer": made.outer.model_copy(update=halves)})
    if algorithm.endswith("taught"):
        meta_train(made, splits, tmp_path / "teacher", device="cpu")
        made = taught()
    whole = meta_train(made, splits, tmp_path / "whole", device="cpu")

    def interrupt(step: int, _: dict[str, float]) -> None:
        if step == 6:
            raise Interrupted

    with pytest.raises(Interrupted):
        meta_train(made, splits, tmp_path / "broken", device="cpu", on_progress=interrupt)
    resumed = meta_train(made, splits, tmp_path / "broken", device="cpu")
    assert all(torch.equal(t, resumed.meta_params[name]) for name, t in whole.meta_params.items())
    assert logged(tmp_path / "broken") == logged(tmp_path / "whole")


def logged(run: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (run / LOG).read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_weights_of_another_backbone_are_refused_before_the_first_step(splits: Splits, tmp_path: Path) -> None:
    wider = build_algorithm({"name": "protonet"}, {"name": "conv4", "width": 16}, (1, 28, 28)).init()
    with pytest.raises(ValueError, match=r"is \(16, 1, 3, 3\) in the weights .* and \(8, 1, 3, 3\) in this recipe"):
        meta_train(recipe(2), splits, tmp_path / "wider", start=wider, device="cpu")
    other = build_algorithm({"name": "protonet"}, {"name": "resnet12", "widths": [4, 6, 6, 8]}, (1, 28, 28)).init()
    with pytest.raises(ValueError, match="nothing that initialize_from names fits this backbone"):
        meta_train(recipe(2), splits, tmp_path / "other", start=other, device="cpu")


def test_a_run_goes_on_from_the_weights_it_began_from_alone(splits: Splits, tmp_path: Path) -> None:
    start = build_algorithm({"name": "protonet"}, {"name": "conv4", "width": 8}, (1, 28, 28)).init()
    meta_train(recipe(2), splits, tmp_path, start=start, device="cpu")
    meta_train(recipe(2), splits, tmp_path, start={**start, "log_scale": torch.tensor(0.0)}, device="cpu")
    changed = {name: t + 1 for name, t in start.items()}
    with pytest.raises(ValueError, match="weights to begin from: then"):
        meta_train(recipe(2), splits, tmp_path, start=changed, device="cpu")


def test_examples_lie_with_channels_last_though_they_have_one(splits: Splits) -> None:
    """Half of a step's time: the first layers would go on in the other order."""
    made, [pool] = recipe(1), splits.train
    episode = fetch_episode(torch.from_numpy(pool.inputs), draw(splits.train, made, 0), made)
    maps = torch.nn.Conv2d(1, 8, 3)(torch.cat([episode.support_inputs, episode.query_inputs]))
    assert maps.stride(1) == 1, f"strides of {maps.stride()}"


def test_a_line_lost_between_checkpoint_and_log_is_written_once(splits: Splits, tmp_path: Path) -> None:
    meta_train(recipe(8), splits, tmp_path, device="cpu")
    whole, lines = logged(tmp_path), (tmp_path / LOG).read_text().splitlines(keepends=True)
    (tmp_path / LOG).write_text("".join(lines[:-1]))
    for _ in range(2):
        meta_train(recipe(8), splits, tmp_path, device="cpu")
        assert logged(tmp_path) == whole


def test_a_checkpoint_from_before_running_means_were_kept_goes_on(splits: Splits, tmp_path: Path) -> None:
    whole = meta_train(recipe(8), splits, tmp_path, device="cpu").meta_params
    with safe_open(tmp_path / CHECKPOINT, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    save_file(tensors, tmp_path / CHECKPOINT, metadata={"run": json.dumps({"step": 8, "seconds": 1.5})})
    (tmp_path / LOG).unlink()
    again = meta_train(recipe(8), splits, tmp_path, device="cpu").meta_params
    assert all(torch.equal(t, again[name]) for name, t in whole.items())
    assert [set(line) for line in logged(tmp_path)] == [{"step", "5w1s"}]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"algorithm": {"name": "maml", "inner": {"inner_steps": 1, "inner_lr": 0.1}}}, 'algorithm: then {"name": "p'),
        ({"outer": Outer(steps=8, precision="float32")}, "outer.steps: then 4, now 8; outer.outer_lr: then 0.003, now"),
    ],
)
def test_another_recipe_never_goes_on_from_a_runs_weights(
    splits: Splits, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    meta_train(recipe(4), splits, tmp_path, device="cpu")
    with pytest.raises(ValueError, match="Give another --name, or remove") as error:
        meta_train(recipe(4).model_copy(update=change), splits, tmp_path, device="cpu")
    assert told in str(error.value)


def test_other_classes_never_go_on_from_a_runs_weights(splits: Splits, pool: ClassPool, tmp_path: Path) -> None:
    meta_train(recipe(4), splits, tmp_path, device="cpu")
    more = replace(splits, train=(pool.subset(pool.class_groups != 1),))
    with pytest.raises(ValueError, match=r'classes to learn from: then \{"classes": 8, .* now \{"classes": 16, '):
        meta_train(recipe(4), more, tmp_path, device="cpu")
    redrawn = replace(splits.development[0], inputs=255 - pool.inputs)
    with pytest.raises(ValueError, match="classes to choose by: then"):
        meta_train(recipe(4), replace(splits, development=(redrawn,)), tmp_path, device="cpu")


@pytest.mark.parametrize("name", ["protonet", "committee"])
def test_what_decides_no_weight_may_change(splits: Splits, tmp_path: Path, name: str) -> None:
    algorithm = {"name": name}
    once = recipe(4).model_copy(update={"algorithm": algorithm})
    before = meta_train(once, splits, tmp_path, device="cpu").meta_params
    changes = {"name": "another", "version": 2, "description": "new words", "development": Development(n_episodes=2)}
    options = {"protonet": {"mirror": True}, "committee": {"roots": True, "hubs": True}}[name]
    changes["algorithm"] = {**algorithm, **options, "tangents": True}
    after = meta_train(once.model_copy(update=changes), splits, tmp_path, device="cpu").meta_params
    assert all(torch.equal(t, after[name]) for name, t in before.items())


def test_a_run_from_before_goes_on_as_far_as_its_folder_tells(splits: Splits, tmp_path: Path) -> None:
    meta_train(recipe(4), splits, tmp_path, device="cpu")
    (tmp_path / CLASSES).unlink()
    told = json.loads((tmp_path / RECIPE).read_text())
    del told["taught_by"], told["outer"]["cooldown"]
    (tmp_path / RECIPE).write_text(json.dumps(told))
    meta_train(recipe(4), splits, tmp_path, device="cpu")
    with pytest.raises(ValueError, match=r"outer\.steps: then 4, now 8"):
        meta_train(recipe(8), splits, tmp_path, device="cpu")
    (tmp_path / RECIPE).unlink()
    meta_train(recipe(4), splits, tmp_path, device="cpu")


def test_development_episodes_move_what_is_theirs_and_frozen_tensors_stay(splits: Splits, tmp_path: Path) -> None:
    def searched(steps: int) -> Recipe:
        made = recipe(steps)
        outer = made.outer.model_copy(
            update={"from_development": ("backbone.alpha",), "frozen": ("backbone.stem", "log_scale")}
        )
        return made.model_copy(update={"backbone": {"name": "mixed_cells", "n_nodes": 3, "width": 4}, "outer": outer})

    torch.manual_seed(0)
    start = build_algorithm({"name": "protonet"}, searched(1).backbone, (1, 28, 28)).init()
    whole = meta_train(searched(8), splits, tmp_path / "whole", start=start, device="cpu").meta_params
    moved = {name for name, t in whole.items() if not torch.equal(t, start[name]) and "running" not in name}
    assert "backbone.alpha" in moved
    assert not {name for name in moved if name.startswith(("backbone.stem", "log_scale"))}
    assert any(name.startswith("backbone.cells") for name in moved)


def test_a_frozen_backbone_keeps_its_running_statistics(splits: Splits, tmp_path: Path) -> None:
    made = recipe(4, "anil")
    made = made.model_copy(update={"outer": made.outer.model_copy(update={"frozen": ("backbone.",)})})
    torch.manual_seed(0)
    start = build_algorithm(made.algorithm, made.backbone, (1, 28, 28)).init()
    whole = meta_train(made, splits, tmp_path, start=start, device="cpu").meta_params
    assert {name for name, t in whole.items() if not torch.equal(t, start[name])} == {"log_scale"}


def test_tensors_may_have_a_step_size_of_their_own(splits: Splits, tmp_path: Path) -> None:
    made = recipe(4, "meta_sgd")
    outer = made.outer.model_copy(update={"outer_lr": 1e-6, "outer_lr_of": {"alpha.": 1e-2}})
    torch.manual_seed(0)
    start = build_algorithm(made.algorithm, made.backbone, (1, 28, 28)).init()
    ended = meta_train(
        made.model_copy(update={"outer": outer}), splits, tmp_path, start=start, device="cpu"
    ).meta_params
    most = {name: float((t - start[name]).detach().abs().max()) for name, t in ended.items() if "running" not in name}
    weights = [moved for name, moved in most.items() if not name.startswith("alpha.")]
    assert 0 < max(weights) < 1e-6 < 1e-5 < most["alpha.prototypes"]


@pytest.mark.parametrize("looks", [True, False])
def test_a_loss_that_is_no_number_stops_training_before_the_checkpoint(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: bool
) -> None:
    meta_train(recipe(8), splits, tmp_path, device="cpu", on_progress=lambda *_: None)
    (tmp_path / RECIPE).unlink()
    kept, longer = (tmp_path / CHECKPOINT).read_bytes(), recipe(12)
    monkeypatch.setattr(ProtoNet, "head", lambda *_: torch.full((24, 8), torch.nan, requires_grad=True))
    step = 9 if looks else 12
    with pytest.raises(ValueError, match=f"step {step}: training diverged, .* are nan; lower outer_lr"):
        meta_train(longer, splits, tmp_path, device="cpu", on_progress=(lambda *_: None) if looks else None)
    assert (tmp_path / CHECKPOINT).read_bytes() == kept


@pytest.mark.parametrize(("file", "keep"), [(CHECKPOINT, 100), (CHECKPOINT, -10), (LOG, -10), (RECIPE, -10)])
def test_a_damaged_file_is_named(splits: Splits, tmp_path: Path, file: str, keep: int) -> None:
    meta_train(recipe(4), splits, tmp_path, device="cpu")
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"{tmp_path / file}(, line 1)? is damaged \("):
        meta_train(recipe(4), splits, tmp_path, device="cpu")


def test_a_checkpoint_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / CHECKPOINT
    with pytest.raises(OSError, match=f"{path} cannot be written: .*No such file"):
        save(TrainState(1, 0.0, {"w": torch.zeros(2)}, {}, {}), path)


def test_a_save_that_is_interrupted_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, state = tmp_path / CHECKPOINT, TrainState(1, 0.0, {"w": torch.zeros(2)}, {}, {})
    save(state, path)
    kept = path.read_bytes()

    def torn(_: object, file: Path, **__: object) -> None:
        file.write_bytes(kept[:10])
        raise Interrupted

    monkeypatch.setattr(checkpoint, "save_file", torn)
    with pytest.raises(Interrupted):
        save(state, path)
    assert path.read_bytes() == kept


def taught() -> Recipe:
    return recipe(8, "pretrain").model_copy(update={"taught_by": "teacher"})


def test_half_of_a_taught_loss_is_the_distance_to_the_teacher(splits: Splits, tmp_path: Path) -> None:
    ended = meta_train(recipe(8, "pretrain"), splits, tmp_path / "teacher", device="cpu")
    teacher = Teacher.of_run(tmp_path / "teacher", taught(), tmp_path / "taught", torch.device("cpu"))
    inputs, labels = torch.from_numpy(splits.train[0].inputs[:6]).float() / 255, torch.zeros(3, dtype=torch.int64)
    episode = Episode(inputs[:3], labels, inputs[3:], labels, 1, class_ids=torch.tensor([8]))
    learner = build_algorithm(recipe(8, "pretrain").algorithm, recipe(8).backbone, (1, 28, 28))
    assert isinstance(learner, Pretrain)

    def losses(meta_params: Tensors) -> tuple[float, float]:
        two = [meta_loss(learner, meta_params, e, training=False)[0] for e in (episode, teacher(episode))]
        return float(two[0]), float(two[1])

    alone, with_teacher = losses(ended.meta_params)  # who answers as the teacher does is not told anything by it
    assert with_teacher == pytest.approx(alone / 2)
    fresh = learner.init()
    answers = teacher(episode).taught
    assert answers is not None
    apart = float(distance(learner.class_logits(fresh, inputs, training=False), answers))
    alone, with_teacher = losses(fresh)
    assert apart > 0.01
    assert with_teacher == pytest.approx((alone + apart) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("steps", "algorithm", "error"),
    [
        (None, "", "run `innerloop meta-train teacher` first"),
        (2, "pretrain", "step 2 of 8"),
        (8, "protonet", "both must be classifiers"),
    ],
)
def test_a_teacher_is_a_classifier_that_ended(
    splits: Splits, tmp_path: Path, steps: int | None, algorithm: str, error: str
) -> None:
    if steps is not None:
        meta_train(recipe(steps, algorithm), splits, tmp_path / "teacher", device="cpu")
        (tmp_path / "teacher" / RECIPE).write_text(recipe(8, algorithm).model_dump_json())
    with pytest.raises((FileNotFoundError, ValueError), match=error):
        meta_train(taught(), splits, tmp_path / "taught", device="cpu")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"algorithm": {"name": "protonet"}}, "both must be"),
        ({"data": Data(split="vinyals")}, "their classes differ"),
        ({"episodes": {"n_way": 8, "n_shot": 1, "n_query": 3, "symmetries": "turns"}}, "their classes differ"),
    ],
)
def test_only_a_classifier_of_the_same_classes_is_taught(
    splits: Splits, tmp_path: Path, change: dict[str, Any], error: str
) -> None:
    meta_train(recipe(8, "pretrain"), splits, tmp_path / "teacher", device="cpu")
    with pytest.raises(ValueError, match=error):
        meta_train(taught().model_copy(update=change), splits, tmp_path / "taught", device="cpu")


def test_a_teacher_of_other_classes_is_refused_though_the_recipes_agree(splits: Splits, tmp_path: Path) -> None:
    """Where the data are a folder, a recipe does not say what it holds."""
    elsewhere = Splits(splits.development, splits.train, splits.test)
    meta_train(recipe(1, "pretrain"), elsewhere, tmp_path / "teacher", device="cpu")
    learner = recipe(1, "pretrain").model_copy(update={"taught_by": "teacher"})
    with pytest.raises(ValueError, match="their classes differ"):
        meta_train(learner, splits, tmp_path / "taught", device="cpu")


def test_learns_and_logs(splits: Splits, tmp_path: Path) -> None:
    meta_train(recipe(24), splits, tmp_path, device="cpu")
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12, 16, 20, 24]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert 0 <= lines[-1]["5w1s"] <= 1


def test_a_baseline_that_learns_nothing_is_measured(splits: Splits, tmp_path: Path) -> None:
    for _ in range(2):
        model = meta_train(recipe(0, "maml"), splits, tmp_path, device="cpu")
    (line,) = logged(tmp_path)
    assert line["step"] == 0
    assert line["5w1s"] > 0
    assert (tmp_path / CHECKPOINT).exists()
    assert "log_scale" in model.meta_params
    assert plot_log(tmp_path).exists()


def test_the_step_size_never_climbs_once_it_has_fallen() -> None:
    outer = Outer(steps=400).model_copy(update={"horizon": 200})
    shares = [schedule(step, outer) for step in range(100, outer.steps)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0


def test_committed_recipes_are_complete() -> None:
    recipes = {path.stem: load_recipe(path.stem) for path in RECIPES.glob("*.toml")}
    assert {"omniglot-protonet", "omniglot-protonet-vinyals"} <= set(recipes)
    for name, read in recipes.items():
        assert read.name == name
        assert read.initialize_from in {None, *recipes, *ENCODERS}
        build_algorithm(read.algorithm, read.backbone, read.input.shape)


def test_every_algorithm_has_a_recipe() -> None:
    assert {load_recipe(path.stem).algorithm["name"] for path in RECIPES.glob("*.toml")} == set(ALGORITHMS)


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(FileNotFoundError, match="omniglot-protonet"):
        load_recipe("no-such-recipe")
