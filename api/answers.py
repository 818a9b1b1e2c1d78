"""What a server answered, rounded, as the OpenAPI document shows it: two drawings of each of two classes, then a third
class."""

from __future__ import annotations

from typing import Any

_ID = "mdl_2f6d0c3e9f0b4d7c8a55f3e1c9b7a6d4"

_CLASSES = [{"name": "ka", "examples": 2}, {"name": "na", "examples": 2}]

_ADAPTATION = {"inner_steps": None, "inner_lr": None}

_OLD: dict[str, Any] = {
    "method": "leave_one_out",
    "folds": None,
    "n": 4,
    "accuracy": 1.0,
    "ci95": [0.5101, 1.0],
    "calibration_error": 0.0,
    "per_class": [
        {"name": "ka", "examples": 2, "n": 2, "accuracy": 1.0, "ci95": [0.3424, 1.0], "mistaken_for": None},
        {"name": "na", "examples": 2, "n": 2, "accuracy": 1.0, "ci95": [0.3424, 1.0], "mistaken_for": None},
    ],
    "suspicious": [],
    "warnings": ["class 'ka' has 2 examples; add 3", "class 'na' has 2 examples; add 3"],
}
"""Quality of the two classes."""

_THIRD = {"name": "ma", "examples": 1, "n": 0, "accuracy": None, "ci95": None, "mistaken_for": None}

_MODEL: dict[str, Any] = {
    "id": _ID,
    "object": "model",
    "status": "ready",
    "version": 1,
    "latest_version": 1,
    "stable_version": 1,
    "name": "letters",
    "meta_model": "omniglot-protonet@1",
    "modality": "image",
    "digest": "sha256:85079a4077ac1840a819c52f06ec838db6690f355b92044464f976d4d0a317a5",
    "classes": _CLASSES,
    "adaptation": _ADAPTATION,
    "selection": None,
    "false_reject_rate": None,
    "quality": _OLD,
    "timings_ms": {"queue": 1.0, "adapt": 9.548, "total": 12.0},
    "created_at": "2026-06-01T12:18:05.243000Z",
    "expires_at": "2026-06-08T12:18:05.243000Z",
    "error": None,
}

_VERSION: dict[str, Any] = {
    "object": "version",
    "model": _ID,
    "version": 2,
    "status": "ready",
    "stable": False,
    "digest": "sha256:af81bb307a983e663828bbf530d304990822cf10c833dc76b237279afc71a27c",
    "classes": [*_CLASSES, {"name": "ma", "examples": 1}],
    "adaptation": _ADAPTATION,
    "change": {
        "kind": "examples_added",
        "base": 1,
        "added": 1,
        "removed": 0,
        "old_examples": {
            "n": 4,
            "before": 1.0,
            "after": 1.0,
            "difference": 0.0,
            "ci95": [-0.3267, 0.3267],
            "verdict": "the old classes are as good as before, within chance",
            "per_class": [
                {"name": "ka", "n": 2, "before": 1.0, "after": 1.0},
                {"name": "na", "n": 2, "before": 1.0, "after": 1.0},
            ],
        },
    },
    "quality": {
        **_OLD,
        "calibration_error": 0.0001,
        "per_class": [*_OLD["per_class"], _THIRD],
        "warnings": ["class 'ma' has 1 example, which cannot check itself; add 4", *_OLD["warnings"]],
    },
    "timings_ms": {"queue": 7.0, "adapt": 1.693, "total": 9.0},
    "created_at": "2026-06-01T12:18:06.285000Z",
    "error": None,
}

_META_MODEL: dict[str, Any] = {
    "name": "omniglot-protonet",
    "version": 1,
    "reference": "omniglot-protonet@1",
    "object": "meta_model",
    "description": "Handwritten characters and simple drawings; classifies by cosine to class prototypes.",
    "modality": "image",
    "algorithm": "protonet",
    "backbone": {"name": "conv4", "width": 64},
    "aliases": [],
    "input": {
        "modality": "image",
        "kind": "drawing",
        "shape": [1, 28, 28],
        "preprocessing": {"kind": "drawing", "size": 28, "margin": 0.1, "min_crop": 0.0},
    },
    "limits": {"min_classes": 2, "max_classes": 200, "max_examples_per_class": 500, "max_examples": 5000},
    "inner_loop": None,
    "bytes_per_class": 256,
    "bytes_per_example": 0,
    "bytes_fixed": 0,
    "benchmarks": [
        {
            "protocol": "L",
            "n_way": 20,
            "n_shot": 1,
            "n_query": 15,
            "accuracy": 86.22,
            "ci95": 0.15,
            "episodes": 10000,
            "seed": 20000,
            "inner_steps": None,
            "calibration_error": 4.54,
            "inductive": True,
            "path": "serving",
            "command": "innerloop meta-train omniglot-protonet",
        }
    ],
    "calibration": [
        {
            "n_way": 2,
            "n_shot": 1,
            "temperature": 1.3335,
            "rejection_logit": 45.8686,
            "expected_calibration_error": 0.004,
            "unseen_auroc": 0.9672,
            "rejection_logits": [
                [0.005, 41.0139],
                [0.01, 42.4185],
                [0.02, 43.9247],
                [0.05, 45.8686],
                [0.1, 47.2024],
                [0.2, 48.6529],
                [0.3, 49.5397],
                [0.5, 50.8654],
            ],
        }
    ],
    "training": {
        "recipe": "meta_models/recipes/omniglot-protonet.toml",
        "recipe_files": [],
        "data": "Omniglot, background alphabets",
        "licence": "MIT",
        "source": "https://github.com/brendenlake/omniglot",
        "steps": 4500,
        "minutes": 54.3,
        "hardware": "CPU",
        "notes": "For the figures of Snell et al. (2017) see omniglot-protonet-vinyals; no paper reports protocol L.",
        "development_accuracy": None,
    },
}

ANSWERS: dict[str, dict[str, Any]] = {
    "Model": _MODEL,
    "ModelList": {"data": [_MODEL], "has_more": False, "next_cursor": None},
    "Predictions": {
        "model": _ID,
        "version": 1,
        "results": [
            {
                "id": "q0",
                "label": "ka",
                "confidence": 1.0,
                "rejected": False,
                "scores": [{"label": "ka", "probability": 1.0}, {"label": "na", "probability": 0.0}],
            },
            {
                "id": "q1",
                "label": "na",
                "confidence": 1.0,
                "rejected": False,
                "scores": [{"label": "na", "probability": 1.0}, {"label": "ka", "probability": 0.0}],
            },
        ],
    },
    "Classified": {
        "meta_model": "omniglot-protonet@1",
        "classes": [{"name": "ka", "examples": 1}, {"name": "na", "examples": 1}],
        "results": [
            {
                "id": "q0",
                "label": "ka",
                "confidence": 1.0,
                "rejected": False,
                "scores": [{"label": "ka", "probability": 1.0}, {"label": "na", "probability": 0.0}],
            }
        ],
        "timings_ms": {"queue": 1.0, "adapt": 1.346, "total": 2.0},
    },
    "Version": _VERSION,
    "VersionList": {"data": [_VERSION], "has_more": False, "next_cursor": None},
    "ExampleList": {
        "version": 2,
        "data": [
            {
                "id": "ex_14a623b2e10b68c8f816145bcc0b85f2",
                "object": "example",
                "label": "ka",
                "source": "/support/1/input/image",
                "preview": f"/v1/models/{_ID}/examples/ex_14a623b2e1…/preview?version=2",
            },
            {
                "id": "ex_7f03ecb68b43c92d5de0aec9f1099cd9",
                "object": "example",
                "label": "ka",
                "source": "/support/0/input/image",
                "preview": f"/v1/models/{_ID}/examples/ex_7f03ecb68b…/preview?version=2",
            },
        ],
        "has_more": False,
        "next_cursor": None,
    },
    "EventList": {
        "data": [
            {
                "id": "1795781885243-0",
                "event": "status",
                "version": 1,
                "at": "2026-06-01T12:18:05.243000Z",
                "status": "queued",
            },
            {
                "id": "1795781885244-0",
                "event": "status",
                "version": 1,
                "at": "2026-06-01T12:18:05.244000Z",
                "status": "adapting",
            },
            {
                "id": "1795781885255-0",
                "event": "status",
                "version": 1,
                "at": "2026-06-01T12:18:05.255000Z",
                "status": "ready",
            },
        ]
    },
    "MetaModel": _META_MODEL,
    "ServerLimits": {
        "max_body_bytes": 67108864,
        "max_image_bytes": 10485760,
        "max_image_pixels": 25000000,
        "max_audio_bytes": 10485760,
        "max_audio_seconds": 60.0,
        "max_audio_channels": 16,
        "max_text_characters": 20000,
        "max_vector_dimensions": 8192,
        "max_queries": 1000,
        "max_rows": 10000,
        "max_parts": 10000,
        "max_archive_bytes": 268435456,
        "max_wait_seconds": 60.0,
        "max_ttl_seconds": 31536000,
        "default_ttl_seconds": 604800,
        "max_label_length": 200,
        "max_queued_jobs": 1000,
        "max_event_streams": 250,
        "key": {
            "id": "local",
            "owner": "local",
            "name": "",
            "scopes": ["predict", "adapt", "admin"],
            "expires_at": None,
        },
        "quota": {
            "requests_per_minute": {"limit": None, "remaining": None, "more_in_seconds": None},
            "adaptations_per_day": {"limit": None, "remaining": None, "more_in_seconds": None},
            "stored_models": {"limit": None, "remaining": None, "more_in_seconds": None},
            "stored_bytes": {"limit": None, "remaining": None, "more_in_seconds": None},
        },
        "usage": [{"day": "2026-06-01", "adaptations": 3, "predictions": 300, "adapt_seconds": 0.0126}],
    },
    "Health": {"status": "ok"},
    "Readiness": {"status": "ready", "checks": {"records": True, "weights": True, "worker": True}},
    "MetaModelList": {"data": [_META_MODEL]},
}
"""By the name of the schema."""
