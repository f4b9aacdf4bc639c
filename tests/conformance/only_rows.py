"""A plugin of pytest (`-p only_rows`): of what was collected, only the tests that name a row are run; with ROWS=A05,A12 only those of
these rows."""

import os

from rows import ids_in

WANTED = set(filter(None, os.environ.get("ROWS", "").split(",")))


def pytest_collection_modifyitems(config, items):
    kept, left_out = [], []
    for item in items:
        ids = ids_in(item.name)
        (kept if ids & WANTED or (ids and not WANTED) else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
