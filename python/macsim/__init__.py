# The public names of macsim; nothing is computed here.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Count the work of neural networks: exactly, symbolically, without running them.

>>> import macsim
>>> report = macsim.count("examples/resnet50.onnx", shapes={"input": (1, 3, 224, 224)})
>>> report.macs
4089184256
"""

from macsim._core import Call as Call
from macsim._core import Cost as Cost
from macsim._core import Diagnostic as Diagnostic
from macsim._core import Expr as Expr
from macsim._core import Gradient as Gradient
from macsim._core import Model as Model
from macsim._core import Tensor as Tensor
from macsim._core import Total as Total
from macsim._core import __version__ as __version__
from macsim._core import ceil_div as ceil_div
from macsim._core import max as max
from macsim._core import min as min
from macsim.api import analyze as analyze
from macsim.api import count as count
from macsim.api import load as load
from macsim.compare import compare as compare
from macsim.custom import Registry as Registry
from macsim.custom import alias as alias
from macsim.custom import op as op
from macsim.custom import rules as rules
from macsim.errors import HardwareError as HardwareError
from macsim.errors import MacsimError as MacsimError
from macsim.errors import MeterError as MeterError
from macsim.errors import ReadError as ReadError
from macsim.errors import RequestError as RequestError
from macsim.errors import TraceError as TraceError
from macsim.errors import UnknownWorkError as UnknownWorkError
from macsim.groups import Groups as Groups
from macsim.hardware_tables import hardware as hardware
from macsim.hardware_tables import hardware_names as hardware_names
from macsim.memory import Memory as Memory
from macsim.report import Report as Report
from macsim.rows import Row as Row
from macsim.traffic import Traffic as Traffic
from macsim.training import Training as Training
