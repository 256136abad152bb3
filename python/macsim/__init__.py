# The public names of macsim; nothing is computed here.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Count the work of neural networks: exactly, symbolically, without running them."""

from macsim._core import __version__

__all__ = ["__version__"]
