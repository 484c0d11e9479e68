"""Does a penalty on the codes pull factors apart? Objectives x strengths x seeds on sprites, one leaderboard.

    python -m experiments.disentangle --out runs/disentangle                      # 60 members: a quarter of an hour on two cores

Each objective is swept over its own strength from all seeds, the members of one objective side by side in one program. What comes out is one table of the metrics of codes, means and 95 % intervals
over seeds, and a page; a sweep that was stopped goes on with --resume. Unsupervised choices of strength are not made here: the
spread over seeds is most of what Locatello et al. 2019 (arXiv:1811.12359) found.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from research.maths.rates import Capacity
from research.maths.regularisers import DIP, TotalCorrelation
from research.models.factor_vae import FactorVAE
from research.nets.mlp import MLP
from research.report import codes, leaderboard, page
from research.run import Run
from research.sweep import sweep
from research.trainers.adversarial import AdversarialTrainer
from research.trainers.optimisers import Adam
from research.types import BadInput
from scripts import cli, configs


class Objective(NamedTuple):
    """A model on sprites, and the field whose values are swept."""

    run: Run
    field: str
    values: tuple[float, ...]


def objectives(epochs: int) -> dict[str, Objective]:
    """beta_vae_sprites with another objective."""
    base = dataclasses.replace(configs.build('beta_vae_sprites'), epochs=epochs)
    vae = dataclasses.replace(base.trainer.model, beta=1.0, score_samples=1)

    def variant(**parts: Any) -> Run:
        model = dataclasses.replace(vae, **parts)
        return dataclasses.replace(base, trainer=dataclasses.replace(base.trainer, model=model))

    critic = MLP(hidden=(256, 256), activation='leaky_relu')
    factor = AdversarialTrainer(
        model=FactorVAE(vae=vae, critic=critic, score_samples=1),
        learning_rate=1e-3,
        critic_learning_rate=1e-4,
        optimiser=Adam(),
        critic_optimiser=Adam(b1=0.5, b2=0.9),
    )
    capacity = variant(beta=20.0, rate=Capacity(nats=12.0, steps=2 * epochs * 100))
    return {
        'beta_vae': Objective(variant(), 'trainer.model.beta', (1.0, 4.0, 10.0)),
        'annealed_vae': Objective(capacity, 'trainer.model.rate.nats', (4.0, 8.0, 12.0)),
        'beta_tcvae': Objective(
            variant(regulariser=TotalCorrelation()), 'trainer.model.regulariser.weight', (0.0, 5.0, 15.0)
        ),
        'dip_vae': Objective(
            variant(regulariser=DIP(kind='II')), 'trainer.model.regulariser.off_diagonal', (1.0, 10.0, 50.0)
        ),
        'factor_vae': Objective(dataclasses.replace(base, trainer=factor), 'trainer.model.gamma', (1.0, 10.0, 30.0)),
    }


def train(name: str, objective: Objective, seeds: int, out: Path, resume: bool) -> None:
    """Sweep one objective, unless that is done."""
    began = time.perf_counter()
    told = f'Sprites: {name}, {objective.field.rpartition(".")[2]} of {", ".join(map(str, objective.values))}.'
    sweep(
        objective.run,
        {objective.field: objective.values},
        seeds,
        out=out,
        resume=resume and out.is_dir(),
        config=name,
        summary=told,
    )
    print(f'{name:<14} {len(objective.values) * seeds:>3} members  {time.perf_counter() - began:7.1f} s', flush=True)


def tables(folders: list[Path], out: Path) -> str:
    """The leaderboard and the table of codes of all members, which also go to the page."""
    records = [leaderboard.read(folder) for folder in folders]
    page.write(records, out / 'index.html', 'Likeness: objectives and strengths on sprites')
    told = [(leaderboard.text_table(board), codes.text_table(board)) for board in leaderboard.boards(records)]
    return '\n\n'.join(text for pair in told for text in pair if text)


def chosen(names: list[str], known: list[str]) -> list[str]:
    for name in names:
        if name not in known:
            raise BadInput(f'--only {name}: expected some of {", ".join(known)}')
    return names or known


def main(argv: list[str]) -> int:
    options = flags.FLAGS
    found, out = objectives(options.epochs), Path(options.out)
    names = chosen(options.only, list(found))
    if out.is_dir() and any(out.iterdir()) and not options.resume:
        raise BadInput(f'{out} exists; continue it with --resume, or choose another --out')
    for name in names:
        train(name, found[name], options.seeds, out / name, options.resume)
    members = [folder for name in names for folder in sorted((out / name / 'members').iterdir())]
    told = tables(members, out)
    (out / 'table.txt').write_text(told + '\n', encoding='utf-8')
    print(f'\n{told}\n\npage: {out / "index.html"}')
    return 0


def define_flags() -> None:
    flags.DEFINE_string('out', 'runs/disentangle', 'Folder for the sweeps, the table and the page.')
    flags.DEFINE_list('only', [], 'Some of the objectives; all where not given.')
    flags.DEFINE_integer('seeds', 5, 'Seeds of each strength.', lower_bound=1)
    flags.DEFINE_integer('epochs', 5, 'Epochs of each member.', lower_bound=1)
    flags.DEFINE_bool('resume', False, 'Go on with what is in --out.')


if __name__ == '__main__':
    define_flags()
    cli.run(main)
