"""Stitching against brute force, and the numbers that it stands on."""

from __future__ import annotations

from itertools import combinations, pairwise, product

import numpy as np
import pytest

from rigpose.tracking import TrackingSettings, Tracklet
from rigpose.tracking.flow import solve_flow
from rigpose.tracking.links import Links, find_links
from rigpose.tracking.stitching import stitch
from rigpose.tracking.tracklets import End, Piece

SETTINGS = TrackingSettings()


def straight(first: int, last: int, *, at: float, speed: float = 0.0, votes: tuple[int, ...] = ()) -> Piece:
    """An animal of length 40 that is at x = ``at`` in frame 0 and goes to the right."""
    frames = np.arange(first, last + 1)
    shape = np.array([[-20.0, 0.0], [0.0, 3.0], [20.0, 0.0]])

    def end(frame: int) -> End:
        centre = np.array([at + speed * frame, 50.0])
        return End(frame, centre, np.array([speed, 0.0]), (centre + shape).astype(np.float32))

    tracklet = Tracklet(frames, np.zeros(len(frames), int))
    many = len(frames)
    travel = abs(speed) if many > 1 else float("nan")
    return Piece(tracklet, end(first), end(last), 40.0, 0.9 * many, np.array(votes, int), travel)


def cost_of(chains: list[list[int]], pieces: list[Piece], links: Links, restart: float) -> float:
    surprise = {(i, j): s for i, j, s in zip(links.first, links.second, links.surprise, strict=True)}
    total = restart * len(chains) - sum(pieces[p].weight for chain in chains for p in chain)
    return total + restart * sum(surprise[pair] for chain in chains for pair in pairwise(chain))


def cheapest(pieces: list[Piece], links: Links, restart: float, animals: int) -> float:
    """By trying every set of links and every set of pieces."""
    best = 0.0
    pairs = list(zip(links.first.tolist(), links.second.tolist(), links.surprise.tolist(), strict=True))
    for chosen in product([False, True], repeat=len(pairs)):
        used = [pair for pair, take in zip(pairs, chosen, strict=True) if take]
        onward, back = {i: j for i, j, _ in used}, {j: i for i, j, _ in used}
        if len(onward) < len(used) or len(back) < len(used):
            continue
        linked = set(onward) | set(back)
        lone = [p for p in range(len(pieces)) if p not in linked]
        for many in range(len(lone) + 1):
            for extra in combinations(lone, many):
                taken = linked | set(extra)
                busy = np.zeros(100, int)
                for p in taken:
                    busy[pieces[p].head.frame : pieces[p].tail.frame + 1] += 1
                for i, j, _ in used:  # an animal that comes back is still one
                    busy[pieces[i].tail.frame + 1 : pieces[j].head.frame] += 1
                if busy.max() > animals:
                    continue
                starts = len(taken) - len(used)
                earned = sum(pieces[p].weight for p in taken)
                best = min(best, restart * (starts + sum(s for *_, s in used)) - earned)
    return best


@pytest.mark.parametrize("seed", range(25))
def test_flow_costs_as_little_as_the_best_of_all_choices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    begin = np.sort(rng.integers(0, 40, 6))
    pieces = [straight(int(b), int(b + rng.integers(0, 15)), at=0.0) for b in begin]
    possible = [(i, j) for i, j in combinations(range(6), 2) if pieces[i].tail.frame < pieces[j].head.frame]
    chosen = [possible[k] for k in sorted(rng.permutation(len(possible))[:7])]
    pairs = np.array(chosen, int).reshape(-1, 2)
    links = Links(pairs[:, 0], pairs[:, 1], rng.random(len(pairs)))
    animals, restart = int(rng.integers(1, 4)), float(rng.uniform(1, 12))
    chains = solve_flow(pieces, links, restart=restart, animals=animals)
    assert sorted(p for chain in chains for p in chain) == sorted({p for chain in chains for p in chain})
    busy = np.zeros(100, int)
    for p in (p for chain in chains for p in chain):
        busy[pieces[p].head.frame : pieces[p].tail.frame + 1] += 1
    assert busy.max() <= animals
    # Sums of about a dozen numbers below 100: double precision leaves about 1e-13.
    assert cost_of(chains, pieces, links, restart) == pytest.approx(cheapest(pieces, links, restart, animals), abs=1e-9)


def test_pieces_join_by_their_motion_and_not_by_the_nearest_end() -> None:
    """Two animals pass each other while neither is seen: the nearest end is the other one's."""
    pieces = [
        straight(0, 20, at=0.0, speed=6.0),
        straight(0, 20, at=250.0, speed=-6.0),
        straight(24, 40, at=0.0, speed=6.0),
        straight(24, 40, at=250.0, speed=-6.0),
    ]
    assert stitch(pieces, SETTINGS, animals=2, frames=41) == [[0, 2], [1, 3]]


def test_tracks_never_hold_two_pieces_at_a_time() -> None:
    rng = np.random.default_rng(3)
    begin = np.sort(rng.integers(0, 900, 150))
    pieces = [straight(int(b), int(b + rng.integers(0, 40)), at=float(rng.uniform(0, 500))) for b in begin]
    tracks = stitch(pieces, SETTINGS, animals=3, frames=1000)
    assert len(tracks) == 3
    for track in tracks:
        assert all(pieces[i].tail.frame < pieces[j].head.frame for i, j in pairwise(track))


def test_a_piece_that_nothing_joins_needs_the_least_length() -> None:
    pieces = [straight(0, 199, at=0.0), straight(50, 58, at=400.0), straight(100, 109, at=800.0)]
    assert stitch(pieces, SETTINGS, animals=2, frames=200) == [[0], [2]]


def test_a_short_video_keeps_short_pieces() -> None:
    assert stitch([straight(0, 2, at=0.0)], SETTINGS, animals=2, frames=3) == [[0], []]


def test_of_too_many_animals_the_ones_stay_that_explain_most() -> None:
    pieces = [straight(0, 99, at=0.0), straight(0, 80, at=200.0), straight(10, 50, at=400.0)]
    assert stitch(pieces, SETTINGS, animals=2, frames=100) == [[0], [1]]


def test_links_stay_within_the_longest_gap() -> None:
    pieces = [straight(0, 20, at=0.0), straight(40, 60, at=0.0)]
    assert len(find_links(pieces, TrackingSettings(max_gap=18)).first) == 0
    assert len(find_links(pieces, TrackingSettings(max_gap=19)).first) == 1


def test_individuals_overrule_the_distance_and_name_the_tracks() -> None:
    pieces = [
        straight(0, 20, at=0.0, votes=(0, 20)),
        straight(0, 20, at=40.0, votes=(20, 0)),
        straight(200, 220, at=0.0, votes=(20, 0)),
        straight(200, 220, at=40.0, votes=(1, 19)),
    ]
    assert stitch(pieces, SETTINGS, animals=2, frames=221) == [[1, 2], [0, 3]]


def test_no_pieces_make_empty_tracks() -> None:
    assert stitch([], SETTINGS, animals=3, frames=10) == [[], [], []]
