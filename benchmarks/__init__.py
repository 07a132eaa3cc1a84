"""Speed and size, each with the peers it is measured against: `make bench NAME=feature-build`.

A benchmark is a module with a function `main(arguments)`, which writes `benchmarks/results/NAME.json`.
"""
