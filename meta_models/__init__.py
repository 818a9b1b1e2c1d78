"""Learning to learn: episodes, inner and outer loops, and the published meta-models.

Knows no Redis, Celery or HTTP. Modules that import torch: `algorithms`, `backbones`, `augment`,
`checkpoint`, `meta_train`, `evaluate`, `calibrate`, `publish`, `torch_model`. The rest is numpy and ONNX Runtime.
"""

import os

# Before ONNX Runtime is imported, here and in what is started: else it numbers the machine in a file of the home
# folder, and tells Microsoft what it runs.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251 - set for a library that takes it from there alone
