# What every test may use.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite(
    "truth", "gradient_truth"
)  # of tests/rules: their asserts explain themselves like a test's

# The same examples on every run, so that a failure here is the failure there; no deadline: machines differ.
settings.register_profile("macsim", deadline=None, derandomize=True)
settings.load_profile("macsim")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]
