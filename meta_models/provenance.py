"""Where a meta-model's data come from and under which licence, as its card says."""

from __future__ import annotations

from pathlib import PurePosixPath

from meta_models.recipe import COMMITTED, Recipe
from meta_models.splits import Splits

VECTORS = {
    "data": "all-MiniLM-L6-v2 embeddings of BANKING77 and CLINC150 training classes, omniglot-protonet embeddings of "
    "Omniglot background alphabets, UCI digits, and random features of these",
    "licence": "CC BY 4.0 (BANKING77, digits), CC BY 3.0 (CLINC150), MIT (Omniglot), Apache-2.0 (encoder)",
    "source": "https://github.com/PolyAI-LDN/task-specific-datasets, https://github.com/clinc/oos-eval, "
    "https://github.com/brendenlake/omniglot, https://archive.ics.uci.edu/dataset/80",
}

TEXT = {
    "data": "BANKING77 and CLINC150, training classes of fold {fold}; the encoder all-MiniLM-L6-v2 saw a billion pairs "
    "of sentences before",
    "licence": "CC BY 4.0 (BANKING77), CC BY 3.0 (CLINC150), Apache-2.0 (encoder)",
    "source": "https://github.com/PolyAI-LDN/task-specific-datasets, https://github.com/clinc/oos-eval, "
    "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
}

SOUNDS = {
    "data": "Arabic Speech Commands, 22 keywords by 18 speakers (792 clips of a second), and ESC-10, 5 classes of 40 "
    "sounds: very little; chosen by 8 other keywords of 6 other speakers, reported on 10 more of 6 more",
    "licence": "CC BY 4.0 (Arabic Speech Commands), CC0 and CC BY 3.0 by clip (ESC-10)",
    "source": "https://doi.org/10.5281/zenodo.4662481, https://github.com/karoldvl/ESC-10",
}

PHOTOS = {
    "data": "CIFAR-100, the 64 training classes of CIFAR-FS, 600 photographs of 32 x 32 each",
    "licence": "not stated by its authors; cite Krizhevsky (2009), Learning multiple layers of features",
    "source": "https://www.cs.toronto.edu/~kriz/cifar.html",
}

OMNIGLOT = {"licence": "MIT", "source": "https://github.com/brendenlake/omniglot"}


def provenance(recipe: Recipe, splits: Splits) -> dict[str, str]:
    """The members `recipe`, `data`, `licence` and `source` of a card."""
    read = {"recipe": recipe.file or "made in Python"}
    if recipe.data.name == "folder":
        pools = (*splits.train, *(splits.development if recipe.outer.all_classes_steps else ()))
        n = sum(len(rows) for pool in pools for rows in pool.class_examples)
        n_classes = sum(pool.n_classes for pool in pools)
        about = {"data": f"{n} examples of {n_classes} classes of one's own", "licence": "not stated"}
        return {**about, **read, "source": "a folder"}
    if recipe.data.name == "vectors":
        return {**VECTORS, **read}
    if recipe.data.name == "sounds":
        return {**SOUNDS, **read}
    if recipe.data.name == "photos":
        return {**PHOTOS, **read}
    if recipe.data.name == "text":
        return {**TEXT, "data": TEXT["data"].format(fold=recipe.data.fold), **read}
    parts = "training and validation" if recipe.outer.all_classes_steps else "training"
    classes = {"background": "background alphabets", "vinyals": f"Vinyals et al. (2016) {parts} characters"}
    return {**OMNIGLOT, "data": f"Omniglot, {classes[recipe.data.split]}", **read}


def command(recipe: Recipe) -> str:
    """What makes the same meta-model again."""
    file = PurePosixPath(recipe.file or recipe.name)
    read = file.stem if str(file.parent) == COMMITTED else file.name
    return f"innerloop meta-train {read}" + (" --data FOLDER" if recipe.data.name == "folder" else "")
