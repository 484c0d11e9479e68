"""Floor 6: a run is data and a trainer, for so many epochs, from a seed. Train it, score it, draw from it.

A run folder holds everything afterwards: card.json (what it was), metrics.jsonl (a line per epoch), checkpoints/,
results.jsonl (a line per number), and samples beside real data for the report.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import jax
import numpy as np

from research.data.chunks import Chunks
from research.data.source import Alphabet, Data
from research.engine import cache, card, fit, hosts, override, precision
from research.engine.checkpoint import first_process
from research.engine.epoch import Progress
from research.engine.logbook import rows, seconds
from research.engine.mesh import ONE, Mesh
from research.engine.plan import Plan, template
from research.engine.watch import Watch
from research.evaluate import Fitted, Result, Scored, draw, evaluate, record, show
from research.maths import preprocess
from research.report import pictures
from research.trainers import player
from research.types import BadInput, Domain, OnePass, Params, Undivided, ranged


class Source(Protocol):
    """What stands in a config as `data=`: a frozen dataclass that knows how to load itself."""

    def load(self, data_dir: str | None = None) -> Data: ...


@dataclass(frozen=True, kw_only=True)
class Run:
    data: Any  # a Source
    trainer: Any
    epochs: int = ranged(10, at_least=1)
    batch_size: int | None = ranged(100, at_least=1, optional=True)  # None: all the data in one batch
    seed: int = ranged(0, at_least=0, at_most=2**32 - 1)  # above, JAX takes it modulo 2**32
    mesh: Mesh = ONE  # mesh.data=4: each batch is split over four devices; mesh.model=2: the large arrays over two
    precision: Literal['float32', 'bfloat16'] = 'float32'  # what nets compute in; parameters are always float32
    checkpoint_every: int = ranged(0, at_least=0)  # epochs; 0: only at the end
    keep_last: int = ranged(3, at_least=1)  # checkpoints
    keep_best: str | None = None  # a metric of the log, such as loss: the checkpoint of its least value is kept too


def prepare(run: Run, data: Data) -> tuple[Run, Plan]:
    """The run with what the data decide filled in, and its plan. Raises BadInput before anything is compiled."""
    override.check(run)
    run = override.bind(run, data.domain)
    why = run.trainer.model.fits(data.domain)
    if why:
        raise BadInput(f'trainer.model does not fit data={data.name}: {why}')
    batch_size = len(data.train) if run.batch_size is None else run.batch_size
    check_batch(run, batch_size, len(data.train))

    def transform(x: Any, key: Any) -> Any:
        return preprocess.prepare(x, data.values, data.levels, key)

    x = data.train.x.for_batches(batch_size) if isinstance(data.train.x, Chunks) else np.asarray(data.train.x)
    plan = Plan(
        precision.apply(run.trainer, run.precision),
        transform,
        x,
        run.epochs,
        batch_size,
        run.seed,
        run.mesh,
        run.checkpoint_every,
        run.keep_last,
        run.keep_best,
    )
    logged = sorted(template(plan).totals)
    if run.keep_best is not None and run.keep_best not in logged:
        raise BadInput(f'keep_best={run.keep_best}: no such metric; expected one of {", ".join(logged)}, or none')
    return run, plan


def check_batch(run: Run, batch_size: int, examples: int) -> None:
    """Whether batches of this size suit the data, the trainer and the devices."""
    if batch_size > examples:
        raise BadInput(f'batch_size={batch_size}: the data have {examples} training examples; expected at most that')
    parts = run.trainer.parts * run.mesh.data
    if batch_size % parts:
        raise BadInput(
            f'batch_size={batch_size}: expected a multiple of {parts} (critic_steps x accumulate x mesh.data)'
        )
    if isinstance(run.trainer.model, Undivided) and run.trainer.parts > 1:
        raise BadInput(
            f'trainer.accumulate={run.trainer.parts}: each part would move the model’s chains on; expected 1'
        )
    if isinstance(run.trainer.model, OnePass) and batch_size != examples:
        raise BadInput(f'batch_size={batch_size}: this model counts all the data in one batch; expected none')
    if run.trainer.whole_epochs and examples % batch_size:
        near = max(d for d in range(1, batch_size + 1) if examples % d == 0)
        raise BadInput(
            f'batch_size={batch_size}: EM adds up every example, so it must divide their number, {examples}; '
            f'expected {near}, or none for all at once'
        )


def train(
    run: Run,
    folder: Path,
    *,
    config: str = '',
    summary: str = '',
    overrides: tuple[str, ...] = (),
    data_dir: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_divergence: str = 'ignore',
    quiet: bool = False,
) -> Fitted:
    """Fit `run` and leave a run folder. Raises BadInput for a folder that exists, unless resumed or overwritten.

    It is watched for collapse; what is done about it, `on_divergence` says as in `engine.fit`.
    """
    cache.enable()
    override.check(run)
    there = occupied(folder)
    if there and not (resume or overwrite):
        raise BadInput(
            f'{folder} exists; continue it with --resume, replace it with --overwrite, or choose another --out'
        )
    old = card.read(folder) if there else None  # only a run folder is ever continued or deleted
    data = run.data.load(data_dir)
    bound, plan = prepare(run, data)
    fit.check(plan, on_divergence)
    if old and resume:
        check_same(old, bound, data, folder)
        done = max((row['epoch'] for row in rows(folder)), default=0)
        if done > run.epochs:
            raise BadInput(f'epochs={run.epochs}: {folder} has trained {done} already; expected at least that')
    described = describe(bound, plan, data, config, summary, overrides)
    hosts.meet('before the folder is changed')
    if first_process():
        make(folder, described, anew=old is not None and not resume)
    hosts.meet('after it was')
    if not (folder / 'card.json').is_file():
        raise BadInput(
            f'{folder}: written by the first process and not seen by this one; expected a folder that all share'
        )
    began = time.perf_counter()
    watch, name = Watch(), config or 'train'
    state = fit.fit(plan, folder, resume=resume, on_divergence=on_divergence, watch=watch, name=name, quiet=quiet)
    fitted = Fitted(bound, hosts.local(run.trainer.params(state)), data.domain)
    if first_process():
        card.write(folder, described | {'parameters': parameters(bound.trainer.model, fitted.params)})
        spent = max(time.perf_counter() - began, seconds(folder))  # a resumed run has spent more than this call
        record(folder, Scored([Result('training_seconds', spent, 'seconds', 'exact', 1, 'train', {})]))
        show(fitted, folder, data)
    hosts.meet('at the end')
    return fitted


def make(folder: Path, described: dict[str, Any], anew: bool) -> None:
    """A run folder with its card; what it held before goes first if it is made `anew`."""
    if anew:
        clear(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f'{folder}: a run folder cannot be made there ({error.strerror})') from None
    card.write(folder, described)


def occupied(folder: Path) -> bool:
    """Whether anything is there; a run killed before its first card was whole has left nothing."""
    return any(path.suffix != '.partial' for path in folder.iterdir()) if folder.is_dir() else folder.exists()


def clear(folder: Path) -> None:
    """Empty a run folder, its card last: killed in between, it still is one, and may be overwritten again."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == 'card.json'):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def check_same(old: dict[str, Any], run: Run, data: Data, folder: Path) -> None:
    """Raises BadInput where a run to be resumed was another one."""
    differing = card.difference(old, run, str(folder / 'card.json'))
    if differing:
        raise BadInput(f'{folder}: cannot resume, {differing}')
    if old['data'].get('sha256') != data.sha256:
        raise BadInput(f'{folder}: cannot resume, the data are not those it was trained on (their sha256 differs)')


def parameters(model: Any, params: Params) -> int:
    """How many numbers were fitted: a model's own count where it has one, else all that is trained (not carried)."""
    if isinstance(model, OnePass):
        return model.size(params)
    return int(sum(leaf.size for leaf in jax.tree.leaves(player.split(params)[0])))


def describe(run: Run, plan: Plan, data: Data, config: str, summary: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """The run card."""
    return {
        'format': card.FORMAT,
        'config': config,
        'summary': summary,
        'model': type(run.trainer.model).__name__,
        'trainer': type(run.trainer).__name__,
        'network': run.trainer.model.network,
        'parameters': None,  # known once it is trained: for some models a count of what was counted
        'seed': run.seed,
        'overrides': list(overrides),
        'values': override.flatten(run),
        'run': override.to_json(run),
        'data': {'name': data.name, 'sha256': data.sha256, 'values': data.values, 'protocol': data.protocol},
        'domain': dataclasses.asdict(data.domain),
        'alphabet': data.text.symbols if data.text else None,
        'levels': data.levels,
        'train_shape': [[len(plan.x), *plan.x.shape[0 if isinstance(plan.x, Chunks) else 1 :]], str(plan.x.dtype)],
        'commit': card.commit(),
        'versions': card.versions(),
        'device': card.device(),
    }


def load(folder: Path) -> Fitted:
    """A fitted run from its folder alone. Raises BadInput where the folder or all its checkpoints are damaged."""
    from research.engine.checkpoint import Checkpoints

    cache.enable()
    run, template, domain = planned(card.read(folder), folder / 'card.json')
    book = Checkpoints(folder)
    try:
        progress, _, lost, _ = book.restore(template)
    finally:
        book.close()
    for sentence in lost:
        print(f'{folder}: {sentence}; using the one before it', flush=True)
    return Fitted(run, run.trainer.params(progress.state), domain)


def planned(found: dict[str, Any], path: Path) -> tuple[Run, Progress, Domain]:
    """The run on a card, the shapes of its checkpoints, and its domain. Raises BadInput where the card makes no sense.

    A card may come from anybody, so whatever its values make a net or a trainer raise is an answer about the card.
    """
    try:
        run = override.from_json(found['run'], str(path))
        if not isinstance(run, Run):
            raise BadInput(f'it describes a {type(run).__name__}, not a Run')
        override.check(run)
        (shape, dtype), values, levels = found['train_shape'], found['data']['values'], found['levels']
        x = jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
        batch_size = run.batch_size or shape[0]

        def transform(x: Any, key: Any) -> Any:
            return preprocess.prepare(x, values, levels, key)

        plan = Plan(run.trainer, transform, x, run.epochs, batch_size, run.seed)
        return run, template(plan), card.domain(found)
    except Exception as error:
        reason = ' '.join(str(error).split())[:300] or type(error).__name__
        raise BadInput(reason if str(path) in reason else f'{path}: {reason}') from error


def evaluate_folder(folder: Path, samples: int | None, split: str, data_dir: str | None) -> list[Result]:
    """Load a run and its data, score it, and append the numbers to RUN/results.jsonl."""
    fitted = load(folder)
    found = card.read(folder)
    data = fitted.run.data.load(data_dir)
    if data.sha256 != found['data'].get('sha256'):
        raise BadInput(f'{folder}: the data are not those it was trained on (their sha256 differs from the card)')
    if getattr(data, split) is None:
        raise BadInput(f'--split {split}: {data.name} has none; hold some out with --set data.valid=N before training')
    scored = evaluate(fitted, data, samples, split)
    record(folder, scored)
    return scored.results


def sample_folder(folder: Path, out: Path, n: int, seed: int, length: int | None) -> None:
    """Write `n` samples of a run to a .png, .npz or .txt file. Raises BadInput where the two do not go together."""
    fitted = load(folder)
    text = fitted.domain.kind == 'tokens'
    if (out.suffix == '.txt') != text and out.suffix != '.npz':
        raise BadInput(f'--out {out}: this run makes {"text: .txt" if text else "arrays: .png"} or .npz')
    if length is not None and not text:
        raise BadInput(f'--length {length}: only samples of text have a length, and this run makes arrays')
    drawn = draw(fitted, n, seed, length)
    if out.suffix == '.npz':
        np.savez_compressed(out, samples=drawn)
    elif text:
        alphabet = Alphabet(symbols=card.read(folder)['alphabet'])
        out.write_text('\n\n'.join(alphabet.decode(ids) for ids in drawn) + '\n', encoding='utf-8')
    else:
        pictures.save(drawn, dataclasses.asdict(fitted.domain), out)
