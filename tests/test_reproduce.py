"""Published tables: what is judged and what is not, what a wrong file is told, and what a second command finds done."""

from __future__ import annotations

import dataclasses
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from research import reproduce as reproduction
from research import sweep as sweeps
from research import tasks
from research.engine.checkpoint import Place
from research.engine.fit import Interrupted
from research.report import papers, verdicts
from research.report.papers import Row
from research.report.records import Result, RunRecord
from research.report.verdicts import Outcome
from research.types import BadInput
from scripts import configs, reproduce
from tests.command import Command, Done, caller

HEAD = "title = 'Small'\npaper = 'Nobody 2020'\narxiv = '2001.00001'\n"
TINY = ['data.train=200', 'data.test=200', 'epochs=2']
ALONE = {
    'name': 'alone', 'published': 150.0, 'tag': 'M', 'source': 'a script', 'metric': 'test_nll', 'protocol': 'As it is.',
    'config': 'mixture_ring', 'set': [*TINY, 'trainer.model.components=1'], 'band': [-1000, 1000], 'band_from': 'anything',
    'deterministic': True, 'fast': True,
}  # fmt: skip
MIXTURE = ALONE | {
    'name': 'mixture', 'set': [*TINY, 'trainer.model.components=3'], 'seeds': 3, 'deterministic': False,
}  # fmt: skip
UNSEEN = ALONE | {'name': 'unseen', 'tag': 'U', 'band': [0, 1], 'fast': True}
ELSEWHERE = {
    'name': 'elsewhere', 'published': 1.0, 'spread': 0.2, 'tag': 'S', 'source': 'a README', 'metric': 'active_units',
    'protocol': 'Two layers.', 'incomparable': 'no such model',
}  # fmt: skip


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, list):
        return '[' + ', '.join(map(toml, value)) + ']'
    if isinstance(value, dict):
        return '{' + ', '.join(f'{name} = {toml(inner)}' for name, inner in value.items()) + '}'
    return repr(value)


def write(folder: Path, *rows: dict[str, Any], name: str = 'small', head: str = HEAD) -> Path:
    """A table file, and its folder for --papers."""
    folder.mkdir(exist_ok=True)
    body = '\n'.join('[[rows]]\n' + ''.join(f'{k} = {toml(v)}\n' for k, v in row.items()) for row in rows)
    (folder / f'{name}.toml').write_text(head + body)
    return folder / f'{name}.toml'


Reproduce = Callable[..., Done]


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Reproduce:
    """scripts.reproduce on the tables of tmp_path/papers, its runs and results in tmp_path too."""
    call: Command = caller(capsys, monkeypatch)
    monkeypatch.chdir(tmp_path)
    fixed = ('--papers', tmp_path / 'papers', '--out', tmp_path / 'runs', '--results', tmp_path / 'R.md')
    return lambda *arguments: call(reproduce, *arguments, *fixed)


def trained(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of the members that are trained from now on, as each is scored."""
    folders: list[Path] = []
    real = tasks.finish

    def finish(spec: Any, member: Any, outcome: Any, plan: Any, out: Path) -> Any:
        folders.append(tasks.folder_of(out, member))
        return real(spec, member, outcome, plan, out)

    monkeypatch.setattr(tasks, 'finish', finish)
    return folders


def line(said: str, name: str) -> str:
    return next(line for line in said.splitlines() if re.match(rf'{re.escape(name)}  ', line))


def test_rows_are_judged_by_their_band_and_runs_are_used_again(
    command: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / 'papers', ALONE, MIXTURE, UNSEEN, ELSEWHERE)
    folders = trained(monkeypatch)
    done = command('small')
    assert done.code == 0, done.err
    assert len(folders) == 4  # one for alone and unseen, which are the same run; three seeds of the mixture
    alone, mixture = line(done.out, 'alone'), line(done.out, 'mixture')
    assert 'deterministic' in alone and alone.endswith('-1000 .. 1000  inside')
    low, high = map(float, re.findall(r'(-?[\d.]+) \.\. (-?[\d.]+)', mixture)[0])
    assert low < float(mixture.split()[1]) < high
    assert '  3  ' in mixture
    assert line(done.out, 'unseen').endswith('[U] a script  0 .. 1         unverified')
    assert 'not comparable: no such model' in line(done.out, 'elsewhere')
    assert '1 +- 0.2' in line(done.out, 'elsewhere')

    (tmp_path / 'R.md').write_text('# Mine\n\nbefore\n\n' + (tmp_path / 'R.md').read_text() + '\nafter  \n')
    first = (tmp_path / 'R.md').read_text()
    write(tmp_path / 'papers', ALONE | {'band': [0, 1]}, MIXTURE)
    again = command()
    assert (again.code, len(folders)) == (1, 4)  # outside its band, and nothing was trained
    assert line(again.out, 'alone').endswith('outside')
    second = (tmp_path / 'R.md').read_text()
    begin, end = verdicts.marks('small')
    assert (first.split(begin)[0], first.split(end)[1]) == (second.split(begin)[0], second.split(end)[1])
    assert '| inside |' in first and '| outside |' in second and 'elsewhere' not in second
    assert second.count('### Small. Nobody 2020, arXiv:2001.00001') == 1
    assert re.search(r'`python -m scripts.reproduce small`, \d{4}-\d\d-\d\d. Trained at commit .* jax 0', second)
    assert re.search(
        r'- mixture: As it is. `mixture_ring data.train=200 .* epochs=2 trainer.model.components=3`; test_nll, exact',
        second,
    )


def test_a_run_that_was_killed_goes_on(command: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies after the first of three seeds was scored: the same command scores the other two, from their checkpoints."""
    write(tmp_path / 'papers', MIXTURE)
    folders, record = trained(monkeypatch), tasks.record

    def killed(folder: Path, *rest: Any) -> None:
        if folder.name == '0001':
            raise KeyboardInterrupt
        record(folder, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, 'record', killed)
        assert command('small').code == 130
    assert not (tmp_path / 'R.md').exists()
    stop = Interrupted(signal.SIGTERM, Place(0, 1))

    def stopped(*rest: Any, **options: Any) -> None:
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr(sweeps, 'sweep', stopped)
        done = command('small')
    assert done.code == stop.code and 'The same command goes on' in done.out
    folders.clear()
    assert command('small').code == 0
    assert [folder.name for folder in folders] == ['0001', '0002']
    assert all(len((folder / 'metrics.jsonl').read_text().splitlines()) == 2 for folder in folders)
    assert command('small').code == 0
    assert len(folders) == 2
    card = folders[0] / 'card.json'
    card.write_text(re.sub(r'"sha256": "\w', '"sha256": "x', card.read_text()))
    assert 'trained on other data than those here' in command('small').err


def test_divergence_is_outside_and_missing_data_have_a_status_of_their_own(
    command: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = ALONE | {'name': 'absent', 'config': 'independent_jsb', 'set': []}
    monkeypatch.setenv('LIKENESS_DATA_DIR', str(tmp_path / 'none'))
    write(tmp_path / 'papers', absent, ELSEWHERE)
    done = command('small')
    assert done.code == verdicts.NO_DATA == 4
    assert "not run: Data set 'jsb_chorales' is not in" in line(done.out, 'absent')

    def nan(*rest: Any, **options: Any) -> sweeps.Swept:
        return sweeps.Swept([tasks.Row(0, 0, 7, {}, 'failed', 'epoch 1, step 2', {}, None, None)], 1, 1, 0.0)

    monkeypatch.setattr(sweeps, 'sweep', nan)
    write(tmp_path / 'papers', absent, MIXTURE)
    done = command('small')
    assert done.code == verdicts.OUTSIDE == 1
    assert line(done.out, 'mixture').endswith('outside: diverged, seed 7 at epoch 1, step 2')


def test_fast_takes_the_variants_and_only_what_was_asked_for(
    command: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = {'set': ['epochs=1'], 'seeds': 2, 'band': [-900, 900], 'protocol': 'One epoch.'}
    slow = ALONE | {'name': 'slow', 'fast': False, 'cost': 'a week'}
    write(tmp_path / 'papers', MIXTURE | {'fast': fast}, slow)
    folders = trained(monkeypatch)
    done = command('small', '--fast', '--only=nothing')
    assert done.code == 0 and not folders
    assert 'not run: not asked for' in line(done.out, 'mixture')
    done = command('small', '--fast', '--only=mix')
    assert done.code == 0, done.err
    assert [folder.name for folder in folders] == ['0000', '0001']
    assert '-900 .. 900' in line(done.out, 'mixture')
    assert line(done.out, 'slow').endswith('not run: full protocol only (a week)')
    assert len((folders[0] / 'metrics.jsonl').read_text().splitlines()) == 1
    command('small', '--only=slow')  # the full table has a section of its own
    text = (tmp_path / 'R.md').read_text()
    assert text.index(verdicts.marks('small fast')[1]) < text.index(verdicts.marks('small')[0])
    assert text.count(verdicts.HEADING) == 1
    command('small', '--fast', '--only=nothing')  # shows what was trained before
    assert len(folders) == 3
    assert '| -900 .. 900 | inside |' in (tmp_path / 'R.md').read_text()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    'missing': ({'protocol': None}, "row 1 'alone': field protocol is missing"),
    'unknown': ({'bnad': [1, 2]}, 'field bnad is unknown; the nearest are band'),
    'tag': ({'tag': 'S3'}, "field tag is 'S3'; expected one of S, S2, M, U"),
    'text': ({'published': '86'}, "field published is '86'; expected a finite number"),
    'nan': ({'published': float('nan')}, "field published is 'nan'; expected a finite number"),
    'band': ({'band': [2, 1]}, 'field band is .2.0, 1.0.; expected the lower end first'),
    'one': ({'band': [2]}, r'field band is .*; expected \[low, high\]'),
    'seeds': ({'seeds': 0}, "field seeds is '0'; expected a whole number, at least 1"),
    'bool': ({'samples': True}, "field samples is 'True'; expected a whole number"),
    'many': ({'seeds': 2}, 'field seeds is 2; a deterministic row needs 1'),
    'set': ({'set': 'epochs=1'}, "field set is 'epochs=1'; expected a list of texts"),
    'metric': ({'metric': 'nll'}, "field metric is 'nll'; expected one of test_nll, bits_per_dim"),
    'from': ({'band_from': ''}, 'field band_from is missing'),
    'unjudged': ({'band': None}, 'it has no config or no band; expected both, or field incomparable'),
    'fast': ({'fast': 1}, 'field fast is 1; expected true, false or a table'),
    'inner': ({'fast': {'epochs': 1}}, "row 1 'alone', fast: field epochs is unknown"),
    'variant': ({'fast': {'set': 'epochs=1'}}, "row 1 'alone', fast: field set is 'epochs=1'; expected a list"),
}


@pytest.mark.parametrize(('change', 'said'), BAD.values(), ids=BAD.keys())
def test_a_wrong_field_is_named_with_its_file_and_row(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    row = {name: value for name, value in (ALONE | change).items() if value is not None}
    with pytest.raises(BadInput, match=said) as error:
        papers.read(write(tmp_path, row))
    assert 'small.toml, row 1' in str(error.value)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ("title = 'x", 'not readable as TOML'),
        ("title = 'x'\npaper = 'y'\n", 'field rows is missing'),
        ("title = 'x'\npaper = 'y'\nrows = []\n", r'field rows: expected at least one \[\[rows\]\]'),
        ("title = 'x'\npaper = 'y'\nrows = [1]\n", 'field rows: expected at least one'),
        ("title = 1\npaper = 'y'\nrows = [1]\n", "field title is '1'; expected a text"),
        ("titel = 'x'\npaper = 'y'\nrows = [1]\n", 'field titel is unknown; the nearest are title'),
    ],
)
def test_a_file_that_is_no_table_is_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / 'small.toml').write_text(content)
    with pytest.raises(BadInput, match=f'small.toml: {said}'):
        papers.read(tmp_path / 'small.toml')
    (tmp_path / 'small.toml').write_bytes(b'\xff\xfe')
    with pytest.raises(BadInput, match=r'small.toml: not readable as TOML'):
        papers.read(tmp_path / 'small.toml')


def test_samples_pick_a_bound_and_no_other_measure() -> None:
    """A bound counts only at as many samples as the row asks for; what is measured on samples has a number of its own."""
    lines = tuple(
        Result(metric=metric, value=value, unit=unit, settings={'samples': samples})
        for metric, value, unit, samples in [
            ('test_nll', 1.0, 'nats per example', 50),
            ('test_nll', 2.0, 'nats per example', 5),
            ('ndb', 0.1, 'share of bins', 397),
        ]
    )
    record = RunRecord(folder=Path('run'), card={}, lines=lines)
    row = Row(name='vae', metric='test_nll', protocol='', tag='U', source='', samples=50)
    found = [reproduction.newest(record, dataclasses.replace(row, metric=m)) for m in ('test_nll', 'ndb', 'ndb_js')]
    assert [one and one.value for one in found] == [1.0, 0.1, None]


def test_two_rows_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="field name: 'alone' stands for more than one row"):
        papers.read(write(tmp_path, ALONE, ALONE))


def test_bad_input_is_answered_before_anything_is_trained(
    command: Reproduce, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = trained(monkeypatch)
    write(tmp_path / 'papers', ALONE)
    vae = ALONE | {'config': 'vae_digits', 'set': []}
    for row, said in (
        (ALONE | {'config': 'mixture_rink'}, 'config mixture_rink: there is none of this name'),
        (ALONE | {'set': ['epoch=1']}, "table second, row 'alone': epoch: no such field; the nearest are epochs"),
        (ALONE | {'set': ['epochs=0']}, "table second, row 'alone': epochs=0: expected a value at least 1"),
        (ALONE | {'samples': 5}, 'field samples is 5; GaussianMixture is scored without any'),
        (vae, 'field samples is missing; VAE is scored by a bound, which needs it'),
        (vae | {'config': 'gan_digits'}, "field metric is 'test_nll', and GAN has no log_prob"),
    ):
        write(tmp_path / 'papers', row, name='second')
        done = command()
        assert done.code == 2 and said in done.err
    assert command('smal').err == 'error: table smal: there is none of this name; the nearest are small\n'
    (tmp_path / 'R.md').write_text('text\n' + verdicts.marks('small')[0])
    done = command('small')
    assert done.code == 2 and 'expected the comments' in done.err
    assert not folders and not (tmp_path / 'runs').exists()


def outcome(value: float | None, **fields: Any) -> Outcome:
    row = {
        'name': 'x',
        'metric': 'test_nll',
        'protocol': 'p',
        'tag': 'S',
        'source': 's',
        'config': 'c',
        'band_from': 'b',
    }
    made = Row(**row | {'band': (1.0, 2.0)} | fields)
    return Outcome(row=made, fast=False, values=() if value is None else (value,))


def test_the_verdicts() -> None:
    assert [outcome(value).verdict for value in (1.0, 2.0, 0.999, 2.001)] == ['inside', 'inside', 'outside', 'outside']
    assert outcome(float('nan')).verdict == 'outside'
    assert outcome(None).verdict == 'not run'
    assert outcome(9.0, tag='U').verdict == 'unverified'
    assert outcome(9.0, incomparable='another split').verdict == 'not comparable'
    assert verdicts.status([outcome(9.0, tag='U'), outcome(9.0, incomparable='another split'), outcome(1.5)]) == 0


def test_a_cell_is_no_markup(tmp_path: Path) -> None:
    table = papers.Table(name='t', title='a <!-- b --> | c', paper='p', rows=())
    said = verdicts.section(table, [outcome(1.5, name='k | <!-- reproduce t: end -->\nx')], 'python', 'today')
    assert '<!--' not in said and 'k \\| reproduce t: end x |' in said
    verdicts.replace_section(tmp_path / 'R.md', 't', said)
    verdicts.replace_section(tmp_path / 'R.md', 't', 'short')
    assert (tmp_path / 'R.md').read_text().endswith(f'\nshort\n{verdicts.marks("t")[1]}\n')


SHIPPED = papers.names(reproduce.PAPERS)


@pytest.mark.parametrize('name', SHIPPED)
@pytest.mark.parametrize('fast', [True, False])
def test_every_shipped_table_is_whole(name: str, fast: bool, tmp_path: Path) -> None:
    """It parses, its configs exist, and they take its settings; cheap rows say that they are."""
    table = papers.read(papers.find(reproduce.PAPERS, name))
    built = {row.config: configs.build(row.config) for row in table.rows if row.config}
    work = reproduction.plan(table, built, fast=fast, seeds=None, only=(), out=tmp_path)
    assert [job.row.name for job in work] == [row.name for row in table.rows]
    assert any(job.row.judged and job.run for job in work)
    assert all(job.row.source and job.row.protocol for job in work)
    assert not any(job.row.judged for job in work if job.row.tag == 'U')


def test_the_tables_asked_for_are_there(command: Reproduce, tmp_path: Path) -> None:
    assert {'independent', 'ngram', 'iwae', 'gaussian_mixture'} <= set(SHIPPED)
    write(tmp_path / 'papers', ALONE, UNSEEN)
    assert command('--list').out == (
        'small: Small. Nobody 2020, arXiv:2001.00001\n  alone         150  [M]   fast\n  unseen        150  [U]   fast\n'
    )


def test_the_rows_of_the_iwae_are_one_config_and_two_numbers() -> None:
    table = papers.read(papers.find(reproduce.PAPERS, 'iwae'))
    for row in (row for row in table.rows if row.config and row.samples == 5000):
        kind, k = row.name.split(', k = ')
        objective = reproduction.settle(row, configs.build(row.config)).trainer.model.objective
        assert (objective.samples, objective.groups) == ((int(k), 1) if kind.endswith('IWAE') else (1, int(k)))
