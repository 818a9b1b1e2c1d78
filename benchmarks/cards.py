"""Cards of meta-models that are meta-trained to be measured, not published: kept as lines of a file, without weights
and calibration, for the table of `innerloop benchmark accuracy`.

    python -m benchmarks.cards runs/zoo/omniglot-*-vinyals
"""

from __future__ import annotations

import argparse
from pathlib import Path

from meta_models import jsonl
from meta_models.catalogue import Catalogue
from meta_models.manifest import read_manifest
from meta_models.report import CARDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="published folders")
    folders = parser.parse_args().folders
    if published := {folder.name for folder in folders} & {one.manifest.name for one in Catalogue()}:
        parser.error(f"{min(published)} is published: the table has its own card")
    found = {card["name"]: card for card in jsonl.read(CARDS)}
    for folder in folders:
        card = read_manifest(folder).model_copy(update={"calibration": (), "files": {}})
        found[card.name] = card.model_dump(mode="json")
    jsonl.write(CARDS, (found[name] for name in sorted(found)))


if __name__ == "__main__":
    main()
