"""Words a stored quality: class numbers become names, figures become advice."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

import numpy as np

from adapter.models import ClassCount
from adapter.quality import Comparison, Quality
from api.schemas_quality import ClassChange, ClassQuality, ExamplesComparison, ModelQuality, SuspiciousExample
from meta_models.measures import wilson

ENOUGH = 5
"""Examples a class; fewer bring advice to add some."""

SHOWN = 5
"""Classes named one by one before the rest are counted."""


def word(quality: Quality, classes: tuple[ClassCount, ...]) -> ModelQuality:
    """What a client reads; `classes` are in canonical order."""
    names = [c.name for c in classes]
    ends = accumulate(c.examples for c in classes)
    answers = [quality.given[end - c.examples : end] for c, end in zip(classes, ends, strict=True)]
    right, n = sum(a.count(i) for i, a in enumerate(answers)), sum(a >= 0 for a in quality.given)
    per_class = sorted((_of_class(i, classes, a) for i, a in enumerate(answers)), key=lambda c: c.name)
    return ModelQuality(
        method=quality.method,
        folds=quality.folds,
        n=n,
        accuracy=right / n if n else None,
        ci95=wilson(right, n) if n else None,
        calibration_error=quality.calibration_error,
        per_class=per_class,
        suspicious=[
            SuspiciousExample(
                example=s.example,
                source=s.source,
                label=names[s.label],
                looks_like=names[s.looks_like],
                probability=s.probability,
            )
            for s in quality.suspicious
        ],
        warnings=_advice(quality, per_class, names, n),
    )


def word_comparison(compared: Comparison) -> ExamplesComparison:
    """Old examples before and after, with a verdict."""
    difference, low, high = compared.difference
    chance = "the old classes are as good as before, within chance"
    verdict = "the old classes got worse" if high < 0 else "the old classes got better" if low > 0 else chance
    names = np.array(compared.names)
    return ExamplesComparison(
        n=len(names),
        before=float(compared.before.mean()),
        after=float(compared.after.mean()),
        difference=difference,
        ci95=(low, high),
        verdict=verdict,
        per_class=[
            ClassChange(
                name=str(name),
                n=int((names == name).sum()),
                before=float(compared.before[names == name].mean()),
                after=float(compared.after[names == name].mean()),
            )
            for name in np.unique(names)
        ],
    )


def _of_class(i: int, classes: tuple[ClassCount, ...], answers: tuple[int, ...]) -> ClassQuality:
    wrong = Counter(a for a in answers if a >= 0)
    n, right = wrong.total(), wrong.pop(i, 0)
    return ClassQuality(
        name=classes[i].name,
        examples=classes[i].examples,
        n=n,
        accuracy=right / n if n else None,
        ci95=wilson(right, n) if n else None,
        mistaken_for=classes[min(wrong, key=lambda a: (-wrong[a], a))].name if wrong else None,
    )


def _advice(quality: Quality, per_class: list[ClassQuality], names: list[str], n: int) -> list[str]:
    advice: list[str] = []
    few = sorted((c for c in per_class if c.examples < ENOUGH), key=lambda c: c.examples)
    for c in few[:SHOWN]:
        one = c.examples == 1
        found = "1 example, which cannot check itself" if one else f"{c.examples} examples"
        advice.append(f"class '{c.name}' has {found}; add {ENOUGH - c.examples}")
    if len(few) > SHOWN:
        advice.append(f"{len(few) - SHOWN} more classes have fewer than {ENOUGH} examples; add some to each")
    if n == 0:
        advice.append("no class has two different examples, so accuracy cannot be measured; add a second to each")
    weak = [c for c in per_class if c.n >= 3 and c.accuracy is not None and c.accuracy <= 0.5]
    for c in weak[:SHOWN]:
        taken = f", most often for '{c.mistaken_for}'" if c.mistaken_for else ""
        advice.append(
            f"class '{c.name}' is mistaken in {c.n - round((c.accuracy or 0) * c.n)} of {c.n} cases{taken}; "
            "add examples that show the difference"
        )
    if quality.suspicious:
        count = len(quality.suspicious)
        advice.append(f"{count} example{'s look' if count > 1 else ' looks'} like another class; see suspicious")
    pairs = sorted(sorted((names[a], names[b])) for a, b in quality.twins)
    shared = [f"classes '{a}' and '{b}' share an example; remove it from one" for a, b in pairs]
    return advice + shared + list(quality.doubts)
