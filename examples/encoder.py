# A torch module to count by its name, and to export.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""A text encoder: ``macsim count examples.encoder:encoder --shape batch,seq,512``.

Run as a script it writes the exported program: ``python examples/encoder.py encoder.pt2``.
"""

from __future__ import annotations

import sys

import torch
from torch import nn


def encoder() -> nn.Module:
    """Two layers of a transformer, 512 wide."""
    layer = nn.TransformerEncoderLayer(d_model=512, nhead=8, dim_feedforward=2048, batch_first=True)
    return nn.TransformerEncoder(layer, num_layers=2)


if __name__ == "__main__":
    torch.export.save(torch.export.export(encoder().eval(), (torch.zeros(1, 128, 512),)), sys.argv[1])
