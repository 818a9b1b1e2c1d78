"""Learning to learn: episodes, inner and outer loops, and the published meta-models.

Knows no Redis, Celery or HTTP. Modules that import torch: `algorithms`, `backbones`, `augment`,
`checkpoint`, `meta_train`, `evaluate`, `calibrate`, `publish`, `torch_model`. The rest is numpy and ONNX Runtime.
"""
