# The command line: a step of training.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""``macsim count --training`` and ``macsim memory --training``: what says more of the step."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from macsim.training import Training

OPTIMIZERS = ("adamw", "adam", "adam8bit", "momentum", "sgd", "none")
DETAILS = ("optimizer", "frozen", "trained", "recompute", "loss", "master")


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add what `training_of` reads."""
    step = parser.add_argument_group("a step of training")
    step.add_argument("--training", action="store_true", help="forward, backward, what is computed again, memory")
    step.add_argument("--optimizer", choices=OPTIMIZERS, help="default: adamw")
    step.add_argument("--master", action="store_true", help="the optimizer keeps its states and a copy in 32 bits")
    step.add_argument("--frozen", action="append", default=[], metavar="NAME", help="parameters; * is any text")
    step.add_argument("--trained", action="append", default=[], metavar="NAME", help="no others are trained")
    step.add_argument("--recompute", action="append", default=[], metavar="SCOPE", help="as layers.*: nothing is kept")
    step.add_argument("--loss", action="append", default=[], metavar="OUTPUT", help="whose gradient is given; all")


def check_training(arguments: argparse.Namespace) -> None:
    """Raise when details are given of a step that nobody asked for."""
    from macsim.cli import UsageError

    given = [f"--{name}" for name in DETAILS if getattr(arguments, name)]
    if given and not arguments.training:
        raise UsageError(f"{', '.join(given)}: add --training")


def training_of(arguments: argparse.Namespace) -> bool | Training:
    """Return the step that is asked for; False: none is."""
    from macsim.training import Training

    if not arguments.training:
        return False
    return Training(
        optimizer=arguments.optimizer or "adamw",
        frozen=arguments.frozen,
        trained=arguments.trained,
        recompute=arguments.recompute,
        master=arguments.master,
        loss=arguments.loss,
    )
