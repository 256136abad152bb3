# Where models come from, besides ONNX files: programs that run.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Sources of models besides ONNX files. Each turns calls into a ledger; none of them holds a formula."""
