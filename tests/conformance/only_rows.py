"""A plugin of pytest (`-p only_rows`): of what was collected, only the tests that name a row are run."""

from rows import ids_in


def pytest_collection_modifyitems(config, items):
    kept = [item for item in items if ids_in(item.name)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
