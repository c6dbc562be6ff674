"""The Jinja environment of chat templates: a sandbox that also bounds how much a template may do."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Set, ValuesView
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, operators
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from oxillama.chat.template_budget import MAX_EXPONENT, MAX_WIDTH, Budget, current_budget, weight
from oxillama.chat.template_limits import check_code, check_source, check_tree

# What no prompt needs: text without end, and searches that can take forever.
_DROPPED_FILTERS = ("urlize", "pprint", "wordwrap", "random")
_DROPPED_GLOBALS = ("lipsum",)
# Filters that look at a value without turning it into text or comparing what it holds.
_STRUCTURAL = frozenset(
    {"abs", "attr", "batch", "count", "d", "default", "first", "float", "int", "items", "last", "length", "list", "map"}
    | {"reject", "rejectattr", "reverse", "round", "select", "selectattr", "slice", "sum"}
)
_QUEUE_METHODS = frozenset({"append", "pop"})
# Tests that compare, under each of their names, or write what they test.
_WEIGHED_TESTS = frozenset(
    {"==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", ">=", "ge", "<", "lt", "lessthan", "<=", "le", "in"}
    | {"lower", "upper"}
)
# Tests that compute a remainder, which formats where the value is a text.
_REMAINDERS = ("odd", "even", "divisibleby")


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}` marks the assistant's text for training; here it is just its content."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _CodeGenerator(CodeGenerator):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._num_characters = 0

    def write(self, x: str) -> None:
        self._num_characters += len(x)
        check_code(self._num_characters)
        current_budget().check_time()
        super().write(x)

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        # Nothing is computed before the template runs: where a program is made, nobody counts what it makes.
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

    def visit_ExprStmt(self, node: nodes.ExprStmt, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        # No template can write such a statement: these are the ones that `_parse` below puts in.
        self.newline(node)
        self.write("environment.spend(")
        self.visit(node.node, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        self.write("environment.concatenated((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        self.write("(")
        self._weighed(node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._weighed(operand.expr, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        if node.ctx == "load":
            # It may become a key, and what it holds is hashed anew each time.
            self.write("environment.weighed(")
        super().visit_Tuple(node, frame)
        if node.ctx == "load":
            self.write(")")

    def _weighed(self, node: nodes.Expr, frame: Frame) -> None:
        self.write("environment.weighed(")
        self.visit(node, frame)
        self.write(")")


class _Namespace(Namespace):
    def __repr__(self) -> str:
        return "<Namespace>"  # jinja2's own writes what it holds, which nobody has weighed


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """Compiles templates whose every loop, call and operation looks at the budget of the rendering it is part of."""

    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            extensions=[_Generation, loopcontrols],
            finalize=_finalized,
        )
        for name in _DROPPED_FILTERS:
            del self.filters[name]
        for name in _DROPPED_GLOBALS:
            del self.globals[name]
        self.globals["namespace"] = _Namespace
        for name, function in self.filters.items():
            self.filters[name] = guarded(name, function)
        for name in _WEIGHED_TESTS:
            weighed: Any = self.tests[name]
            self.tests[name] = _weighed(weighed)
        for name in _REMAINDERS:
            divides: Any = self.tests[name]
            self.tests[name] = _divided(divides)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # Some templates keep a queue in a list. Those that the caller passed stay as they are.
        if attr in _QUEUE_METHODS and type(obj) is list and not current_budget().was_given(obj):
            return True
        return super().is_safe_attribute(obj, attr, value)

    def spend(self, characters: int) -> None:
        """Runs at the beginning of every loop's body and every macro, with the characters that stand in it."""
        current_budget().write(1 + characters)

    def concatenated(self, values: tuple[Any, ...]) -> str:
        """`a ~ b`."""
        current_budget().check_text(*values)
        text = "".join(map(str, values))
        current_budget().make(text)
        return text

    def weighed(self, value: Any) -> Any:
        """A side of a comparison: a few lists that hold each other take for ever to compare."""
        if not isinstance(value, str):
            current_budget().check_text(value)
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        current_budget().check_operation(operator, left, right)
        return self._made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget = current_budget()
        if not isinstance(function, Macro):
            # What a macro does with a number is looked at there.
            budget.check_integers((*args, *kwargs.values()))
        owner = getattr(function, "__self__", None)
        if type(owner) is list and getattr(function, "__name__", "") == "append":
            self._check_appended(owner, args)
        if isinstance(function, BuiltinMethodType | MethodType):
            # What is made while it is looked at can only be looked at once.
            args = tuple(list(value) if isinstance(value, Iterator) else value for value in args)
        if isinstance(owner, str | bytes):
            budget.check_method(owner, getattr(function, "__name__", ""), args, kwargs)
        elif args and isinstance(function, BuiltinMethodType | MethodType):
            # Such as `list.count` and `loop.changed`, which compare.
            budget.check_text(*args, owner if isinstance(owner, list | tuple | Set | ValuesView) else None)
        budget.check_text(*(value for value in args if isinstance(value, tuple)))  # `varargs` is a tuple of them
        return self._made(super().call(context, function, *args, **kwargs))

    def _check_appended(self, owner: list[Any], values: tuple[Any, ...]) -> None:
        # No list may come to hold itself, so none takes another.
        if any(not isinstance(value, str | int | float | None) for value in values):
            raise SecurityError("the template appends something else than a text or a number")
        current_budget().check_text(owner, *values)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        # The sandbox puts a function of its own in the place of `str.format`, which hides whose method it is.
        function = super().wrap_str_format(value)
        if function is None:
            return None

        def formatted(*args: Any, **kwargs: Any) -> str:
            current_budget().check_format(value.__self__, *args, *kwargs.values())
            return function(*args, **kwargs)

        return formatted

    def _made(self, value: Any) -> Any:
        current_budget().make(value)
        return value

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        check_source(source)
        tree = super()._parse(source, name, filename)
        check_tree(tree)
        for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            body: list[nodes.Node] = getattr(node, "body")  # noqa: B009 - all three have one
            size = sum(len(data.data) for part in body for data in _texts(part))
            body.insert(0, nodes.ExprStmt(nodes.Const(size)).set_lineno(node.lineno))
        return tree


def _texts(node: nodes.Node) -> list[nodes.TemplateData]:
    return [node] if isinstance(node, nodes.TemplateData) else list(node.find_all(nodes.TemplateData))


def _finalized(value: Any) -> Any:
    # What is no text yet becomes one now.
    if not isinstance(value, str):
        current_budget().check_text(value)
    return value


def _weighed(test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    def checked(*values: Any) -> Any:
        current_budget().check_text(*values)
        return test(*values)

    return checked


def _divided(test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    def checked(value: Any, *divisor: Any) -> Any:
        current_budget().check_operation("%", value, divisor)
        return test(value, *divisor)

    return checked


def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at the budget before it works."""
    # Some filters get the environment or the context first.
    skipped = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        # What is made while it is looked at can only be looked at once.
        before, values = args[:skipped], [list(arg) if isinstance(arg, Iterator) else arg for arg in args[skipped:]]
        budget = current_budget()
        _check_filter(budget, name, values, kwargs)
        made = function(*before, *values, **kwargs)
        budget.make(made)
        return made

    return checked


def _check_filter(budget: Budget, name: str, values: list[Any], kwargs: Mapping[str, Any]) -> None:
    options = [*values[1:], *kwargs.values()]
    budget.check_integers(options)
    if name not in _STRUCTURAL:
        budget.check_text(*values, *kwargs.values())
    match name:
        case "round" if hasattr(values[0], "__len__") or any(
            abs(n) > MAX_EXPONENT for n in options if isinstance(n, int)
        ):
            raise SecurityError(f"round rounds numbers, to at most {MAX_EXPONENT} digits")
        case "sum" if any(isinstance(option, list | tuple) for option in options):
            raise SecurityError("sum adds numbers only")
        case "replace":
            budget.check_replace(str(values[0]), *map(str, options[:2]))
        case "join":
            budget.check_join(options[0] if options else "", values[0])
        case "format":
            budget.check_format(values[0], *options)
        case "center" | "indent" | "tojson":
            widths = [len(option) if isinstance(option, str) else int(option or 0) for option in options]
            if max(widths, default=0) > MAX_WIDTH:
                raise SecurityError(f"{name} with a width of more than {MAX_WIDTH}")
            lines = weight(values[0], limit=budget.max_characters) if name == "tojson" else str(values[0]).count("\n")
            budget.check_size(lines * max(widths, default=0))
