"""Labels on another lattice: each voxel gets the label that has the largest share of it.

No number comes out that did not go in, and a structure thinner than the target's voxels is not
lost without a trace.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from analysis.geometry import Volume, subgrid
from analysis.sampling import Block, Mask, Way, averaged, touched, voxel_of

TIE = 1e-6
"""A label as large as the background in a voxel wins it, whatever rounding says."""


@dataclass(eq=False)
class Labels:
    """A label volume, asked for each label's share by itself and only around its own voxels."""

    array: npt.NDArray[np.generic]
    way: Way
    boxes: dict[int, Block] = field(init=False)
    """Where in the source each label lies."""
    kept: set[int] = field(default_factory=set)
    """Labels that won a voxel of the target."""
    lost: dict[int, list[tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]]] = field(
        default_factory=dict
    )
    """By label that has won none so far: shares and the voxels (flat) that they are of."""

    def __post_init__(self) -> None:
        if not np.issubdtype(self.array.dtype, np.integer) or int(self.array.min()) < 0:
            raise ValueError("labels are whole numbers from 0")
        found = enumerate(ndimage.find_objects(self.array), start=1)
        self.boxes = {
            n: Block(voxel_of([s.start for s in box]), voxel_of([s.stop for s in box]))
            for n, box in found
            if box is not None
        }

    def of(self, block: Block, covered: Mask) -> npt.NDArray[np.generic]:
        """The winning label of each voxel of ``block``."""
        winner = np.zeros(block.shape, dtype=self.array.dtype)
        highest, total = (np.zeros(block.shape, dtype=np.float32) for _ in range(2))
        shares: list[tuple[int, Block, npt.NDArray[np.float32]]] = []
        for label, box in self.boxes.items():
            part = self._reached(box, block)
            if part is None:
                continue
            here = part.within(block)
            share = np.where(covered[here], self._share(label, box, part), np.float32(0))
            total[here] += share
            better = share > highest[here]
            winner[here][better] = label
            highest[here][better] = share[better]
            if label not in self.kept:
                shares.append((label, part, share))
        winner[highest < 1 - total - TIE] = 0
        self.kept.update(int(n) for n in np.unique(winner))
        for label, part, share in shares:
            if label not in self.kept:
                some = np.nonzero(share)
                place = tuple(at + first for at, first in zip(some, part.start, strict=True))
                flat = np.ravel_multi_index(place, self.way.target.shape)
                self.lost.setdefault(label, []).append((share[some], flat))
        return winner

    def rescue(self, result: npt.NDArray[np.generic]) -> None:
        """Give each label that won nothing the voxels it has most of: as many as its shares add
        up to, at least one. None loses its last voxel by that, and no rescued one a voxel."""
        rescued = sorted(set(self.lost) - self.kept)
        if not rescued:
            return
        left = np.zeros(max(self.boxes) + 1, dtype=np.int64)
        for plane in result:  # a whole volume would be copied as int64
            left += np.bincount(plane.ravel().astype(np.int64), minlength=len(left))
        left[0] = result.size + 1  # the background may vanish
        for label in rescued:
            shares = np.concatenate([share for share, _ in self.lost[label]])
            places = np.concatenate([place for _, place in self.lost[label]])
            wanted = max(1, round(float(shares.sum())))
            for place in places[np.argsort(-shares, kind="stable")]:
                owner = int(result.flat[place])
                if owner in rescued or left[owner] == 1:
                    continue
                result.flat[place] = label
                left[owner] -= 1
                wanted -= 1
                if not wanted:
                    break

    def _share(self, label: int, box: Block, part: Block) -> npt.NDArray[np.float32]:
        """How much of each target voxel of ``part`` is ``label``, 0 to 1."""
        factors = np.array(self.way.factors())
        # Whole blocks, with one of background around, so that the share falls to nothing.
        low = np.maximum(np.array(box.start) // factors - 1, 0) * factors
        high = np.minimum((-(-np.array(box.stop) // factors) + 1) * factors, self.array.shape)
        around = Block(voxel_of(low), voxel_of(high))
        only = (self.array[around.region] == label).astype(np.uint8)
        grid = subgrid(self.way.source, around.start, around.stop)
        source = averaged(Volume(only, grid, "1"), voxel_of(factors), self.way)
        return np.asarray(source.of(part), dtype=np.float32)

    def _reached(self, box: Block, block: Block) -> Block | None:
        """The part of ``block`` that voxels of ``box`` can have a share of."""
        if self.way.deformation is not None:
            return block
        factors = self.way.factors()
        wide = Block(
            voxel_of(np.array(box.start) - factors), voxel_of(np.array(box.stop) + factors)
        )
        source_to_target = np.linalg.inv(self.way.matrix())
        return touched(source_to_target, wide, block)
