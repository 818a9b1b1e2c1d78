"""Finds published meta-models: those of this repository and those in a user's own folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from meta_models.inputs import InputSpec
from meta_models.manifest import COMMITTED, MANIFEST_FILE, NAME, Manifest, ManifestError, read_manifest

ZOO = Path(__file__).parent / "zoo"

ALIASES = {
    "drawing": "L",
    "photo": "CIFAR-FS",
    "sound": "keywords",
    "text": "CLINC150",
    "vector": "BANKING77 embeddings",
}
"""Alias of a kind, and the protocol that its members are reported by. It stands for the one that is best on development
classes; accuracies on classes of other protocols, or of one's own, are not comparable."""

DEFAULT_ALIAS = {"audio": "sound", "image": "drawing", "text": "text", "vector": "vector"}
"""What `meta_model` means when a client leaves it out, by modality; of pictures, while no photo meta-model is there."""


class UnknownMetaModelError(KeyError):
    """No published meta-model has that name."""


@dataclass(frozen=True)
class Published:
    """A folder and its verified manifest."""

    folder: Path
    manifest: Manifest


class Catalogue:
    """All published meta-models, read and verified once.

    Iterating gives one version of each, the one that its name means; others may lie beside it, for the models that were
    adapted from them.
    """

    def __init__(self, extra: Path | None = None) -> None:
        """Reads the zoo, then `extra`, whose names or versions must be others.

        Raises:
            ManifestError: `extra` is no folder; one in it is incomplete or damaged, or has name and version of another.
        """
        if extra and not extra.is_dir():
            raise ManifestError(f"INNERLOOP_META_MODELS_DIR: {extra.absolute()} is no folder")
        self._published: dict[str, Published] = {}
        self._named: dict[str, Published] = {}
        for root in [ZOO, *([extra] if extra and extra.resolve() != ZOO.resolve() else [])]:
            for path in sorted(root.glob(f"[!.]*/{MANIFEST_FILE}")):
                manifest = read_manifest(path.parent)
                if there := self._published.get(manifest.reference):
                    raise ManifestError(
                        f"{path.parent} and {there.folder} both hold a meta-model {manifest.reference}, and answers "
                        "would change with which one is served; publish yours under another name, or move its folder "
                        "away"
                    )
                self._published[manifest.reference] = found = Published(path.parent, manifest)
                # A name stands for what comes with this package, whatever lies beside it, else for the newest.
                named = self._named.setdefault(manifest.name, found)
                if named.folder.parent != ZOO and named.manifest.version < manifest.version:
                    self._named[manifest.name] = found

    def __iter__(self) -> Iterator[Published]:
        return iter(self._named.values())

    @property
    def versions(self) -> Collection[Published]:
        """Every version of each."""
        return self._published.values()

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Each alias with the name it stands for: the best of its kind."""
        best: dict[str, str] = {}
        for manifest in reversed(self._by_merit()):
            best[manifest.input.kind] = manifest.name
        return best

    def ranked(self, spec: InputSpec) -> list[Manifest]:
        """Those that read inputs as `spec` does, the best first."""
        return [m for m in self._by_merit() if m.input.model_dump() == spec.model_dump()]

    def _by_merit(self) -> list[Manifest]:
        found = [(merit, p.manifest) for p in self if (merit := _merit(p.manifest)) is not None]
        return [manifest for _, manifest in sorted(found, key=lambda pair: (-pair[0], pair[1].name))]

    def resolve(self, reference: str) -> Published:
        """By name, `name@version` or alias; a name without a version stands for the version that iterating gives.

        Raises:
            UnknownMetaModelError: the message lists what there is.
        """
        name, _, version = reference.partition("@")
        name = self.aliases.get(name, name)
        found = self._published.get(f"{name}@{version}") if version else self._named.get(name)
        if found is None:
            known = ", ".join(sorted([*self.aliases, *self._published]))
            raise UnknownMetaModelError(f"no meta-model {reference!r}; there are: {known}")
        return found


def why_no_name(name: str) -> str | None:
    """What keeps a meta-model of one's own from being called so; None: nothing."""
    if not re.fullmatch(NAME, name) or name in (*ALIASES, "auto"):
        return f"{name!r} cannot be a name: 2 to 41 of a-z, 0-9 and -, and no alias, is needed"
    if (ZOO / name / MANIFEST_FILE).exists():
        return f"{name} comes with this package, and its models would be lost to another; choose a name like my-{name}"
    return None


def _merit(manifest: Manifest) -> float | None:
    """What it is compared by with others of its kind; None where that was not measured, or not by its protocol, or by a
    recipe of one's own, whose development episodes may be easier."""
    reported_by = {figure.protocol for figure in manifest.benchmarks}
    comparable = ALIASES.get(manifest.input.kind) in reported_by and manifest.training.recipe.startswith(COMMITTED)
    return manifest.training.development_accuracy if comparable else None
