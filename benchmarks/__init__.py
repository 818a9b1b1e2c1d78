"""What produces every published figure. Each module runs alone: `python -m benchmarks.<name> --help`."""

import meta_models as meta_models  # first: it keeps ONNX Runtime from telling Microsoft what it runs
