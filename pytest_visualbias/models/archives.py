"""Whether a file of torch.export can be loaded without running what somebody wrote into it.

Torch unpickles parts of such a file, loads compiled libraries from it, evaluates the expressions of
its shapes as Python, and writes Python from the names in its graph. So every member, key and text
of it must be one that is known; only such a file is handed to torch.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.operators import is_known_operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

__all__ = ["check_archive"]

# The graph, tensors, and what says how they lie.
MEMBERS = re.compile(
    r"archive_format|archive_version|version|byteorder|\.format_version"
    r"|\.storage_alignment|\.data/[\w.]+|models/\w+\.json"
    r"|data/weights/(weight_\d+|\w+_config\.json)"
    r"|data/constants/(tensor_\d+|\w+_config\.json)"
    r"|data/sample_inputs/\w+\.pt|extra/[^/]+"
)
NAME = re.compile(r"(?!__)[A-Za-z_]\w*|")
# Names of modules and weights; a second call of a module has a number behind an @.
PATH = re.compile(r"((?!__)\w+(@\d+)?(\.(?!__)\w+(@\d+)?)*)?")
STACK = re.compile(r"[\w.,;@<>\[\]-]*")
TENSOR = re.compile(r"(weight|tensor)_\d+")
FLOAT = re.compile(r"-?Infinity|NaN")
DEVICE = re.compile(r"cpu|cuda|mps")
TEXT = re.compile(r".*", re.DOTALL)
# Sizes by their letters, numbers, and the functions that torch writes of them.
WORDS = re.compile(r"[A-Za-z_]\w*")
KNOWN = re.compile(
    r"[suz]\d+|Max|Min|Mod|PythonMod|Pow|FloorDiv|CeilDiv|CleanDiv|IntTrueDiv|FloatTrueDiv"
    r"|TruncToInt|CeilToInt|FloorToInt|ModularIndexing|Abs|Add|Mul|Eq|Ne|Le|Lt|Ge|Gt|And|Or|Not"
    r"|Where|Identity|Symbol|Integer|Rational|True|False|oo|int_oo|integer|positive|nonnegative"
)
LETTERS = re.compile(r"[\w\s+\-*/%(),.<>=!&|~']*")
# Torch looks a type up by its name, and lets some of them import a module.
CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
DEEPEST = 64


def _is_size(text: str) -> bool:
    is_plain = LETTERS.fullmatch(text) and "__" not in text and not re.search(r"\.\D", text)
    return bool(is_plain) and all(KNOWN.fullmatch(word) for word in WORDS.findall(text))


def _is_tree(text: str) -> bool:
    """Whether a text tells how values are put together of lists, tuples and dicts."""
    try:
        version, tree = json.loads(text) if text else (1, None)
    except (TypeError, ValueError):
        return False
    return version == 1 and (tree is None or _is_branch(tree))


def _is_branch(tree: Any) -> bool:
    if tree == {"type": None, "context": None, "children_spec": []}:
        return True
    keys = {"type", "context", "children_spec"}
    if not isinstance(tree, dict) or tree.keys() != keys or tree["type"] not in CONTAINERS:
        return False
    names = json.loads(tree["context"])
    is_plain = names is None or all(isinstance(name, str | int) for name in names)
    return is_plain and all(_is_branch(child) for child in tree["children_spec"])


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


# The texts of the schema by their keys, each with what it may be.
TEXTS: Mapping[str, Callable[[str], bool]] = {
    **dict.fromkeys(("name", "as_name", "user_input_name", "forward_arg_names"), _matches(NAME)),
    **dict.fromkeys(
        ("fqn", "parameter_name", "buffer_name", "tensor_constant_name"), _matches(PATH)
    ),
    **dict.fromkeys(("in_spec", "out_spec"), _is_tree),
    **dict.fromkeys(("as_string", "as_strings", "verifiers", "torch_version"), _matches(TEXT)),
    # Of nodes; torch keeps these beside them.
    **dict.fromkeys(
        ("stack_trace", "torch_fn", "source_fn_stack", "from_node", "custom"), _matches(TEXT)
    ),
    # Never run: modules are built without them.
    "guards_code": _matches(TEXT),
    **dict.fromkeys(("as_float", "as_floats", "real", "imag"), _matches(FLOAT)),
    "nn_module_stack": _matches(STACK),
    "target": is_known_operator,
    "expr_str": _is_size,
    "type": _matches(DEVICE),
    "path_name": _matches(TENSOR),
}
# Mappings by names of the graph's values, or of weights.
MAPPINGS = """
tensor_values sym_int_values sym_bool_values sym_float_values range_constraints opset_version
config
"""
NAMED = frozenset(MAPPINGS.split())
# What holds nothing in a program of tensors alone.
EMPTY = frozenset({"custom_obj_values", "treespec_namedtuple_fields", "use_pickle"})
FIELDS = """
graph_module schema_version major minor graph signature module_call_graph metadata inputs outputs
nodes is_single_tensor_return input_specs output_specs arg kind is_hop_single_tensor_return
persistent user_input parameter buffer tensor_constant user_output buffer_mutation
user_input_mutation parameter_mutation as_none as_tensor as_tensors as_int as_ints as_float
as_floats as_sym_int as_sym_ints as_scalar_type as_memory_format as_layout as_device as_bool
as_bools as_sym_bool as_sym_bools as_graph as_optional_tensors as_optional_tensor as_sym_float
as_sym_floats as_complex real imag as_nested_tensors as_int_lists as_float_lists as_expr hint
dtype sizes requires_grad device strides storage_offset layout index min_val max_val is_param
tensor_meta
"""
KEYS = NAMED | EMPTY | {*FIELDS.split(), *TEXTS}


def check_archive(path: Path, names: Iterable[str], read: Callable[[str], bytes]) -> None:
    """Refuse a file that is no exported program, or one that is more than tensors and a graph.

    Parameters
    ----------
    path : Path
        What people see of it.
    names : iterable of str
        Its members, as torch's own reader tells them: another reader might see other ones.
    read : callable
        Returns the content of one.

    Raises
    ------
    EncoderError
        With what was found in it.
    """
    members = list(names)
    for name in members:
        # Torch's reader does not tell capital letters from small ones.
        is_twice = [other.lower() for other in members].count(name.lower()) > 1
        if is_twice or not MEMBERS.fullmatch(name):
            raise _more_than_a_graph(path, f"'{name}'{' twice' * is_twice}")
        if name.endswith(".json"):
            try:
                _check(path, "", json.loads(read(name)), DEEPEST)
            except (ValueError, RecursionError) as error:
                raise EncoderError(
                    f"{path} is no program of torch.export, or is damaged ({name}: {error}); copy "
                    "or save it again"
                ) from None


def _check(path: Path, key: str, value: Any, deepest: int) -> None:
    """Raise for anything in a value of the schema that is not known there."""
    if key in EMPTY and value:
        raise _more_than_a_graph(path, f"'{key}'")
    if isinstance(value, str) and not (key in TEXTS and TEXTS[key](value)):
        raise _more_than_a_graph(path, f"{key or 'a text'} '{value}'")
    if isinstance(value, list | dict) and deepest == 0:
        raise _more_than_a_graph(path, "values within values")
    if isinstance(value, list):
        for inner in value:
            _check(path, key, inner, deepest - 1)
    elif isinstance(value, dict):
        is_named = key in NAMED
        for name, inner in value.items():
            if not (PATH.fullmatch(name) if is_named else name in KEYS):
                raise _more_than_a_graph(path, f"the key '{name}'")
            _check(path, "" if is_named else name, inner, deepest - 1)


def _more_than_a_graph(path: Path, what: str) -> EncoderError:
    return EncoderError(
        f"{path} holds {what}, more than a graph and tensors, and was not loaded: that could run "
        "code; export the network alone, with the version of torch that is installed here"
    )
