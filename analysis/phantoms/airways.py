"""Branching vessels and airways that fill a lung."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tree:
    """Pieces of tube: ``start``/``end`` (n, 3) LPS mm, ``radius`` (n, 2) mm at both ends."""

    start: Points
    end: Points
    radius: Points


def grow(
    rng: np.random.Generator, root: Points, targets: Points, leaf_radius: float, exponent: float
) -> Tree:
    """A tree from ``root`` to every target.

    Targets are reached from near to far, each from the node already grown that makes the
    shortest way; radii follow Murray's law (parent^e = sum of children^e) from the leaves up.
    """
    order = np.argsort(np.linalg.norm(targets - root, axis=1))
    nodes = np.empty((2 * len(targets) + 1, 3))
    parent = np.full(len(nodes), -1)
    nodes[0] = root
    n = 1
    for target in targets[order]:
        gap = np.linalg.norm(nodes[:n] - target, axis=1)
        # A node may serve a target only if it lies on the way out, not behind it.
        cost = gap + 0.25 * np.linalg.norm(nodes[:n] - root, axis=1)
        near = int(np.argmin(cost))
        way = target - nodes[near]
        side = rng.standard_normal(3) * 0.10 * np.linalg.norm(way)
        nodes[n] = nodes[near] + 0.5 * way + side
        parent[n] = near
        nodes[n + 1], parent[n + 1] = target, n
        n += 2
    load = np.zeros(n)
    children = np.bincount(parent[1:n], minlength=n)
    for k in range(n - 1, 0, -1):
        if children[k] == 0:
            load[k] = leaf_radius**exponent
        load[parent[k]] += load[k]
    radius = load ** (1 / exponent)
    ends = np.arange(1, n)
    # A piece keeps its own radius: at a fork the child starts as thin as it is.
    return Tree(nodes[parent[ends]], nodes[ends], np.stack([radius[ends]] * 2, axis=1))


def clear_of(tree: Tree, centre: Points, reach_mm: float, *, keep_below_mm: float = 0.0) -> Tree:
    """The tree without pieces that come nearer than ``reach_mm`` to a point (thin ones may)."""
    way = tree.end - tree.start
    t = np.sum((centre - tree.start) * way, axis=1) / np.maximum(np.sum(way * way, axis=1), 1e-9)
    nearest = tree.start + np.clip(t, 0, 1)[:, None] * way
    gap = np.linalg.norm(nearest - centre, axis=1)
    radius = tree.radius.max(axis=1)
    keep = (gap - radius > reach_mm) | (radius < keep_below_mm)
    return Tree(tree.start[keep], tree.end[keep], tree.radius[keep])
