"""The order of the files: those that take longest begin first, or one worker would run them alone at the end."""

import pytest

LONGEST = ("test_end_to_end.py", "test_run.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)
