from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrobust.data.scenes.scene import (
    OBJECT_MIX,
    SceneArrays,
    concatenate,
    draw_distinct_scenes,
    draw_scenes,
    graph_keys,
    relations,
)

SEEDS = st.integers(0, 2**32)
NOTHING = np.empty(0, dtype=np.int64)


@pytest.fixture(scope="module")
def scenes() -> SceneArrays:
    return draw_scenes(3000, np.random.default_rng(0))


def test_shapes_and_colours_differ_within_a_scene(scenes):
    for index in range(300):
        objects = scenes[index].objects
        assert len(objects) == scenes.n_objects[index]
        assert len({o.shape for o in objects}) == len(objects)
        assert len({o.colour for o in objects}) == len(objects)
        assert len({(o.column, o.row) for o in objects}) == len(objects)


def test_all_values_and_counts_appear_in_their_shares(scenes):
    for name, n in [("shape", 8), ("colour", 8), ("size", 2), ("column", 3), ("row", 3)]:
        values = getattr(scenes, name)
        assert set(values[values >= 0].tolist()) == set(range(n))
        assert ((values < 0) == (np.arange(3) >= scenes.n_objects[:, None])).all()
    counts = np.bincount(scenes.n_objects, minlength=4)[1:] / len(scenes)
    np.testing.assert_allclose(counts, OBJECT_MIX, atol=0.04)
    np.testing.assert_allclose(np.bincount(scenes.background) / len(scenes), 0.25, atol=0.04)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_exactly_one_relation_holds_and_its_converse_the_other_way(seed):
    related = relations(draw_scenes(50, np.random.default_rng(seed)))
    scenes = draw_scenes(50, np.random.default_rng(seed))
    for i, j in itertools.permutations(range(3), 2):
        present = scenes.n_objects > max(i, j)
        assert (related[~present, i, j] == -1).all()
        assert (related[present, i, j] >= 0).all()
        assert (related[present, i, j] ^ 1 == related[present, j, i]).all()


def test_relation_follows_the_longer_axis(scenes):
    related = relations(scenes)
    for index in range(300):
        objects = scenes[index].objects
        for i, j in itertools.permutations(range(len(objects)), 2):
            dx = objects[i].column - objects[j].column
            dy = objects[i].row - objects[j].row
            name = ("left", "right", "above", "below")[related[index, i, j]]
            assert {"left": -dx, "right": dx, "above": -dy, "below": dy}[name] > min(
                abs(dx), abs(dy)
            )


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_key_ignores_the_order_of_objects(seed):
    scenes = draw_scenes(40, np.random.default_rng(seed))
    full = scenes.take(scenes.n_objects == 3)
    shuffled = SceneArrays(
        n_objects=full.n_objects,
        background=full.background,
        **{
            name: getattr(full, name)[:, [2, 0, 1]]
            for name in ("shape", "colour", "size", "column", "row")
        },
    )
    np.testing.assert_array_equal(graph_keys(full), graph_keys(shuffled))


def test_key_tells_graphs_apart(scenes):
    graphs = {}
    related = relations(scenes)
    for index, key in enumerate(graph_keys(scenes).tolist()):
        scene = scenes[index]
        order = sorted(range(len(scene.objects)), key=lambda i: scene.objects[i].colour)
        objects = [(scene.objects[i].colour, scene.objects[i].shape, scene.objects[i].size)
                   for i in order]  # fmt: skip
        pairs = [int(related[index, i, j]) for i, j in itertools.combinations(order, 2)]
        graph = (tuple(objects), tuple(pairs), scene.background)
        assert graphs.setdefault(key, graph) == graph
    assert len(set(graphs.values())) == len(graphs)


def test_distinct_scenes_avoid_each_other_and_what_is_taken():
    first = draw_distinct_scenes(2000, np.random.default_rng(0), taken=NOTHING)
    second = draw_distinct_scenes(2000, np.random.default_rng(0), taken=graph_keys(first))
    keys = graph_keys(concatenate([first, second]))
    assert len(keys) == len(np.unique(keys)) == 4000


def test_more_scenes_than_graphs_of_one_object_still_come():
    many = draw_distinct_scenes(30_000, np.random.default_rng(0), taken=NOTHING)
    assert len(many) == 30_000
    assert (many.n_objects == 1).sum() <= 8 * 8 * 2 * 4
