"""The bench beside its peers, the same work in one run: python -m scripts.benchmark [--only vae,dcgan,...] [--repeats 7]."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable

from absl import flags

from research.types import BadInput
from scripts import cli

CONTESTS = (
    'vae', 'iwae', 'dcgan', 'mixture', 'density', 'sequences', 'circuits', 'ngram', 'starts', 'sweep', 'kernels', 'peak',
)  # fmt: skip
ASKED_FOR = ('sequences', 'kernels', 'peak')  # held only where they are named: slow, and for an accelerator


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    chosen = options.only or [name for name in CONTESTS if name not in ASKED_FOR]
    for name in chosen:
        if name not in CONTESTS:
            raise BadInput(f'--only {name}: expected some of {", ".join(CONTESTS)}')
    import jax

    from research.engine import cache, card
    from scripts.benchmarks import circuits, dcgan, density, iwae, mixture, ngram, peak, sequences, starts, sweep, vae
    from scripts.benchmarks.contest import Contest, hold, table

    cache.enable()
    device = 'cuda' if jax.default_backend() == 'gpu' else 'cpu'
    peers = ', '.join(f'{k} {v}' for k, v in card.versions().items() if k in ('python', 'jax', 'numpy'))
    print(
        f'{card.device()}, {platform.processor() or platform.machine()}, {peers}{torch_version(device)}\n', flush=True
    )
    contests: dict[str, Callable[[], list[Contest]]] = {
        'vae': lambda: [vae.contest(device)],
        'iwae': lambda: [iwae.contest(device)],
        'dcgan': lambda: [dcgan.contest(device)],
        'mixture': lambda: [mixture.contest()],
        'density': density.contests,
        'sequences': sequences.contests,
        'circuits': lambda: [circuits.contest()],
        'sweep': sweep.contests,
        'kernels': lambda: [density.kernels()],
    }
    reports: dict[str, Callable[[], str]] = {
        'sequences': sequences.tree,
        'ngram': ngram.report,
        'starts': lambda: starts.report(3),
        'peak': peak.report,
    }
    if device == 'cuda':
        reports['sweep'] = sweep.scaling
    for name in chosen:
        for contest in contests.get(name, list)():
            print(table(hold(contest, options.repeats)), end='\n\n', flush=True)
        if name in reports:
            print(reports[name](), end='\n\n', flush=True)
    return 0


def torch_version(device: str) -> str:
    """PyTorch's version, with as many threads as there are cores; nothing where it is not installed."""
    if importlib.util.find_spec('torch') is None:
        return ''
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    return f', torch {torch.__version__} ({device})'


if __name__ == '__main__':
    flags.DEFINE_list(
        'only',
        [],
        f'Contests to hold, of {", ".join(CONTESTS)}; all but {", ".join(ASKED_FOR)} where not given.',
    )
    flags.DEFINE_integer('repeats', 7, 'How often each contender is measured.', lower_bound=1)
    cli.run(main)
