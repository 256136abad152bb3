# What the C++ core gives to Python; checked against the binary by mypy.stubtest.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The C++ core of macsim."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Self, SupportsIndex, TypeAlias, final

from numpy import bool_, float64, int64, uint32
from numpy.typing import NDArray

__version__: Final[str]

_Number: TypeAlias = int | Expr
_Size: TypeAlias = SupportsIndex | Expr | str | None
_Trust: TypeAlias = Literal["exact", "bound", "estimate", "unknown"]
_Rule: TypeAlias = dict[str, Any]
_Facts: TypeAlias = tuple[str, str, str, tuple[_Number, ...] | None, str, str]  # name, slot, dtype, shape, kind, role

@final
class Expr:
    """An exact integer expression over named sizes.

    ``Expr("batch")`` is a symbol, ``Expr("2*batch + 1")`` an expression, ``Expr(3)`` a number. A symbol stands for a
    size: an integer of 0 or more. Expressions are immutable and canonical: ``==`` asks for the same expression, in
    whatever way it was built. What cannot be held in 128 bits is undefined: it prints as ``?``, absorbs every
    operation, and is never 0.

    Parameters
    ----------
    value : int, str or Expr
        Text is what printing gives: numbers, names, ``+ - * // %``, ``^`` with a constant exponent, ``floor(a/b)``,
        ``ceil(a/b)``, ``max(a, b)``, ``min(a, b)``; names of other characters between backticks.

    Examples
    --------
    >>> from macsim import Expr
    >>> batch, seq = Expr("batch"), Expr("seq")
    >>> macs = 2 * batch * seq * seq * 64
    >>> macs
    Expr('128*batch*seq^2')
    >>> macs == Expr("seq * 128 * batch * seq")
    True
    >>> macs.bind(batch=8, seq=1024)
    1073741824
    >>> (seq + 31) // 32
    Expr('floor((seq + 31)/32)')
    """

    def __init__(self, value: SupportsIndex | Expr | str) -> None: ...
    def __add__(self, other: SupportsIndex | Expr, /) -> Expr: ...
    def __radd__(self, other: SupportsIndex, /) -> Expr: ...
    def __sub__(self, other: SupportsIndex | Expr, /) -> Expr: ...
    def __rsub__(self, other: SupportsIndex, /) -> Expr: ...
    def __mul__(self, other: SupportsIndex | Expr, /) -> Expr: ...
    def __rmul__(self, other: SupportsIndex, /) -> Expr: ...
    def __floordiv__(self, other: SupportsIndex | Expr, /) -> Expr: ...
    def __rfloordiv__(self, other: SupportsIndex, /) -> Expr: ...
    def __mod__(self, other: SupportsIndex | Expr, /) -> Expr: ...
    def __rmod__(self, other: SupportsIndex, /) -> Expr: ...
    def __neg__(self) -> Expr: ...
    def __pos__(self) -> Expr: ...
    def __pow__(self, exponent: int, /) -> Expr: ...
    def __lt__(self, other: SupportsIndex | Expr, /) -> bool: ...
    def __le__(self, other: SupportsIndex | Expr, /) -> bool: ...
    def __gt__(self, other: SupportsIndex | Expr, /) -> bool: ...
    def __ge__(self, other: SupportsIndex | Expr, /) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __int__(self) -> int: ...
    def __index__(self) -> int: ...
    def __float__(self) -> float: ...
    def __getstate__(self) -> tuple[str]: ...
    def __setstate__(self, state: tuple[str], /) -> None: ...
    @property
    def symbols(self) -> tuple[str, ...]:
        """The names of the symbols in it, sorted."""
    @property
    def defined(self) -> bool:
        """False when it is unknown or does not fit 128 bits."""
    def bind(self, sizes: Mapping[str, _Size] | None = None, /, **more: _Size) -> _Number:
        """Put sizes (or expressions) in the place of symbols; those not named stay.

        Returns
        -------
        int or Expr
            An int when nothing is left to bind.
        """

@final
class Tensor:
    """A tensor at the edge of a node or of a model: its dtype and its shape.

    Parameters
    ----------
    dtype : str
        ``"f32"``, ``"i8"``, ``"bool"``, ...; ``"float32"`` and the like are understood.
    shape : sequence of int, str or Expr, or None
        Sizes, outermost first; None when even the rank is unknown.
    name : str, optional
        Its name.

    Examples
    --------
    >>> from macsim import Tensor
    >>> Tensor("float16", ("batch", 3, 224, 224)).size
    Expr('150528*batch')
    """

    def __init__(self, dtype: str | None, shape: Sequence[_Size] | None, name: str = ...) -> None: ...
    @property
    def name(self) -> str:
        """Its name in the model."""
    @property
    def slot(self) -> str:
        """What the operator calls it: ``"x"``, ``"w"``; may be empty."""
    @property
    def dtype(self) -> str:
        """``"f32"``, ``"i8"``, ``"bool"``, ...; ``"?"`` when unknown."""
    @property
    def shape(self) -> tuple[_Number, ...] | None:
        """Sizes, outermost first; None when even the rank is unknown."""
    @property
    def kind(self) -> Literal["tensor", "sparse", "sequence", "optional", "map"]:
        """What it is, when it is not a plain tensor."""
    @property
    def role(self) -> Literal["activation", "input", "weight", "capture"]:
        """Where it comes from."""
    @property
    def size(self) -> _Number | None:
        """How many elements; None when the rank is unknown."""
    @property
    def element(self) -> Tensor | None:
        """What a sequence or an optional holds, when it is known."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Model:
    """A model that was read: its graph and the types of its tensors, never their contents. `macsim.load` makes it."""

    @property
    def name(self) -> str:
        """The graph's name."""
    @property
    def producer(self) -> str:
        """The program that wrote the file."""
    @property
    def producer_version(self) -> str:
        """Its version."""
    @property
    def ir_version(self) -> int:
        """The version of the file format."""
    @property
    def opsets(self) -> dict[str, int]:
        """The versions of the operator sets, by domain."""
    @property
    def nodes(self) -> int:
        """How many nodes there are, in bodies and functions too."""
    @property
    def inputs(self) -> list[Tensor]:
        """The inputs that must be fed, as the file states them."""
    @property
    def defaults(self) -> list[Tensor]:
        """The inputs that have a default in the file."""
    @property
    def outputs(self) -> list[Tensor]:
        """The outputs, as the file states them."""
    @property
    def symbols(self) -> list[str]:
        """The names of the inputs' symbolic sizes, sorted."""

@final
class Cost:
    """The work and the traffic of one node, as a cost rule states it.

    Parameters
    ----------
    read, weights, written : int or Expr, optional
        Bytes: of activations read, of stored tensors read, written. What is left out is filled in: every data input is
        read and every output written once.
    masked : int or Expr, optional
        Of the MACs, those that a kernel may skip, as a causal mask or a window hides them.
    trust : {"exact", "bound", "estimate", "unknown"}
        How far the numbers can be trusted.
    because : str
        The reason for a cost without work, or for one that is not exact: required then.
    compute : str, optional
        The dtype of the work other than macs; by default the first data input's.
    lhs, rhs, accumulate : str, optional
        The dtypes of the macs.
    **work : int or Expr
        Scalar operations by kind: ``mac add mul div compare exp log sqrt trig logic convert``.

    Examples
    --------
    >>> from macsim import Cost, Expr
    >>> cost = Cost(mac=64 * Expr("batch"), add=64)
    >>> free = Cost(read=0, weights=0, written=0, because="a view: no data moved")
    """

    def __init__(
        self,
        *,
        read: _Number | None = ...,
        weights: _Number | None = ...,
        written: _Number | None = ...,
        masked: _Number | None = ...,
        trust: _Trust = ...,
        because: str = ...,
        compute: str | None = ...,
        lhs: str | None = ...,
        rhs: str | None = ...,
        accumulate: str | None = ...,
        **work: _Number,
    ) -> None: ...

@final
class Gradient:
    """The work of one node's gradients, as a gradient rule states it.

    Unless it says otherwise, the gradients of the outputs and what was kept are read, and the gradients of the inputs
    that need one are written.

    Parameters
    ----------
    keep : sequence of str
        Slots whose inputs are kept from the run until then.
    keep_outputs : sequence of int
        Outputs that are kept, by position.
    keep_bytes : int or Expr
        Bytes of what is kept and is neither: masks, statistics.
    none : sequence of str
        Slots that it is not differentiable by: no gradient goes there.
    again : Cost, optional
        What was not kept and is computed once more.
    read, weights, written : int or Expr, optional
        Bytes, in place of those.
    trust : {"exact", "bound", "estimate", "unknown"}
        How far the numbers can be trusted.
    because : str
        The reason for a gradient without work, or for one that is not exact: required then.
    **work : int or Expr
        Scalar operations by kind: ``mac add mul div compare exp log sqrt trig logic convert``.

    Examples
    --------
    >>> from macsim import Gradient, Expr
    >>> product = Gradient(mac=2 * 64 * Expr("batch"), keep=["x", "w"])
    >>> view = Gradient(read=0, weights=0, written=0, because="the gradient as it is")
    """

    def __init__(
        self,
        *,
        keep: Sequence[str] = ...,
        keep_outputs: Sequence[int] = ...,
        keep_bytes: _Number = ...,
        none: Sequence[str] = ...,
        again: Cost | None = ...,
        read: _Number | None = ...,
        weights: _Number | None = ...,
        written: _Number | None = ...,
        trust: _Trust = ...,
        because: str = ...,
        **work: _Number,
    ) -> None: ...

@final
class Call:
    """What a rule sees of a node: its inputs by slot, its attributes, and (in a cost rule) its outputs.

    ``call.q`` is the `Tensor` in slot ``q``; None when the node leaves it out; a list of tensors for a slot that
    repeats. Sizes are ints or Exprs. A call is valid only while the rule that it was given to runs.
    """

    def __getattr__(self, slot: str) -> Any: ...
    @property
    def inputs(self) -> list[Tensor | None]:
        """Every input in order; None where one is left out."""
    @property
    def outputs(self) -> int:
        """How many outputs there are."""
    def output(self, i: int = ...) -> Tensor | None:
        """Output `i`, in a cost rule; None when the node leaves it out."""
    def attr(self, name: str, *otherwise: Any) -> Any:
        """An attribute of the node, or the default; KeyError when there is neither.

        Numbers, texts and lists of them come as they are; tensors and types as a `Tensor`.
        """
    def values(self, slot: str) -> list[int | float | Expr | None] | None:
        """The elements of a small tensor in a slot, in order, when they are known.

        Returns
        -------
        list or None
            None in it for an element that is unknown; None when nothing is known.
        """
    def needs(self, slot: str) -> bool:
        """Whether the gradient of what is in a slot is wanted, in a gradient rule."""
    def symbol(self, what: str, why: str) -> _Number:
        """Make a named size, for what depends on data: ``"<node>.<what>"``, listed in the report as one to bind."""
    @property
    def op(self) -> str:
        """The operator's name."""
    @property
    def domain(self) -> str:
        """Its domain."""
    @property
    def version(self) -> int:
        """The domain's version."""
    @property
    def name(self) -> str:
        """The node's name."""

@final
class RuleTable:
    """Which rule answers to which operator: `macsim.Registry` is its face."""

    def __init__(self) -> None: ...
    def copy(self) -> RuleTable:
        """Return a table of the same rows, to be changed apart."""
    def add(
        self,
        spelled: Sequence[str],
        slots: str,
        infer: object,
        cost: object,
        gradient: object,
        about: dict[str, str],
        since: int = ...,
        until: int = ...,
        replace: bool = ...,
    ) -> None:
        """Add a row."""
    def alias(self, op: str, like: str) -> None:
        """Let an operator behave as another."""
    def find(self, op: str, version: int) -> _Rule | None:
        """Return the row that answers to an operator."""
    def near(self, op: str, most: int = ...) -> list[str]:
        """Return the known operators whose names are nearest."""
    def spellings(self) -> list[str]:
        """Return every operator, sorted."""
    def rules(self) -> list[_Rule]:
        """Return every row."""

@final
class Total:
    """A sum of rows. What is unknown is left out of it, and `sign` says so.

    Examples
    --------
    >>> import macsim
    >>> total = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).total
    >>> total.macs, total.rows, total.trust
    (4089184256, 175, 'exact')
    """

    @property
    def name(self) -> str:
        """The group's name; empty for the whole."""
    @property
    def macs(self) -> _Number:
        """Multiply-accumulates."""
    @property
    def macs_unmasked(self) -> _Number:
        """Those of kernels that skip what a causal mask or a window hides."""
    @property
    def flops(self) -> _Number:
        """Floating-point operations: 2 for a mac, 1 for any other."""
    @property
    def int_ops(self) -> _Number:
        """The same on integers."""
    @property
    def work(self) -> dict[str, _Number]:
        """The work by kind."""
    @property
    def read(self) -> _Number:
        """Bytes of activations read."""
    @property
    def weights(self) -> _Number:
        """Bytes of stored tensors read."""
    @property
    def written(self) -> _Number:
        """Bytes written."""
    @property
    def trust(self) -> _Trust:
        """The worst of its rows."""
    @property
    def rows(self) -> int:
        """How many rows."""
    @property
    def unknown(self) -> int:
        """How many of them are unknown."""
    def sign(self, quantity: str) -> Literal["", "<=", ">=", "~"]:
        """How a quantity of it is to be read: "" exactly, "<=" at most, ">=" at least, "~" roughly."""

@final
class Diagnostic:
    """A remark about one place in a model."""

    @property
    def code(self) -> str:
        """``"MS201"``: ``macsim explain MS201`` describes it."""
    @property
    def severity(self) -> Literal["note", "warning", "error"]:
        """How bad it is."""
    @property
    def where(self) -> str:
        """The node and its operator; empty when it is about the whole model."""
    @property
    def text(self) -> str:
        """What is wrong."""
    @property
    def hint(self) -> str:
        """What to do about it."""

@final
class Unbound:
    """A symbol that is still free, and what it stands for."""

    @property
    def name(self) -> str:
        """Its name."""
    @property
    def why(self) -> str:
        """What it stands for."""

def read_schema(
    text: str,
) -> tuple[str, str, list[tuple[str, str, str, bool, bool, Any]], list[tuple[str, bool]]]:
    """Return what a schema of torch's says: the operator's name, the overload's, its arguments and its results.

    Of an argument that is its name, type, use ("tensor", "tensors", "sizes", "value" or "nothing"), whether it is
    written to, whether it is given by name only, and its default; NotImplemented where that is no plain value. Of a
    result it is the type, and whether it may be an argument.
    """

@final
class Signature:
    """What a schema says of an operator's parameters: the name, the use and the default of each."""

    def __init__(self, parameters: list[tuple[str, str, Any]]) -> None: ...

class Plan:
    """How calls of one operator are read."""

    @property
    def known(self) -> bool:
        """Whether a row answers to it."""
    @property
    def infers(self) -> bool:
        """Whether the row tells the results' shapes."""
    @property
    def hosts(self) -> list[str]:
        """Parameters that the row takes as numbers that may be symbols."""

class Tape:
    """Calls of a program's operators as they happen, counted as they come; of one thread.

    ``torch`` says what tensors are: the class ``tensor``; ``make(sizes, strides, dtype)``, a tensor without storage;
    ``dtypes``, their names by object; ``expr_of(size)`` and ``size_of(expr)`` for sizes that are no ints.
    """

    def __init__(self, rules: RuleTable, name: str, torch: dict[str, Any]) -> None: ...
    def plan(self, dialect: str, name: str, signature: Signature, outputs: int, stores: str = "all") -> Plan:
        """Return how calls of an operator are to be read.

        Of a sparse tensor the result ``stores`` "all" elements, the "same" ones, or "some" that depend on data.
        """
    def call(
        self, plan: Plan, args: tuple[Any, ...], kwargs: Any, scope: int, follow: bool = True, turned: bool = False
    ) -> Any:
        """Record a call whose results the row can tell, and return them; None when it cannot.

        The second and the third axis of a ``turned`` result lie the other way round, as kernels of attention lay them.
        With ``follow`` nothing is recorded, and the answer is None when a tensor is met for the first time,
        ``NotImplemented`` when the contents of all are known.
        """
    def record(self, plan: Plan, args: tuple[Any, ...], kwargs: Any, scope: int, results: Any) -> None:
        """Record a call with its results."""
    def input(self, tensor: Any, name: str) -> None:
        """Announce an input."""
    def stored(self, tensor: Any, name: str, buffer: bool, used: bool) -> None:
        """Announce a tensor of the model."""
    def input_node(self, node: Any, val: Any, name: str) -> None:
        """Announce an input of a graph: a node, and what it says of itself."""
    def announce(self, modules: dict[Any, str], unusual: Any) -> tuple[list[int], list[Any]]:
        """Announce the parameters and buffers of modules, given with their paths, each once.

        ``unusual(name, tensor)`` is told of those that are not of torch's two plain classes. Returns how many elements
        each module's own parameters have, and the buffers that are not of real numbers, or are a single one.
        """
    def sparse(self, tensor: Any, stored: int | None) -> None:
        """Say how many elements of a tensor are stored; None: nobody knows."""
    def know(self, tensor: Any, known: bool) -> None:
        """Say whether a tensor's contents are known."""
    def scope(self, path: str) -> int:
        """Return the number of a scope."""
    def knows(self, tensor: Any) -> bool:
        """Return whether the tensor is a value of the model."""
    def owner(self, tensor: Any) -> str | None:
        """Return the path of the module that a tensor of the model's belongs to; None: it is none."""
    def same(self, to: Any, from_: Any) -> None:
        """Let a tensor be the value that another is."""
    def symbol(self, name: str, why: str) -> None:
        """Say what a symbol stands for that is in no input's shape."""
    def remark(self, code: int, text: str) -> None:
        """Put a remark in the report."""
    def assume_not_negative(self, expr: SupportsIndex | Expr | str) -> None:
        """Let binding refuse sizes for which it is below 0."""
    def within(
        self,
        times: SupportsIndex | Expr | str,
        floor: str,
        because: str,
        weight_times: SupportsIndex | Expr | str = 0,
    ) -> None:
        """Say how often calls from now on run, how far they can be trusted, and how often weights are read for it."""
    def detach(self, on: bool) -> None:
        """Say whether calls from now on are kept out of differentiation."""
    def checkpoint(self, on: bool, whole: bool = ...) -> None:
        """Say whether what calls from now on compute is computed again for the gradient."""
    @property
    def calls(self) -> int:
        """How many calls were recorded."""
    def finish(self, results: Any) -> Ledger:
        """Return the ledger; the tape is then of no more use."""

@final
class ModuleCalls:
    """Follows the calls of modules of a torch program: what they call is in their scope; of one thread."""

    def __init__(self, tape: Tape, paths: dict[Any, str]) -> None:
        """``paths`` are the modules with their paths, in the order of the tree."""
    @property
    def paths(self) -> dict[Any, str]:
        """The modules with their paths."""
    @property
    def path(self) -> str:
        """The path of the module that the program is in."""
    @property
    def scope(self) -> int:
        """The number of its scope."""
    @property
    def failed_in(self) -> str:
        """The path of the innermost module that raised."""
    def announce(self, unusual: Callable[[str, Any], None]) -> list[Any]:
        """Tell the tape of the modules' parameters and buffers, as ``Tape.announce`` does; return its buffers."""
    def called(self) -> CalledModules:
        """Return of every module its class, its calls, and the elements of its own parameters."""

def exchange_calls(calls: ModuleCalls | None) -> ModuleCalls | None:
    """Tell these, or nobody, of the modules that this thread calls; return who was told until now."""

def watched_call(original: Callable[..., Any]) -> Any:
    """Return a method of modules that tells of the call, and then calls the original."""

def torch_dispatch(self: Any, func: Any, types: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Take a call as the method ``__torch_dispatch__`` of a recorder, whose ``_short`` is a ``Dispatcher``.

    What that does not take goes to the recorder's ``_otherwise``, with what the dispatcher said of it; where sizes are
    symbolic, a call of a new kind goes to its ``_compare`` afterwards.
    """

@final
class Dispatcher:
    """The short way of operators to a tape: what needs nothing else is recorded as it comes."""

    follower: Any
    """Whose ``look()`` is called before each call; or None."""
    expanding: bool
    """Calls are what an operator without a row is made of."""
    def __init__(self, tape: Tape, calls: ModuleCalls, known: dict[int, Any], copies: dict[int, Any], cpu: Any) -> None:
        """Make one. Results whose contents are known are added to ``known``; ``copies`` are not used here."""
    def add(self, operation: Any, plan: Plan, way: str, method: Any, copying: Plan | None, most: int) -> None:
        """Say how calls of an operator are taken.

        ``way`` is "call", the row tells the results; "turned", so, and they lie as ``Tape.call`` says; "changes", the
        first argument is changed and given back; "view", ``method`` makes the result; "reshape", so, or it copies,
        which is recorded by the plan ``copying``; "orders", it is the first argument where that is in order; "makes",
        the row tells the result, which follows from numbers. Of known
        contents an operator is run where the result has no more than ``most`` elements.
        """
    def note_view(self, from_: Any, results: Any, copies: bool, times: Any, bound: bool, because: str) -> None:
        """Note what the last view gave, which was not taken and is recorded, for others of tensors like this one.

        ``times`` and ``bound`` are what ``Tape.within`` was told of it; ``because`` is empty where it was told nothing.
        """
    def dispatch(self, operation: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Record a call and return its results.

        None: the call is not taken; ``NotImplemented``: nor is it, and the contents of all its tensors are known.
        """

def module_paths(root: Any) -> tuple[dict[Any, str], set[type]]:
    """Return the first path of every module, by which its calls are grouped, in the order of the tree.

    And the classes of modules and of their parameters.
    """

class ModuleStates:
    """What modules of torch hold, noted before a count and put back after it; one thread at a time."""

    def __init__(self, common: dict[str, Any]) -> None:
        """``common``: attributes that all modules have, and have first."""
    def enter(self, modules: list[Any], evaluate: bool) -> None:
        """Note what modules hold that no other count has noted; ``evaluate``: put them into evaluation mode."""
    def leave(self, modules: list[Any]) -> None:
        """Where no other count runs them, put back what they held."""

def is_graph(nodes: list[Any], node: type, sort: Callable[[Any], bool | None]) -> bool:
    """Whether nodes are operators' calls, and what goes with these, and say what their results are.

    ``node`` is their class. Of a target, ``sort`` tells: True, it is an operator; False, such calls are yet to be made
    of it; None, neither.
    """

def placeholders(nodes: list[Any], node: type) -> tuple[list[Any], Any]:
    """Return the placeholders among nodes of a class, and the first node that is none, or None."""

@final
class CalledModules:
    """What a report knows of modules."""

    def __len__(self) -> int: ...
    def told(self) -> list[tuple[str, str, int, int]]:
        """Return of each its path, the name of its class, how often it is called, and its own parameters' elements."""

class GraphWalk:
    """Records the plain calls of a graph of torch.fx: of operators with a row, on known tensors, that make tensors.

    ``torch`` says what is in graphs: ``reading(target)`` gives the plan of an operator whose calls may be plain, and
    whether they change their first argument, or None; ``path_of`` reads what a node's stack says of where a module is;
    the classes ``tensor``, ``parameter`` and ``node``; ``getitem``; ``args`` and ``kwargs``, the names of a node's
    attributes that hold its arguments.
    """

    def __init__(self, tape: Tape, torch: dict[str, Any]) -> None: ...
    def stored(
        self, inputs: list[Any], specs: list[Any], kinds: list[Any], state: dict[str, Any]
    ) -> tuple[list[Any], list[Any]]:
        """Announce the tensors of an exported program's model, by what it says of its placeholders.

        Of ``kinds``, which are tensors, the first is that of parameters; ``state`` are the tensors by name. Returns the
        other placeholders, and the kind of each.
        """
    def walk(self, module: Any, nodes: list[Any], start: int, outer: str, announced: bool) -> int:
        """Record nodes of a module's graph from ``start`` on; the position of the first that is no plain call.

        The graph's inputs are passed over when they are ``announced``.
        """
    def attribute(self, module: Any, node: Any) -> bool:
        """Let a node stand for the tensor of a module's that it names; False when it names something else."""
    def tensor(self, node: Any) -> Any:
        """Return that tensor, or None."""
    def part(self, to: Any, node: Any, number: int) -> None:
        """Let a tensor be the value that is a part of a node's results."""
    def enter(self, key: str, said: Any) -> str | None:
        """Note a call of a module as a stack says it, once, and return its path; None: that is no module."""
    def call(self, path: str, kind: Any, again: bool) -> None:
        """Note a call of a module of a class: the first one, and others when ``again``."""
    def own(self, path: str, elements: int) -> None:
        """Note elements of a module's own parameters."""
    def called(self, ledger: Ledger) -> CalledModules:
        """Return what was noted of modules, for the ledger of the tape."""

class Calling:
    """How calls in a traced graph, of a function, a method or a module, are calls of an operator."""

    def __init__(
        self,
        takes: list[tuple[str, Any, bool, int, tuple[Any] | None]],
        own: list[tuple[str, tuple[Any] | None]] | None,
        picks: list[Any] | None,
        when: dict[str, Any],
        positional: int,
        spread: bool,
    ) -> None:
        """Make one.

        ``takes`` says of each parameter of the operator its name; "tensor", "operand" (a tensor or a number),
        "tensors", "integer", "integers", "number", "flag" or a class; whether it may be None; how many integers one
        stands for; and its default. ``positional`` of them come by position. ``own`` are the parameters of what is
        called, None where they are the operator's; ``picks`` what each parameter of the operator is given: one of those
        or an attribute of a module by name, or a constant in a tuple. ``when`` says what some have to be, or of which
        class. Where ``spread``, integers may stand one by one in the place of a list.
        """

class TracedWalk:
    """Walks a graph of torch.fx whose nodes say nothing of their results.

    ``torch`` says what is in graphs: the class ``node``; ``args`` and ``kwargs``, the names of its attributes that hold
    its arguments; ``ways(target)``, for a function, the name of a method or the class of a module a list of (calling,
    plan, way, operator, numbers of axes that the input may have), and whether it is Python's own; ``run(function, args,
    kwargs)``, which runs and records what has to be run; ``compare(operator, args)``, told of calls over symbols;
    ``looks``, names of what only says something about a tensor; ``getattr``.
    """

    def __init__(self, tape: Tape, calls: ModuleCalls, dispatcher: Dispatcher, torch: dict[str, Any]) -> None: ...
    def walk(self, module: Any, nodes: list[Any], inputs: list[Any]) -> Any:
        """Walk the graph of a module, with an input for each placeholder; return what it gives back."""

@final
class Ledger:
    """What analysis found, by row number: `macsim.Report` is its face."""

    def __len__(self) -> int: ...
    def name(self, row: int) -> str: ...
    def op(self, row: int) -> str: ...
    def rule(self, row: int) -> str: ...
    def scope(self, row: int) -> str: ...
    def path(self, row: int) -> str: ...
    def trust(self, row: int) -> _Trust: ...
    def because(self, row: int) -> str: ...
    def compute(self, row: int) -> str: ...
    def mac_dtypes(self, row: int) -> tuple[str, str, str]: ...
    def facts(self, row: int) -> tuple[list[str], list[_Number], tuple[str, str, str], list[_Facts], list[_Facts]]: ...
    def times(self, row: int) -> _Number: ...
    def macs_unmasked(self, row: int) -> _Number: ...
    def flops(self, row: int) -> _Number: ...
    def int_ops(self, row: int) -> _Number: ...
    def work(self, row: int) -> dict[str, _Number]: ...
    def at(self, column: str, row: int) -> _Number: ...
    def row_inputs(self, row: int) -> list[Tensor]: ...
    def row_outputs(self, row: int) -> list[Tensor]: ...
    def total(self) -> Total: ...
    def by(self, key: str, depth: int = ...) -> list[Total]: ...
    def groups(self, key: str, depth: int = ...) -> NDArray[uint32]: ...
    def column(self, name: str) -> NDArray[int64] | list[_Number]: ...
    def texts(self, name: str) -> list[str]: ...
    @property
    def inputs(self) -> list[Tensor]: ...
    @property
    def outputs(self) -> list[Tensor]: ...
    @property
    def model(self) -> Model: ...
    @property
    def parameters(self) -> _Number: ...
    @property
    def weight_bytes(self) -> _Number: ...
    @property
    def unbound(self) -> list[Unbound]: ...
    @property
    def assumptions(self) -> list[Expr]: ...
    @property
    def diagnostics(self) -> list[Diagnostic]: ...
    def bind(self, sizes: dict[str, int]) -> Self: ...

@final
class Traffic:
    """Bytes that a report moves at one level: `macsim.Traffic` is its face."""

    def column(self, name: str) -> NDArray[int64] | list[_Number]: ...
    @property
    def total(self) -> dict[str, _Number]: ...
    @property
    def roles(self) -> dict[str, _Number]: ...
    @property
    def trust(self) -> _Trust: ...
    @property
    def kernels(self) -> int: ...
    @property
    def kernel(self) -> NDArray[uint32]: ...
    @property
    def io_bound(self) -> NDArray[int64] | list[_Number]: ...

@final
class Memory:
    """Bytes that a run holds, row by row: `macsim.Memory` is its face."""

    @property
    def weights(self) -> _Number: ...
    @property
    def activations(self) -> _Number: ...
    @property
    def peak(self) -> _Number: ...
    @property
    def row(self) -> int | None: ...
    @property
    def alive(self) -> list[tuple[str, str, tuple[_Number, ...] | None, str, _Number, int, int]]: ...
    @property
    def trust(self) -> _Trust: ...
    @property
    def timeline(self) -> NDArray[int64] | list[_Number]: ...

@final
class Flows:
    """The tensors of a report, followed once."""

    def __init__(self, report: Ledger, cache: Sequence[str] | None) -> None: ...
    def traffic(self, level: str, capacity: int) -> Traffic:
        """Return the bytes that move at a level."""

    def memory(self, by_module: bool, by_program: bool, in_place: bool) -> Memory:
        """Return the bytes that a run holds."""

@final
class Step:
    """One step of training, in numbers: `macsim.training` has its face."""

    @property
    def backward(self) -> Ledger: ...
    @property
    def recompute(self) -> Ledger: ...
    @property
    def optimizer(self) -> tuple[dict[str, _Number], _Number, _Number, _Number, _Number]: ...
    @property
    def parameters(self) -> list[tuple[str, str, _Number, _Number]]: ...
    @property
    def weights(self) -> _Number: ...
    @property
    def gradients(self) -> _Number: ...
    @property
    def states(self) -> _Number: ...
    @property
    def saved(self) -> _Number: ...
    @property
    def recomputed(self) -> _Number: ...
    @property
    def unmatched(self) -> list[str]: ...
    @property
    def memory(self) -> dict[str, Any]: ...
    def bind(self, sizes: dict[str, int]) -> Step: ...

def training(
    report: Ledger,
    frozen: Sequence[str],
    trained: Sequence[str],
    inputs: Sequence[str],
    recompute: Sequence[str],
    losses: Sequence[int],
    optimizer: str,
    master: bool,
) -> Step:
    """Follow gradients from the outputs to the trained parameters."""

def max(*args: SupportsIndex | Expr | str) -> Expr:
    """Return the largest of its arguments."""

def min(*args: SupportsIndex | Expr | str) -> Expr:
    """Return the smallest of its arguments."""

def ceil_div(a: SupportsIndex | Expr | str, b: SupportsIndex | Expr | str, /) -> Expr:
    """Return a / b, rounded up."""

def evaluate(
    expressions: Sequence[_Number], names: Sequence[str], sizes: NDArray[int64]
) -> tuple[NDArray[int64], NDArray[float64], NDArray[bool_]]:
    """Evaluate expressions for many bindings at once: values, values as floats, whether the first are exact."""

def read_file(path: bytes) -> Model:
    """Read a file; the path is in the file system's encoding."""

def read_buffer(buffer: bytes | bytearray | memoryview) -> Model:
    """Read from bytes in memory, which are kept and not copied."""

def analyze(
    model: Model,
    rules: RuleTable,
    inputs: Mapping[str, tuple[str | None, Sequence[_Size] | None, Sequence[Any] | None] | tuple[str, Sequence[Any]]],
    dims: dict[str, int],
) -> Ledger:
    """Infer every type and count every node."""

def rules() -> list[_Rule]:
    """Return the built-in rows, in order of families."""

def codes() -> list[dict[str, str]]:
    """Return every diagnostic code, by number."""
