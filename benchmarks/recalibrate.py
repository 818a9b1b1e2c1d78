"""Temperatures and rejection thresholds of published meta-models once more, on development episodes, as publishing fits
them: those of settings that the card has no accuracy of, and so no calibration error.

    python -m benchmarks.recalibrate omniglot-maml omniglot-reptile
"""

from __future__ import annotations

import argparse
from pathlib import Path

from meta_models.benchmark import Subject, recipe_of
from meta_models.calibrate import GRID, calibrate
from meta_models.catalogue import Catalogue
from meta_models.produce import n_calibrating
from meta_models.publish import write_manifest
from meta_models.sources import load_splits
from meta_models.torch_model import TorchModel

NOTE = "Temperatures and thresholds of settings without an accuracy here were fitted once more."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    for name in arguments.names:
        published = Catalogue().resolve(name)
        manifest = published.manifest
        shown = {(figure.n_way, figure.n_shot) for figure in manifest.benchmarks}
        pools = load_splits(arguments.data, recipe_of(manifest)).development
        n_episodes = n_calibrating(TorchModel.load(published.folder, manifest), pools)
        grid = [setting for setting in GRID if setting not in shown]
        entries = {(entry.n_way, entry.n_shot): entry for entry in manifest.calibration}
        for new in calibrate(Subject(published, ()).path, pools, n_episodes, grid=grid):
            old = entries.get((new.n_way, new.n_shot))
            print(f"{manifest.reference} {new.n_way}w{new.n_shot}s: {old and old.temperature} → {new.temperature}")
            entries[new.n_way, new.n_shot] = new
        calibration = tuple(entries[setting] for setting in sorted(entries))
        notes = f"{NOTE} {manifest.training.notes.removeprefix(NOTE).strip()}".strip()
        training = manifest.training.model_copy(update={"notes": notes})
        write_manifest(manifest.model_copy(update={"calibration": calibration, "training": training}), published.folder)


if __name__ == "__main__":
    main()
