"""Score a run: python -m scripts.evaluate RUN [--samples K] [--annealing T]. Prints a table and appends to RUN/results.jsonl.

With --annealing a model with real latent variables gets a second bound, `annealed_nll`, by a path of T temperatures from its prior:
where it is much lower than test_nll, the importance-weighted bound has not seen all of the posterior.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from research.types import BadInput
from scripts import cli


def define_flags() -> None:
    """Flags are defined when run, not when imported: another script may have one of the same name."""
    flags.DEFINE_integer(
        'samples', None, 'k of the importance-weighted bound, for models that have one.', lower_bound=1
    )
    flags.DEFINE_integer(
        'annealing', None, 'T: a bound by annealed importance sampling too, over so many temperatures.', lower_bound=1
    )
    flags.DEFINE_enum('split', 'test', ['test', 'valid'], 'Which examples to score.')
    flags.DEFINE_string('data_dir', None, 'Where data sets are looked for, before TFDS_DATA_DIR and LIKENESS_DATA_DIR.')


def annealable(folder: Path) -> tuple[Any, Any]:
    """A fitted run and its latent variables. Raises BadInput for a model without any that one can anneal through."""
    from research import run as runs
    from research.metrics import latents

    fitted = runs.load(folder)
    model = latents.latent(fitted.model)
    if model is None or not model.everywhere:
        name = type(fitted.model).__name__
        raise BadInput(f'--annealing: {name} has no latent variables with a density all over space; leave it out')
    return fitted, model


def annealed(folder: Path, fitted: Any, model: Any, temperatures: int) -> list[Any]:
    """`annealed_nll` of a run in nats per unit, appended to its results."""
    import jax

    from research.engine import measure, score
    from research.evaluate import Result, Scored, record
    from research.maths.annealing import Annealing
    from research.metrics import likelihood

    options = flags.FLAGS
    x = getattr(fitted.run.data.load(options.data_dir), options.split).x
    estimator = likelihood.Annealed(model=model, how=Annealing(temperatures=temperatures))
    key = jax.random.fold_in(jax.random.key(fitted.run.seed), 780)
    found = measure.each(estimator, fitted.params, x, key, 100)
    count, each = score.units(x, fitted.domain), score.variables(fitted.domain)
    nats = -found['lower'].astype(np.float64) - count * each * np.log(fitted.domain.cell)
    error = likelihood.over_examples(nats / np.maximum(count, 1)).error
    settings = {'temperatures': temperatures, 'chains': estimator.chains, 'standard_error': error}
    settings['accepted'] = float(found['accepted'].mean())
    value, unit = float(nats.sum() / count.sum()), f'nats per {fitted.domain.unit}'
    results = [Result('annealed_nll', value, unit, 'bound', int(count.sum()), options.split, settings)]
    record(folder, Scored(results, nats, count))
    return results


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        raise BadInput('expected one run folder: python -m scripts.evaluate RUN')
    folder, options = Path(argv[1]), flags.FLAGS
    if not (folder / 'card.json').is_file():
        raise BadInput(f'{folder}: not a run folder (it has no card.json); python -m scripts.train makes one')
    from research import run as runs

    found = annealable(folder) if options.annealing else None
    results = runs.evaluate_folder(folder, options.samples, options.split, options.data_dir)
    if found:
        results += annealed(folder, *found, options.annealing)
    if not results:
        print(f'{folder}: this model cannot score, and its samples are no images to compare; nothing was added')
        return 0
    width = max(len(r.metric) for r in results)
    print(f'{"metric":<{width}}  {"value":>12}  {"+-":>9}  {"kind":<8}  {"n":>7}  unit')
    for r in results:
        error = r.settings.get('standard_error') if r.metric.endswith('nll') else None
        shown = '' if error is None else f'{error:.4f}'
        print(f'{r.metric:<{width}}  {r.value:>12.4f}  {shown:>9}  {r.kind:<8}  {r.n:>7}  {r.unit}')
    return 0


if __name__ == '__main__':
    define_flags()
    cli.run(main)
