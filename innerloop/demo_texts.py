"""Few-shot on short texts, through HTTP: what a shop's customers write, with and without telling class names.

The texts were written for this demo; accuracy on data that others collected is in the cards of the text meta-models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from innerloop.estimator import FewShotClassifier

SHOTS = (1, 2, 5)

MESSAGES: dict[str, tuple[str, ...]] = {
    "late delivery": (
        "my order should have been here on monday",
        "it's been two weeks and still nothing in the mail",
        "where is my parcel?",
        "tracking hasn't moved for five days",
        "you promised next day shipping and it is friday now",
        "the courier never showed up",
        "how much longer do I have to wait for my shoes",
        "no sign of the package so far",
        "is my shipment lost?",
        "still waiting on the second box",
    ),
    "refund": (
        "please give me my money back",
        "when will the amount be back on my card",
        "I returned it last week and have not been reimbursed",
        "I'd like to be repaid for the cancelled item",
        "you still owe me 40 euros",
        "how do I claim back what I paid",
        "I was told you'd return the payment within 3 days",
        "can I have cash instead of a voucher",
        "my bank shows no credit from you",
        "reimburse me for the shipping costs too",
    ),
    "damaged item": (
        "the lamp arrived in pieces",
        "one of the glasses has a crack",
        "there is a big scratch on the screen",
        "box was crushed and the toy inside is broken",
        "it stopped working after one day",
        "the zipper came off the first time I used it",
        "the mirror was shattered when I opened it",
        "my kettle leaks",
        "stains all over the sofa cover out of the packaging",
        "the handle is bent",
    ),
    "login problem": (
        "I can't get into my account",
        "it says my password is wrong but it isn't",
        "the reset email never comes",
        "locked out after three attempts",
        "your site keeps logging me out",
        "I forgot which address I signed up with",
        "the verification code doesn't arrive on my phone",
        "my username is not recognised",
        "how do I change my password",
        "sign in just spins forever",
    ),
    "invoice": (
        "could you send me the bill for order 1182",
        "I need a receipt with my company's name on it",
        "the VAT number is missing",
        "where can I download my invoices",
        "please correct the billing address on the document",
        "our accountant needs the statement for march",
        "the invoice lists an item I didn't buy",
        "I need proof of purchase for my insurance",
        "can I get the receipt as a pdf",
        "the amount billed doesn't match the order confirmation",
    ),
    "size advice": (
        "is the jacket true to size?",
        "I am between M and L, which one should I take",
        "how long are the sleeves in centimetres",
        "do these boots run small",
        "I usually wear 38, will that fit",
        "what are the measurements of the waist",
        "my feet are wide, is this model ok",
        "is the dress meant to be loose",
        "what does size 3 correspond to in europe",
        "how tall is the model in the photo and what size does she wear",
    ),
    "cancel order": (
        "I ordered by mistake, please stop it",
        "don't ship it, I changed my mind",
        "can I still withdraw my purchase from this morning",
        "remove one of the two identical orders",
        "I want to call off the order",
        "please do not process order 992",
        "I clicked buy twice, drop one of them",
        "stop the delivery, I found it cheaper",
        "I no longer need the chairs I ordered an hour ago",
        "undo my last purchase",
    ),
    "praise": (
        "fantastic service, thank you!",
        "the quality is even better than I hoped",
        "my daughter loves it",
        "best shop I have used in years",
        "you solved my problem in five minutes, great",
        "such a lovely handwritten note in the box",
        "arrived early and beautifully wrapped",
        "I'll recommend you to all my friends",
        "super friendly support",
        "ten out of ten, would buy again",
    ),
}


def play(make: Callable[[], FewShotClassifier], n_shot: int, rounds: int) -> NDArray[np.float64]:
    """(rounds, 3) accuracy in percent with `n_shot` examples a class: with class names, with labels that say nothing,
    and of logistic regression on counted words, all on the same support sets."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    numbers = {name: f"class {i}" for i, name in enumerate(MESSAGES)}
    found: list[list[float]] = []
    for number in range(rounds):
        rng = np.random.default_rng((number, n_shot))
        drawn = {name: [texts[i] for i in rng.permutation(len(texts))] for name, texts in MESSAGES.items()}
        support, labels = _flat({name: texts[:n_shot] for name, texts in drawn.items()})
        queries, truth = _flat({name: texts[n_shot:] for name, texts in drawn.items()})
        counted = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
        found.append(
            [
                100 * make().fit(support, labels).score(queries, truth),
                100 * make().fit(support, [numbers[y] for y in labels]).score(queries, [numbers[y] for y in truth]),
                100 * float(counted.fit(support, labels).score(queries, truth)),
            ]
        )
    return np.array(found)


def _flat(texts: dict[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    pairs = [(text, name) for name, given in texts.items() for text in given]
    return [text for text, _ in pairs], [name for _, name in pairs]
