"""What development classes say of a published meta-model, once more: the log of the search for its inner loop, and its
development accuracy. For those that were published before these were kept.

    python -m benchmarks.development omniglot-reptile omniglot-protonet --data data
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from meta_models.benchmark import recipe_of
from meta_models.catalogue import Catalogue
from meta_models.produce import development_percent
from meta_models.publish import write_manifest
from meta_models.search import SEARCH_LOG, best_of, keep_log, search
from meta_models.serving import ServedModel
from meta_models.serving_path import ServingPath
from meta_models.sources import load_splits
from meta_models.torch_model import TorchModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data", type=Path, default=Path("data"))
    options, console, catalogue = parser.parse_args(), Console(highlight=False), Catalogue()
    for name in options.names:
        published = catalogue.resolve(name)
        manifest, folder = published.manifest, published.folder
        recipe = recipe_of(manifest)
        if recipe.outer.all_classes_steps:
            parser.error(f"{name} learned from its development classes at the end: they can judge it no more")
        console.print(manifest.reference)
        model = TorchModel.load(folder, manifest)
        pools = load_splits(options.data, recipe, Path("runs/cache")).development
        if recipe.search.inner_steps:
            with tempfile.TemporaryDirectory() as elsewhere:  # what is published stays whole until the search has ended
                log = Path(elsewhere) / SEARCH_LOG
                _, best = best_of(search(model, recipe, pools, log, console.print))
                manifest = keep_log(manifest, log, folder)
                write_manifest(manifest, folder)
            console.print(f"best now: {best}; served: {model.algorithm.inner}")
        found = development_percent(ServingPath(ServedModel(folder, manifest), model), recipe, pools)
        console.print(f"{found}% on development episodes; its card said {manifest.training.development_accuracy}")
        training = manifest.training.model_copy(update={"development_accuracy": found})
        write_manifest(manifest.model_copy(update={"training": training}), folder)


if __name__ == "__main__":
    main()
