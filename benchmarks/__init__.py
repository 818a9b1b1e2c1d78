"""What produces every published figure. Each module runs alone: `python -m benchmarks.<name> --help`."""
