"""The operators that a stored program may call: they compute tensors, and reach nothing else.

Each takes tensors, numbers and words that choose a formula. What reads or writes files, starts
processes, hands out memory of others or evaluates text is not among them.
"""

from __future__ import annotations

import re

__all__ = ["is_known_operator", "is_known_tensor_operator"]

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
    """Whether a node of an exported program may call what its target names."""
    match = TARGET.fullmatch(target)
    return target in OTHERS or (match is not None and is_known_tensor_operator(match[1]))


def is_known_tensor_operator(name: str) -> bool:
    """Whether an operator of torch's own library is known, also where it works in place."""
    return name in TENSORS or (name.endswith("_") and name[:-1] in TENSORS)
