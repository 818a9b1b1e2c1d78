"""The search that chose a published meta-model's inner loop, once more: `search.jsonl` in its folder.

For those that were published before the log was kept there. Development classes alone are read.

    python -m benchmarks.search omniglot-reptile sound-anil --data data
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from meta_models.benchmark import recipe_of
from meta_models.catalogue import Catalogue
from meta_models.publish import write_manifest
from meta_models.search import SEARCH_LOG, best_of, keep_log, search
from meta_models.sources import load_splits
from meta_models.torch_model import TorchModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data", type=Path, default=Path("data"))
    options, console, catalogue = parser.parse_args(), Console(), Catalogue()
    for name in options.names:
        published = catalogue.resolve(name)
        manifest, folder = published.manifest, published.folder
        recipe = recipe_of(manifest)
        console.print(manifest.reference)
        model = TorchModel.load(folder, manifest)
        pools = load_splits(options.data, recipe, Path("runs/cache")).development
        tried = search(model, recipe, pools, folder / SEARCH_LOG, lambda text: console.print(text, highlight=False))
        write_manifest(keep_log(manifest, folder / SEARCH_LOG, folder), folder)
        _, best = best_of(tried)
        console.print(f"best now: {best}; served: {model.algorithm.inner}", highlight=False)


if __name__ == "__main__":
    main()
