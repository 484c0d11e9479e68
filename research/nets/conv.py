"""Convolution and transposed convolution with one set of parameters and the lowering each device likes best.

A convolution, its gradient in the image and its gradient in the kernel are three faces of one trilinear form

    T(image, kernel, map) = sum over b, h, w, i, j, c, f of
        image[b, s h + i - low, s w + j - low, c] kernel[i, j, c, f] map[b, h, w, f]

so `down` = dT/dmap (convolution), `up` = dT/dimage (transposed convolution) and `correlate` = dT/dkernel. Each is
linear in its two arguments and the derivative of each is the other two, hence every function here has derivatives of
every order in reverse mode (the gradient penalty of a Wasserstein GAN needs two). Forward mode is not offered.

Why not XLA's convolution everywhere: on CPU the derivatives it takes of `lax.conv_transpose` are slow, and within
`lax.scan`, where a whole epoch lives, so is each convolution. A DCGAN step (28x28, batch 64, kernels 4x4, two cores)
takes 302 ms with flax's layers in a loop and 1558 ms in a scan; with these faces lowered to XLA's convolution 108 ms
in a loop and 1562 ms in a scan; with them as matrix products (columns.py) 96 ms in a scan; in PyTorch 95 to 101 ms.
A GPU or TPU keeps `lax.conv_general_dilated`; `jax.lax.platform_dependent` chooses while lowering.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import flax.linen as nn
import jax
from jax import lax

from research.nets import columns
from research.nets.columns import Geometry, Lowering, Pair
from research.types import Array, BadInput, ranged

Padding = Literal['SAME', 'VALID'] | Sequence[Pair]
LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def conv(x: Array, kernel: Array, strides: Pair, padding: Padding, lowering: Lowering = 'auto') -> Array:
    """Cross-correlation as `lax.conv_general_dilated`: [b, h, w, c], [kh, kw, c, f] -> [b, h', w', f].

    'SAME' gives h' = ceil(h / stride), 'VALID' h' = (h - kh) // stride + 1, explicit pairs are zeros before and after.
    Raises BadInput where x is no image, its channels are not the kernel's, or the kernel exceeds the padded image.
    """
    _check(x, kernel)
    rows, cols = (_conv_axis(x.shape[i + 1], kernel.shape[i], strides[i], padding, i) for i in (0, 1))
    if min(rows[1], cols[1]) < 1:
        raise BadInput(f'a kernel of {kernel.shape[:2]} does not fit in images of {x.shape} with padding {padding!r}.')
    low, out = zip(rows, cols, strict=True)
    return down(x, kernel, Geometry(_pair(kernel.shape), _pair(strides), low, _pair(x.shape[1:]), out, lowering))


def conv_transpose(x: Array, kernel: Array, strides: Pair, padding: Padding, lowering: Lowering = 'auto') -> Array:
    """As `lax.conv_transpose` (and linen's): [b, h, w, c], [kh, kw, c, f] -> [b, h', w', f].

    'SAME' gives h' = h * stride, 'VALID' h' = (h - 1) * stride + max(kh, stride); explicit pairs pad the dilated input:
    h' = (h - 1) * stride + 2 + before + after - kh. The kernel is not flipped, so this is `up` of the flipped kernel.
    Raises BadInput as `conv` does, and where the padding leaves nothing.
    """
    _check(x, kernel)
    rows, cols = (_transpose_axis(x.shape[i + 1], kernel.shape[i], strides[i], padding, i) for i in (0, 1))
    if min(rows[1], cols[1]) < 1:
        raise BadInput(f'padding {padding!r} leaves nothing of {x.shape} under a kernel of {kernel.shape[:2]}.')
    low, image = zip(rows, cols, strict=True)
    geometry = Geometry(_pair(kernel.shape), _pair(strides), low, image, _pair(x.shape[1:]), lowering)
    return up(x, kernel[::-1, ::-1].swapaxes(2, 3), geometry)


def _check(x: Array, kernel: Array) -> None:
    if x.ndim != 4:
        raise BadInput(f'a convolution takes images [batch, height, width, channels], but the shape is {x.shape}.')
    if x.shape[3] != kernel.shape[2]:
        raise BadInput(f'a kernel for {kernel.shape[2]} channels was given images of shape {x.shape}.')


def _pair(numbers: Sequence[int]) -> Pair:
    return numbers[0], numbers[1]


def _conv_axis(n: int, k: int, s: int, padding: Padding, axis: int) -> Pair:
    """Zeros before the image, and the size of the map, along one axis of `conv`."""
    if padding == 'SAME':
        out = -(-n // s)
        return max((out - 1) * s + k - n, 0) // 2, out
    before, after = (0, 0) if padding == 'VALID' else _explicit(padding, axis)
    return before, (n + before + after - k) // s + 1


def _transpose_axis(n: int, k: int, s: int, padding: Padding, axis: int) -> Pair:
    """Zeros before the image, and its size, along one axis of the convolution that `conv_transpose` transposes."""
    if padding == 'SAME':
        return max(k - s, 0) // 2, n * s
    if padding == 'VALID':
        return 0, (n - 1) * s + max(k, s)
    before, after = _explicit(padding, axis)
    return k - 1 - before, (n - 1) * s + 2 + before + after - k


def _explicit(padding: Padding, axis: int) -> Pair:
    if isinstance(padding, str) or len(padding) != 2:
        raise BadInput(f"padding is 'SAME', 'VALID' or ((before, after), (before, after)), not {padding!r}.")
    return padding[axis]


# The three faces. The geometry is static; each derivative is made of the other two.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def down(image: Array, kernel: Array, g: Geometry) -> Array:
    """dT/dmap: [b, *g.image, c], [*g.kernel, c, f] -> [b, *g.map, f]."""
    return _choose(g, columns.down, _down_xla)(image, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def up(map_: Array, kernel: Array, g: Geometry) -> Array:
    """dT/dimage: [b, *g.map, f], [*g.kernel, c, f] -> [b, *g.image, c]."""
    return _choose(g, columns.up, _up_xla)(map_, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def correlate(image: Array, map_: Array, g: Geometry) -> Array:
    """dT/dkernel: [b, *g.image, c], [b, *g.map, f] -> [*g.kernel, c, f]."""
    return _choose(g, columns.correlate, _correlate_xla)(image, map_)


def _down_back(g: Geometry, saved: tuple[Array, Array], bar: Array) -> tuple[Array, Array]:
    image, kernel = saved
    return up(bar, kernel, g), correlate(image, bar, g)


def _up_back(g: Geometry, saved: tuple[Array, Array], bar: Array) -> tuple[Array, Array]:
    map_, kernel = saved
    return down(bar, kernel, g), correlate(bar, map_, g)


def _correlate_back(g: Geometry, saved: tuple[Array, Array], bar: Array) -> tuple[Array, Array]:
    image, map_ = saved
    return up(map_, bar, g), down(image, bar, g)


down.defvjp(lambda image, kernel, g: (down(image, kernel, g), (image, kernel)), _down_back)
up.defvjp(lambda map_, kernel, g: (up(map_, kernel, g), (map_, kernel)), _up_back)
correlate.defvjp(lambda image, map_, g: (correlate(image, map_, g), (image, map_)), _correlate_back)


def _choose(g: Geometry, matmul: Callable[..., Array], xla: Callable[..., Array]) -> Callable[..., Array]:
    matmul, xla = functools.partial(matmul, g), functools.partial(xla, g)
    if g.lowering == 'auto':
        return functools.partial(lax.platform_dependent, cpu=matmul, default=xla)
    return matmul if g.lowering == 'matmul' else xla


# XLA's own convolution.


def _down_xla(g: Geometry, image: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(image, kernel, g.stride, g.pads, dimension_numbers=LAYOUT)


def _up_xla(g: Geometry, map_: Array, kernel: Array) -> Array:
    image = jax.ShapeDtypeStruct((map_.shape[0], *g.image, kernel.shape[2]), map_.dtype)
    return jax.linear_transpose(lambda image: _down_xla(g, image, kernel), image)(map_)[0]


def _correlate_xla(g: Geometry, image: Array, map_: Array) -> Array:
    kernel = jax.ShapeDtypeStruct((*g.kernel, image.shape[3], map_.shape[3]), image.dtype)
    return jax.linear_transpose(lambda kernel: _down_xla(g, image, kernel), kernel)(map_)[0]


# The linen modules: parameters named and shaped as those of flax's nn.Conv and nn.ConvTranspose.


class Conv(nn.Module, kw_only=True):
    """`conv` with kernel [*kernel, channels, features] and bias: [b, h, w, channels] -> [b, h', w', features]."""

    features: int = ranged(at_least=1)
    kernel: Pair = ranged((3, 3), at_least=1)
    strides: Pair = ranged((1, 1), at_least=1)
    padding: Padding = 'SAME'
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    lowering: Lowering = 'auto'

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return _layer(self, conv, x)


class ConvTranspose(nn.Module, kw_only=True):
    """`conv_transpose` with kernel [*kernel, channels, features] and bias; 'SAME' multiplies sizes by the stride."""

    features: int = ranged(at_least=1)
    kernel: Pair = ranged((3, 3), at_least=1)
    strides: Pair = ranged((1, 1), at_least=1)
    padding: Padding = 'SAME'
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    lowering: Lowering = 'auto'

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return _layer(self, conv_transpose, x)


def _layer(layer: Conv | ConvTranspose, function: Callable[..., Array], x: Array) -> Array:
    if x.ndim != 4:
        raise BadInput(f'a convolution takes images [batch, height, width, channels], but the shape is {x.shape}.')
    kernel = layer.param('kernel', layer.kernel_init, (*layer.kernel, x.shape[3], layer.features))
    y = function(x, kernel, layer.strides, layer.padding, layer.lowering)
    if layer.use_bias:
        y = y + layer.param('bias', nn.initializers.zeros, (layer.features,)).reshape(1, 1, 1, -1)
    return y
