# Definitions of the models of the tables, for counting.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Compact definitions of the models of the tables. They are built without storage and counted, never trained."""
