# Compute and energy of inference over the years: the public names.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""How much compute and energy one inference costs, over the years.

The method is that of Desislavov, Martínez-Plumed and Hernández-Orallo, "Compute and Energy Consumption Trends in Deep
Learning Inference" (arXiv 2109.05472). Its quantities come as tables whose rows say how sure they are, its steps as
functions, and its models are counted again by macsim.

>>> from macsim import trends
>>> data = trends.load()
>>> line = trends.efficiency_line(data, "vision")
>>> alexnet = data.model("AlexNet")
>>> round(trends.energy(alexnet.gflops, alexnet.date, line), 2)  # joules of one inference
0.1
"""

from macsim.trends.fits import Bootstrap as Bootstrap
from macsim.trends.fits import LogLine as LogLine
from macsim.trends.fits import bootstrap as bootstrap
from macsim.trends.fits import fit as fit
from macsim.trends.fits import year_of as year_of
from macsim.trends.method import HUMAN_POWER as HUMAN_POWER
from macsim.trends.method import Efficiency as Efficiency
from macsim.trends.method import Forecast as Forecast
from macsim.trends.method import Lines as Lines
from macsim.trends.method import SpeedUp as SpeedUp
from macsim.trends.method import efficiencies as efficiencies
from macsim.trends.method import efficiency_line as efficiency_line
from macsim.trends.method import energy as energy
from macsim.trends.method import energy_of as energy_of
from macsim.trends.method import forecast as forecast
from macsim.trends.method import lines as lines
from macsim.trends.method import speed_up as speed_up
from macsim.trends.method import theoretical_efficiency as theoretical_efficiency
from macsim.trends.place import Placement as Placement
from macsim.trends.place import place as place
from macsim.trends.rows import Chip as Chip
from macsim.trends.rows import Count as Count
from macsim.trends.rows import Energy as Energy
from macsim.trends.rows import ModelRow as ModelRow
from macsim.trends.rows import Sourced as Sourced
from macsim.trends.rows import Throughput as Throughput
from macsim.trends.tables import Data as Data
from macsim.trends.tables import TableError as TableError
from macsim.trends.tables import load as load
