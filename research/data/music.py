"""Bach's chorales as 88 keys in quarter notes: the data of Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392).

229 / 76 / 77 pieces, 13807 / 4602 / 4725 time steps; column = MIDI pitch - 21. The published measure is nats per time
step, pooled over the test steps. An example is one frame, or with `pieces` one piece, filled up with -1 behind its end: the
score then counts its time steps, and the pooled measure is the same.

Which steps are scored differs between papers: all 4725 of the test pieces, or with `context=1` the 4648 after the first of
each piece, which is then given, as in the code of Bai et al. 2018 (arXiv:1803.01271). The protocol has both numbers of steps,
so figures of one and of the other never share a table.

Found as the public JSON (github.com/czhuang/JSB-Chorales-dataset) or as the same in a .npz, known by its sha256. Nothing is
downloaded here: that is `scripts.prepare_data`.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from research.data.folders import command, data_folder
from research.data.source import Data, Split, digest
from research.types import BadInput, Domain, ranged

NAME = 'jsb_chorales'
KEYS, LOWEST = 88, 21
ADDRESS = (
    'https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/'
    '9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/jsb-chorales-quarter.json'
)
JSON, NPZ = 'jsb-chorales-quarter.json', 'jsb_quarter_pianoroll88.npz'
SHA256 = {
    NPZ: 'c9235c06a7ee4dd693d467e507b7cb8dd247e55a86163cc9d1de2dcec6f11cfb',
    JSON: '2db9329f1881a1d3f49703ec556bf1d6f84b4f6c1d702c156536e93cf31e1c91',
}
Rolls = dict[str, tuple[np.ndarray, np.ndarray]]  # split -> (frames uint8 [steps, 88], lengths int32 [pieces])


def found(data_dir: str | None) -> Path | None:
    """The file, if there is one in the data folder."""
    home = data_folder(data_dir) / NAME
    return next((home / name for name in SHA256 if (home / name).is_file()), None)


def checked(path: Path) -> bytes:
    """The file's bytes. Raises BadInput where they are not the ones that were published."""
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != SHA256[path.name]:
        raise BadInput(
            f'{path} is damaged or another file: its sha256 is {sha256[:12]}..., not {SHA256[path.name][:12]}...; '
            f'delete it and get it again with `{command(NAME, None)}`.'
        )
    return content


def from_json(content: bytes) -> Rolls:
    """Rolls from lists of pitches: {split: [piece: [step: [pitch, ...]]]}."""
    return {split: roll(pieces) for split, pieces in json.loads(content).items()}


def roll(pieces: list[list[list[int]]]) -> tuple[np.ndarray, np.ndarray]:
    """Frames [steps, 88] of pieces laid end to end, and the lengths of the pieces."""
    lengths = np.array([len(piece) for piece in pieces], np.int32)
    steps = [step for piece in pieces for step in piece]
    frames = np.zeros((len(steps), KEYS), np.uint8)
    rows = np.repeat(np.arange(len(steps)), [len(step) for step in steps])
    frames[rows, [int(pitch) - LOWEST for step in steps for pitch in step]] = 1
    return frames, lengths


def from_npz(content: bytes) -> Rolls:
    """Rolls from the arrays <split>_roll and <split>_lengths."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {split: (archive[f'{split}_roll'], archive[f'{split}_lengths']) for split in ('train', 'valid', 'test')}


def padded(frames: np.ndarray, lengths: np.ndarray, longest: int) -> np.ndarray:
    """Pieces [pieces, longest, 88] int8 from frames laid end to end, -1 behind the end of each."""
    pieces = np.full((len(lengths), longest, frames.shape[1]), -1, np.int8)
    pieces[np.arange(longest) < lengths[:, None]] = frames
    return pieces


def scored(lengths: np.ndarray, context: int) -> int:
    """Steps of pieces of these lengths that are scored: those after the first `context` of each."""
    return int(np.maximum(lengths - context, 0).sum())


@dataclass(frozen=True, kw_only=True)
class Music:
    """Frames of music, each one example: what was struck before is not given. `Data.lengths` cuts them into pieces.

    With `pieces` an example is a whole piece, [longest, 88], -1 where it has ended; `longest` is that of all splits. The first
    `context` steps of each piece are given and not scored.
    """

    name: str = NAME
    pieces: bool = False
    context: int = ranged(0, at_least=0)

    def load(self, data_dir: str | None = None) -> Data:
        """Data with uint8 frames [steps, 88] in {0, 1}, or int8 pieces [pieces, longest, 88] in {-1, 0, 1}."""
        if self.name != NAME:
            raise BadInput(f'Music set {self.name!r} is unknown: it may be {NAME!r}.')
        if self.context and not self.pieces:
            raise BadInput(
                f'data.context={self.context}: only a piece has first steps; expected 0, or set data.pieces=true'
            )
        path = found(data_dir)
        if path is None:
            home = data_folder(data_dir) / NAME
            raise BadInput(f'Data set {NAME!r} is not in {home}: get it with `{command(NAME, data_dir)}`.')
        content = checked(path)
        rolls = from_npz(content) if path.name == NPZ else from_json(content)
        train, valid, test = (rolls[split] for split in ('train', 'valid', 'test'))
        sizes = {split: len(frames) for split, (frames, _) in rolls.items()}
        protocol = {
            'sizes': {split: sizes[split] for split in ('train', 'valid', 'test')},
            'pieces': {split: len(rolls[split][1]) for split in ('train', 'valid', 'test')},
            'scored': {split: scored(rolls[split][1], self.context) for split in ('train', 'valid', 'test')},
            'values': 'as_is', 'levels': 2, 'test_seed': None, 'source': path.name, 'test': 'as published',
        }  # fmt: skip
        rolled = {f'{split}_roll': frames for split, (frames, _) in rolls.items()}
        lasting = {f'{split}_lengths': lengths for split, (_, lengths) in rolls.items()}
        longest = int(max(lengths.max() for _, lengths in rolls.values()))
        most = int(min(lengths.max() for _, lengths in rolls.values())) - 1
        if self.context > most:
            raise BadInput(f'data.context={self.context}: a split has nothing to score; expected at most {most}')
        if self.pieces:
            train, valid, test = ((padded(*part, longest), part[1]) for part in (train, valid, test))
            protocol['example'] = 'piece'
        return Data(
            name=self.name, train=Split(x=train[0]), protocol=protocol, levels=2,
            valid=Split(x=valid[0].astype(np.float32)), test=Split(x=test[0].astype(np.float32)),
            domain=Domain(
                kind='binary', shape=(longest, KEYS) if self.pieces else (KEYS,), unit='time step', modality='music',
                context=self.context,
            ),
            sha256=digest(rolled | lasting),
            lengths={split: lengths for split, (_, lengths) in rolls.items()},
        )  # fmt: skip
