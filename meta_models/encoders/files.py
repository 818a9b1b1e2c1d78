"""Where an encoder's files are: a folder, an ONNX file in one, or a name on the Hugging Face hub."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meta_models.datasets import DataError
from meta_models.encoders import EncoderError

USUAL = ("model.onnx", "onnx/model.onnx")
BESIDE = (
    "README.md",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
"""Files that say how an encoder reads its inputs, its licence among them; each may be absent. Nothing else is fetched
but the graph and its weights: no code and no pickles."""

NOT_STATED = "not stated"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class EncoderFiles:
    """Attributes:
    model: the ONNX file.
    folder: where `BESIDE` are.
    name: for people.
    licence, source: as far as they are known.
    """

    model: Path
    folder: Path
    name: str
    licence: str
    source: str

    def config(self, name: str) -> dict[str, Any]:
        """One of the JSON files of `BESIDE`, empty where it is absent.

        Raises:
            EncoderError: it holds no JSON object.
        """
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise EncoderError(f"{name} is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise EncoderError(f"{name} must hold an object")
        return found


def find_encoder(
    where: str,
    file: str | None = None,
    *,
    revision: str = "main",
    cache: Path = Path("runs/encoders"),
    endpoint: str | None = None,
) -> EncoderFiles:
    """A folder, an ONNX file, or `organisation/name` on the hub.

    Args:
        where: which of the three; what is on this machine comes first.
        file: which ONNX file of the folder, where there are several.
        revision: branch, tag or commit on the hub.
        cache: where downloads go.
        endpoint: of the hub, or of a mirror; by default huggingface.co, or what HF_ENDPOINT says.

    Raises:
        EncoderError: it is nowhere, or does not say which graph.
        DataError: the hub does not answer, or not with these files.
    """
    path = Path(where)
    if path.is_file():
        inner = path.parent.name == "onnx" and not any((path.parent / name).is_file() for name in BESIDE)
        folder = path.parent.parent if inner else path.parent
        return _described(path, folder, path.stem if path.stem != "model" else folder.resolve().name, "a file")
    if path.is_dir():
        graphs = [found.relative_to(path).as_posix() for found in sorted(path.rglob("*.onnx"))]
        return _described(path / _choose(where, graphs, file), path, path.resolve().name, "a folder")
    if not _HUB_NAME.fullmatch(where):
        raise EncoderError(f"{where} is no folder, no file, and no name on the hub such as organisation/name")
    return _download(where, file, revision, cache, endpoint)


def _choose(where: str, graphs: Sequence[str], wanted: str | None) -> str:
    if not graphs:
        raise EncoderError(f"{where} holds no ONNX file; `optimum-cli export onnx` makes one of most models")
    found = [wanted] if wanted else [name for name in USUAL if name in graphs] or graphs
    if found[0] not in graphs or (len(graphs) > 1 and found is graphs):
        said = f"no {wanted}" if wanted else "several ONNX files and none named model.onnx"
        raise EncoderError(f"{where} holds {said}; choose one with --file: {', '.join(graphs)}")
    return found[0]


def _download(name: str, file: str | None, revision: str, cache: Path, endpoint: str | None) -> EncoderFiles:
    from huggingface_hub import HfApi

    api = HfApi(endpoint, library_name="innerloop")
    try:
        info = api.model_info(name, revision=revision)
        there = [sibling.rfilename for sibling in info.siblings or ()]
        graph = _choose(name, [path for path in there if path.endswith(".onnx")], file)
        folder = cache / name.replace("/", "--") / str(info.sha)
        weights = [path for path in there if path.startswith((f"{graph}_data", f"{graph}.data"))]
        for path in [graph, *weights, *(path for path in BESIDE if path in there)]:
            api.hf_hub_download(name, path, revision=info.sha, local_dir=folder)
    except EncoderError:
        raise
    except Exception as error:  # the hub's library raises those of its HTTP client, which differs by version
        raise DataError(
            f"{name} cannot be downloaded from the hub: {error}. A folder with its files will do: --encoder FOLDER"
        ) from error
    return _described(folder / graph, folder, name, f"{api.endpoint}/{name}/tree/{info.sha}")


def _described(model: Path, folder: Path, name: str, source: str) -> EncoderFiles:
    """With the licence that the front matter of its README names."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    stated = re.search(r"^license:[ \t]*[\"']?([^\s\"'#]+)", front[1], re.MULTILINE) if front else None
    return EncoderFiles(model, folder, name, stated[1] if stated else NOT_STATED, source)
