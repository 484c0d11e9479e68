"""One epoch of stepwise EM for a hidden Chow-Liu tree on `plants`, beside the same layers in PyTorch on the CPU.

PyTorch's takes all nodes of one depth as one batched product, with the maximum taken out, and has the expected counts from
autograd: they are the derivatives of log p(x) by the logarithms of the tables. Same tree, start, batches and M step.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.data import Binary
from research.models.circuit import HiddenChowLiu
from research.trainers.em import StepwiseEMTrainer
from research.types import BadInput
from scripts.benchmarks.contest import Contest, Measure
from scripts.benchmarks.density import timed

KEY = jax.random.key(0)
STATES, BATCH, STEP = 12, 250, 0.1
MODEL = HiddenChowLiu(states=STATES)
SAME = 1e-4  # relative, between the log-likelihoods after the epoch


def data(rows: int = 17_412, variables: int = 69) -> tuple[np.ndarray, str]:
    """`plants`, or bits of the same shape that hang together; whole batches of either."""
    try:
        x, what = np.asarray(Binary(name='plants').load().train.x, np.float32), 'plants'
    except BadInput:
        rng = np.random.default_rng(0)
        groups = rng.random((rows, 10)) < 0.2
        x = (groups[:, np.arange(variables) % 10] ^ (rng.random((rows, variables)) < 0.1)).astype(np.float32)
        what = 'bits of its shape'
    return x[: len(x) // BATCH * BATCH], what


def ours(x: np.ndarray) -> tuple[Any, Any]:
    """An epoch, and the state before it."""
    one = StepwiseEMTrainer(model=MODEL, step_size=STEP)
    state = jax.jit(one.init)(KEY, x)

    @jax.jit
    def epoch(state: Any, batches: jax.Array) -> Any:
        return jax.lax.scan(lambda state, batch: (one.step(state, batch, KEY)[0], None), state, batches)[0]

    batches = jax.device_put(x.reshape(-1, BATCH, x.shape[1]))
    return (lambda: jax.block_until_ready(epoch(state, batches))), state


class Torch:
    """The tree's two passes and the M step."""

    def __init__(self, params: Any, smoothing: float) -> None:
        import torch

        self.torch, self.smoothing = torch, smoothing
        order, parent = (np.asarray(params['constants'][name]) for name in ('order', 'parent'))
        depth = np.zeros(len(order), int)
        for i in order[1:]:
            depth[i] = depth[parent[i]] + 1
        self.root, self.parent = int(order[0]), torch.tensor(parent).long()
        self.levels = [torch.from_numpy(np.flatnonzero(depth == level)) for level in range(depth.max(), 0, -1)]
        self.start = [torch.tensor(np.asarray(params[name])) for name in ('transition', 'emission')]

    def log_p(self, tables: list[Any], x: Any) -> Any:
        """[batch] nats, x [dims, batch]."""
        log_t, log_one, log_nil = tables
        log_u = x[:, None] * log_one[:, :, None] + (1 - x[:, None]) * log_nil[:, :, None]
        for nodes in self.levels:
            u = log_u[nodes]
            top = u.detach().amax(dim=1, keepdim=True)
            said = self.torch.bmm(log_t[nodes].exp().transpose(1, 2), (u - top).exp()).log() + top
            log_u = log_u.index_add(0, self.parent[nodes], said)
        return self.torch.logsumexp(log_u[self.root] + log_t[self.root, :, :1], dim=0)

    def tables(self, params: list[Any]) -> list[Any]:
        transition, emission = params
        logsigmoid = self.torch.nn.functional.logsigmoid
        return [transition.log_softmax(dim=1), logsigmoid(emission), logsigmoid(-emission)]

    def epoch(self, batches: list[Any]) -> list[Any]:
        """The parameters after it."""
        params, average = self.start, None
        for x in batches:
            tables = [table.requires_grad_() for table in self.tables(params)]
            counts = self.torch.autograd.grad(self.log_p(tables, x).sum(), tables)
            average = [STEP * new if average is None else old + STEP * (new - old)
                       for old, new in zip(average or counts, counts, strict=True)]  # fmt: skip
            moves, ones, nils = average
            transition = (moves + self.smoothing / STATES).log()
            root = (moves[self.root, :, :1] + self.smoothing).log()
            transition[self.root] = root
            params = [transition, (ones + self.smoothing / 2).log() - (nils + self.smoothing / 2).log()]
        return params


def contest() -> Contest:
    x, what = data()
    run, state = ours(x)
    contenders: dict[str, Measure] = {'ours': timed(run)}
    want, notes = {}, []
    try:
        peer = Torch(state.params, MODEL.smoothing)
    except ImportError:
        notes.append('PyTorch is not installed (requirements-benchmark.txt)')
    else:
        rows = peer.torch.from_numpy(x)
        batches = [rows[i : i + BATCH].T.contiguous() for i in range(0, len(x), BATCH)]
        found = run().params
        level = float(jax.jit(MODEL.log_prob)(found, jnp.asarray(x), KEY).mean())
        other = float(peer.log_p(peer.tables(peer.epoch(batches)), rows.T).mean())
        if abs(other - level) > SAME * abs(level):
            notes.append(f'PyTorch, which ends at {other:.3f} nats and ours at {level:.3f}')
        else:
            contenders['PyTorch'], want['PyTorch'] = timed(lambda: peer.epoch(batches)), 1.5
    return Contest(
        name=f'Hidden Chow-Liu tree, {STATES} states, {len(x)} x {x.shape[1]}, {what}, batch {BATCH}',
        unit='epoch of stepwise EM',
        contenders=contenders,
        want=want,
        notes=tuple(notes),
    )
