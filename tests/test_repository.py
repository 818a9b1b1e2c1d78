"""Promises about the repository itself."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from adapter.config import Settings

ROOT = Path(__file__).parent.parent
SOURCES = [path for name in ("api", "adapter", "meta_models", "innerloop") for path in (ROOT / name).rglob("*.py")]


def test_the_api_process_never_imports_torch() -> None:
    program = "import sys, api.app; api.app.create_app(); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "False"


def test_onnx_runtime_tells_nobody(tmp_path: Path) -> None:
    """Its telemetry begins with a file in the home folder; where it sees a CI it is off by itself."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS")}  # noqa: TID251
    program = "import meta_models.serving, time; time.sleep(0.5)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env={**kept, "HOME": str(tmp_path)})
    assert not list(tmp_path.iterdir())


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    missing = [name for name in Settings.model_fields if f"`INNERLOOP_{name.upper()}`" not in text]
    assert not missing


def test_every_promise_names_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "promises.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert named
    for path, function in named:
        source = (ROOT / path).read_text()
        assert not function or f"def {function}(" in source, f"{path} has no {function}"


def test_no_code_in_data_formats() -> None:
    """Promise 8: no pickle and no torch.load anywhere, no eval."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "cloudpickle", "dill", "marshal", "joblib"} & set(names), path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"torch.load", "eval", "exec"}, f"{path}:{node.lineno}"
