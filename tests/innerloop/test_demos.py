"""What `innerloop demo` tells scripts; what it plays is tried by modality."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from innerloop.cli import app
from innerloop.embedded import Embedded


@pytest.mark.parametrize(
    ("of", "module", "columns"),
    [
        ("photos", "photos", {"innerloop", "mean_colour"}),
        ("vectors", "vectors", {"table", "innerloop", "logistic_regression"}),
        ("text", "texts", {"innerloop", "labels_that_say_nothing", "logistic_regression"}),
        ("sounds", "sounds", {"noise", "innerloop"}),
    ],
)
def test_a_demo_in_json_has_what_its_table_shows(
    server: Embedded, monkeypatch: pytest.MonkeyPatch, of: str, module: str, columns: set[str]
) -> None:
    monkeypatch.setattr(f"innerloop.demo_{module}.SHOTS", (2,))
    monkeypatch.setattr(f"innerloop.demo_{module}.N_QUERY", 3, raising=False)
    monkeypatch.setattr("innerloop.demo_vectors.TABLES", ("iris",))
    ran = CliRunner().invoke(app, ["demo", of, "--rounds", "2", "--url", server.url, "--json"])
    assert ran.exit_code == 0, ran.output
    for row in json.loads(ran.stdout):
        assert row.keys() == {"n_shot", "rounds", *columns}
        assert (row["n_shot"], row["rounds"]) == (2, 2)
        assert 0 < row["innerloop"]["accuracy"] <= 100
        assert row["innerloop"]["ci95"] >= 0


@pytest.mark.parametrize(
    ("picture", "told"), [("no/such/x.png", "there is no folder no/such"), ("x.foo", "ends with .png")]
)
def test_where_no_picture_can_be_is_told_before_anything_is_played(picture: str, told: str) -> None:
    for of in ((), ("text",)):
        ran = CliRunner().invoke(app, ["demo", *of, "--picture", picture, "--url", "http://é..x", "--json"])
        assert (ran.exit_code, told in json.loads(ran.stderr)["error"]["detail"]) == (2, True), ran.output


def test_a_demo_at_no_address_says_so() -> None:
    ran = CliRunner().invoke(app, ["demo", "--url", "http://é..x"])
    assert (ran.exit_code, "is no address of a server" in " ".join(ran.output.split())) == (1, True), ran.output
