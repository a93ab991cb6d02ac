"""Check that an exported program holds only allowed operators before it is loaded."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

NAMES = """
abs absolute acos acosh adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d
_adaptive_avg_pool3d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d add addcdiv addcmul
addmm affine_grid_generator alias all alpha_dropout amax amin aminmax angle any arange argmax argmin
argsort as_strided asin asinh _assert_async _assert_scalar _assert_tensor_metadata atan atan2 atanh
atleast_1d avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bernoulli bilinear bitwise_and
bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm broadcast_tensors
broadcast_to bucketize cartesian_prod cat cdist _cdist_forward ceil celu channel_shuffle chunk clamp
clamp_max clamp_min clip clone col2im column_stack complex concat _conj constant_pad_nd contiguous
conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d _convolution convolution
copy copysign cos cosh cosine_similarity count_nonzero cross cummax cumprod cumsum deg2rad detach
diag diag_embed diagonal diff div divide dot dropout dstack einsum elu embedding _embedding_bag
empty empty_like empty_permuted empty_strided eq erf erfc erfinv exp exp2 expand expand_as expm1 eye
feature_alpha_dropout feature_dropout _fft_c2c _fft_c2r fft_fft fft_fft2 fft_fftn fft_fftshift
fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_irfft fft_irfft2 fft_irfftn _fft_r2c fft_rfft
fft_rfft2 fft_rfftn fill flatten flip fliplr flipud floor floor_divide fmax fmin fmod frac
frobenius_norm full full_like gather ge gelu glu greater greater_equal grid_sampler grid_sampler_2d
group_norm gru gt hardshrink hardsigmoid hardswish hardtanh heaviside hstack hypot im2col imag index
index_add index_copy index_fill index_put index_select inner instance_norm isclose isfinite isinf
isnan item layer_norm le leaky_relu lerp less less_equal lift_fresh lift_fresh_copy linalg_inv_ex
linalg_norm linalg_vector_norm linear linspace _local_scalar_dense log log10 log1p log2 log_sigmoid
log_softmax _log_softmax logaddexp logical_and logical_not logical_or logical_xor logit logsumexp
lstm lt masked_fill masked_scatter masked_select matmul max max_pool1d max_pool2d
max_pool2d_with_indices max_pool3d max_pool3d_with_indices maximum mean median meshgrid min minimum
mish mm movedim mul multi_head_attention multiply mv nan_to_num narrow native_batch_norm
_native_batch_norm_legit _native_batch_norm_legit_no_training native_dropout native_group_norm
native_layer_norm ne neg negative new_empty new_empty_strided new_full new_ones new_zeros nonzero
norm normalize not_equal numel one_hot ones ones_like outer pad pairwise_distance _pdist_forward
permute pixel_shuffle pixel_unshuffle positive pow prelu prod rad2deg rand rand_like randint randn
randn_like randperm real reciprocal reflection_pad1d reflection_pad2d reflection_pad3d relu relu6
remainder repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape
reshape_as resolve_conj resolve_neg rms_norm rnn_relu rnn_tanh roll rot90 round rsqrt rsub
_safe_softmax scalar_tensor scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu
scatter scatter_add scatter_reduce select select_scatter selu _shape_as_tensor sigmoid sign silu sin
sinc sinh size slice slice_scatter softmax _softmax softplus softshrink sort special_erf
special_expit special_logit split split_with_sizes sqrt square squeeze stack std std_mean stride sub
subtract sum swapaxes swapdims sym_constrain_range sym_constrain_range_for_size sym_is_contiguous
sym_numel sym_size sym_storage_offset sym_stride t take take_along_dim tan tanh tensor_split
tensordot threshold tile to _to_copy topk transpose tril tril_indices triu triu_indices true_divide
trunc type_as unbind unflatten unfold unsafe_chunk _unsafe_index unsafe_split
unsafe_split_with_sizes _unsafe_view unsqueeze upsample_bicubic2d _upsample_bicubic2d_aa
upsample_bilinear2d _upsample_bilinear2d_aa upsample_linear1d upsample_nearest1d upsample_nearest2d
_upsample_nearest_exact2d upsample_trilinear3d var var_mean vdot view view_as view_as_complex
view_as_complex_copy view_as_real view_copy vstack _weight_norm _weight_norm_interface where xlogy
zero zeros zeros_like
"""
TENSORS = frozenset(NAMES.split())

# What computes the sizes of tensors, and blocks under another mode of gradients or precision.
OTHERS = frozenset(
    [
        *(
            f"_operator.{name}"
            for name in (
                *("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "neg", "pos"),
                *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_", "getitem"),
            )
        ),
        *(f"math.{name}" for name in ("ceil", "floor", "trunc", "sqrt", "pow")),
        *(
            f"torch.sym_{name}"
            for name in ("int", "float", "max", "min", "ite", "not", "sum", "sqrt")
        ),
        "torch._sym_sqrt",
        "torch.ops.higher_order.wrap_with_set_grad_enabled",
        "torch.ops.higher_order.wrap_with_autocast",
    ]
)
TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")


def is_known_operator(target: str) -> bool:
    """Return whether a node of an exported program may call its target."""
    match = TARGET.fullmatch(target)
    return target in OTHERS or (match is not None and is_known_tensor_operator(match[1]))


def is_known_tensor_operator(name: str) -> bool:
    """Return whether a torch operator is known, in place or not."""
    return name in TENSORS or (name.endswith("_") and name[:-1] in TENSORS)


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
# A hyphen, as in the blocks of RegNet, is read by getattr in the code that torch generates.
PATH = re.compile(r"((?!__)\w[\w-]*(@\d+)?(\.(?!__)\w[\w-]*(@\d+)?)*)?")
STACK = re.compile(r"[\w.,;@<>\[\]-]*")
TENSOR = re.compile(r"(weight|tensor)_\d+")
FLOAT = re.compile(r"-?Infinity|NaN")
DEVICE = re.compile(r"cpu|cuda|mps")
TEXT = re.compile(r".*", re.DOTALL)

# Sizes by their letters, numbers, and the functions that torch writes of them.
SYMBOL = re.compile(r"[A-Za-z_]\w*")
SYMBOLS = re.compile(
    r"[suz]\d+|Max|Min|Mod|PythonMod|Pow|FloorDiv|CeilDiv|CleanDiv|IntTrueDiv|FloatTrueDiv"
    r"|TruncToInt|CeilToInt|FloorToInt|ModularIndexing|Abs|Add|Mul|Eq|Ne|Le|Lt|Ge|Gt|And|Or|Not"
    r"|Where|Identity|Symbol|Integer|Rational|True|False|oo|int_oo|integer|positive|nonnegative"
)
FORMULA = re.compile(r"[\w\s+\-*/%(),.<>=!&|~']*")

# Torch looks a type up by its name, and lets some of them import a module.
CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
DEEPEST = 64


def _is_size(text: str) -> bool:
    is_plain = FORMULA.fullmatch(text) and "__" not in text and not re.search(r"\.\D", text)
    return bool(is_plain) and all(SYMBOLS.fullmatch(word) for word in SYMBOL.findall(text))


def _is_tree(text: str) -> bool:
    """Return whether a text describes a nesting of lists, tuples and dicts."""
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
    """Raise for a file that is not an exported program of tensors and a graph only."""
    members = list(names)
    for name in members:
        # Torch's reader does not tell capital letters from small ones.
        is_twice = [other.lower() for other in members].count(name.lower()) > 1
        if is_twice or not MEMBERS.fullmatch(name):
            raise _forbidden_error(path, f"'{name}'{' twice' * is_twice}")
        if name.endswith(".json"):
            try:
                _check(path, "", json.loads(read(name)), DEEPEST)
            except (ValueError, RecursionError) as error:
                raise EncoderError(
                    f"{path} is no program of torch.export, or is damaged ({name}: {error})",
                    "copy or save it again",
                ) from None


def _check(path: Path, key: str, value: Any, deepest: int) -> None:
    """Raise for anything unknown in a value of the schema."""
    if key in EMPTY and value:
        raise _forbidden_error(path, f"'{key}'")
    if isinstance(value, str) and not (key in TEXTS and TEXTS[key](value)):
        raise _forbidden_error(path, f"{key or 'a text'} '{value}'")
    if isinstance(value, list | dict) and deepest == 0:
        raise _forbidden_error(path, "values within values")
    if isinstance(value, list):
        for inner in value:
            _check(path, key, inner, deepest - 1)
    elif isinstance(value, dict):
        is_named = key in NAMED
        for name, inner in value.items():
            if not (PATH.fullmatch(name) if is_named else name in KEYS):
                raise _forbidden_error(path, f"the key '{name}'")
            _check(path, "" if is_named else name, inner, deepest - 1)


def _forbidden_error(path: Path, part: str) -> EncoderError:
    return EncoderError(
        f"{path} holds {part}, more than a graph and tensors, and was not loaded: that could run "
        "code",
        "export the network alone, with the version of torch that is installed here",
    )
