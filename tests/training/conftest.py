"""What several tests of training share."""

import pytest

from tests import tiny_run


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A compilation cache of the tests' own in the place of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tiny_run.shared_cache(tmp_path_factory)))
        yield
