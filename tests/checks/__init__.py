"""The long checks: `make check` runs them all, `make check NAME=foreign-csv` one of them.

A check is a module with a function `main() -> bool`: it prints what it found, its figure last, and says if it holds.
"""
