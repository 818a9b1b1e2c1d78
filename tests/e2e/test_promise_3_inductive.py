"""Promise 3: predict([q]) == predict([q, anything…])[0], exactly, in the service."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from innerloop.embedded import Embedded
from tests.asking import META_MODELS, adapt, drawn, predict
from tests.drawings import b64, encoded, png, sketch


@pytest.fixture(scope="module")
def company() -> list[bytes]:
    """Forty inputs of every sort: of the classes, of none, inverted, tiny, large."""
    sorts = [
        lambda i: png(2200 + i % 5, 200 + i),
        lambda i: png(2300 + i, 0),
        lambda i: encoded(sketch(2200 + i % 5, i, paper=0, ink=255)),
        lambda i: png(2200 + i % 5, i, size=24),
        lambda i: encoded(sketch(2200 + i % 5, i, size=300), "JPEG", quality=20),
    ]
    return [sorts[i % len(sorts)](i) for i in range(40)]


@pytest.fixture(scope="module", params=META_MODELS)
def model(request: pytest.FixtureRequest, server: Embedded) -> Iterator[str]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        adaptation = {"inner_steps": 3} if request.param == "omniglot-maml" else {}
        yield adapt(client, drawn(5, 2, first=2200), meta_model=request.param, adaptation=adaptation)["id"]


def test_first_answer_is_the_same_in_any_company(http: httpx.Client, model: str, company: list[bytes]) -> None:
    query = png(2200, 100)
    alone = predict(http, model, [query])[0]
    for size in range(1, 41):
        assert predict(http, model, [query, *company[: size - 1]])[0] == alone, f"differs in a batch of {size}"


def test_each_answer_is_the_same_at_any_place(http: httpx.Client, model: str, company: list[bytes]) -> None:
    together = predict(http, model, company)
    for place, data in enumerate(company):
        assert {**predict(http, model, [data])[0], "id": f"q{place}"} == together[place], f"differs at {place}"


def test_large_batch_answers_as_one_by_one(http: httpx.Client, model: str, company: list[bytes]) -> None:
    """More inputs than one run of the graph takes."""
    few = predict(http, model, company)
    many = predict(http, model, company * 7 + company[:13])
    assert [{**r, "id": f"q{i % 40}"} for i, r in enumerate(many)] == few * 7 + few[:13]


def test_broken_company_changes_nothing(http: httpx.Client, model: str) -> None:
    query = png(2201, 100)
    alone = predict(http, model, [query])[0]
    for broken in (b"not an image", b"", encoded(sketch(1, 1, ink=255))):
        inputs = [{"image": b64(broken)}, {"id": "q0", "image": b64(query)}, {"image": b64(broken)}]
        answer = http.post(f"/v1/models/{model}/predictions", json={"inputs": inputs, "top_k": 200})
        assert answer.status_code == 200, answer.text
        assert answer.json()["results"][1] == alone


def test_classify_is_inductive_too(http: httpx.Client, company: list[bytes]) -> None:
    support = [{"label": label, "input": {"image": b64(data)}} for label, data in drawn(3, 1, first=2200)]

    def classify(images: list[bytes]) -> list[dict[str, object]]:
        answer = http.post("/v1/classify", json={"support": support, "inputs": [{"image": b64(i)} for i in images]})
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    assert [classify([data])[0] for data in company[:7]] == classify(company)[:7]
