# python -m macsim
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The command line: ``python -m macsim``."""

import sys

from macsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
