"""The project's database, on SQLite and on a real PostgreSQL: versions, leases, undo, audit trail, kills."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.patience import PATIENCE
from tests.postgres import new_database

from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.store.records import (
    AnswerKind,
    NewAnswer,
    NewDraft,
    PickRecord,
    RoundState,
    SlideRecord,
    StaleAnswer,
)
from aczerots.annotation.store.store import ProjectStore
from aczerots.errors import InputError, SettingsError, StorageError
from aczerots.slides.base import Box, Tile
from aczerots.taxonomy import IGNORE

SIZE = 8
TILES = [Tile("a", Box(i * SIZE, 0, SIZE, SIZE - 1), Box(i * SIZE, 0, SIZE, SIZE), SIZE, 0.5) for i in range(12)]
SLIDE = SlideRecord("a", "a.png", "f00", 12 * SIZE, SIZE, 0.5)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'project.sqlite'}"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def store(url: str) -> Iterator[ProjectStore]:
    found = ProjectStore(url)
    found.rounds.add_slide(SLIDE, TILES)
    found.rounds.propose(0, "zeroshot", [])
    found.rounds.advance(0, RoundState.FITTED, model="models/round-0.safetensors")
    yield found
    found.close()


def pick(number: int, rank: int, tile: int, readings: int = 1) -> PickRecord:
    return PickRecord(number, rank, tile, 1 / rank, {"coverage": 0.25}, readings)


def begin(store: ProjectStore, tiles: list[int], readings: int = 1, drafts: Sequence[NewDraft] = ()) -> None:
    store.rounds.propose(1, "random", [pick(1, i + 1, t, readings) for i, t in enumerate(tiles)], drafts)


def mask(label: int = 1) -> np.ndarray:
    out = np.full((SIZE, SIZE), IGNORE, np.uint8)
    out[:3] = label
    return out


def answer(tile: int, author: str = "ann", based_on: int = 0, label: int = 1, **other: object) -> NewAnswer:
    return NewAnswer(tile, 1, author, "page", AnswerKind.DRAWN, based_on, mask(label), **other)  # type: ignore[arg-type]  # any field


def silent(tile: int, kind: AnswerKind, author: str = "ann", based_on: int = 0) -> NewAnswer:
    return NewAnswer(tile, 1, author, "page", kind, based_on)


def test_the_pool_grows_at_its_end_and_comes_back_as_it_was(store: ProjectStore):
    assert store.rounds.tiles() == TILES
    assert store.rounds.slides() == [SLIDE]
    more = SlideRecord("b", "b.png", "f01", 8, 8, None)
    extra = Tile("b", Box(0, 0, 8, 8), Box(-3, -2, 9, 9), SIZE)
    assert store.rounds.add_slide(more, [extra])
    assert not store.rounds.add_slide(more, [extra])
    assert store.rounds.tiles() == [*TILES, extra]
    with pytest.raises(InputError, match="other pixels"):
        store.rounds.add_slide(SlideRecord("b", "b.png", "f02", 8, 8, None), [extra])


def test_a_round_moves_forward_only(store: ProjectStore):
    with pytest.raises(SettingsError, match="the next one is 1"):
        store.rounds.propose(3, "random", [])
    begin(store, [4, 2])
    with pytest.raises(SettingsError, match="round 1 is not fitted yet"):
        store.rounds.propose(2, "random", [])
    assert [(p.rank, p.tile, p.score, dict(p.components)) for p in store.rounds.picks(1)] == [
        (1, 4, 1.0, {"coverage": 0.25}),
        (2, 2, 0.5, {"coverage": 0.25}),
    ]
    store.answers.add(answer(4))
    assert store.rounds.all()[1].state is RoundState.ANNOTATING
    store.rounds.advance(1, RoundState.FITTED, metrics={"change": float("nan")}, seconds={"fit": 2.0})
    found = store.rounds.newest()
    assert found is not None
    assert (found.state, found.metrics, found.seconds) == (RoundState.FITTED, {"change": None}, {"fit": 2.0})
    with pytest.raises(SettingsError, match="cannot go back"):
        store.rounds.advance(1, RoundState.ANNOTATING)


def test_a_proposal_is_kept_whole_or_not_at_all(store: ProjectStore):
    with pytest.raises(StorageError):
        store.rounds.propose(1, "random", [pick(1, 1, 3), pick(1, 2, 99)])
    assert store.rounds.picks() == []
    newest = store.rounds.newest()
    assert newest is not None
    assert newest.number == 0


def test_an_answer_has_all_its_facts_and_an_exact_mask(store: ProjectStore):
    begin(store, [4], drafts=[NewDraft(4, mask(2), {"type": "FeatureCollection"}, "round-0")])
    draft = store.rounds.drafts([4])[4].id
    rng = np.random.default_rng(0)
    drawn = rng.choice(np.array([0, 1, 7, IGNORE], np.uint8), (SIZE, SIZE))
    new = NewAnswer(4, 1, "ann", "page", AnswerKind.ACCEPTED, 0, drawn, {"a": [1.5]}, "clear", 12.5, draft)
    before = datetime.now(UTC)
    kept = store.answers.add(new)
    assert before - MINUTE < kept.created < before + MINUTE
    assert (kept.version, kept.based_on, kept.author, kept.tool, kept.kind) == (1, 0, "ann", "page", "accepted")
    assert (kept.geometry, kept.comment, kept.seconds, kept.draft) == ({"a": [1.5]}, "clear", 12.5, draft)
    box = drawn[: SIZE - 1]  # the last row is beyond the tile's box
    assert kept.pixels == {i: int((box == i).sum()) for i in (0, 1, 7)}
    back = store.answers.masks()[4]
    np.testing.assert_array_equal(back[: SIZE - 1], box)
    assert (back[SIZE - 1] == IGNORE).all()
    assert store.answers.newest(4) == kept


def test_the_newest_answer_counts_and_rounds_can_be_looked_back_at(store: ProjectStore):
    begin(store, [4, 5, 6, 7])
    store.answers.add(answer(4, label=1))
    store.answers.add(silent(5, AnswerKind.NO_SEEN_CLASS))
    store.answers.add(silent(6, AnswerKind.CANNOT_TELL))
    store.answers.add(silent(7, AnswerKind.SKIPPED))
    store.rounds.advance(1, RoundState.FITTED)
    store.rounds.propose(2, "random", [pick(2, 1, 4)])
    again = NewAnswer(4, 2, "bob", "page", AnswerKind.DRAWN, 1, mask(3))
    assert store.answers.add(again).version == 2
    assert {t: int(m.min()) for t, m in store.answers.masks().items()} == {4: 3, 5: IGNORE}
    assert {t: int(m.min()) for t, m in store.answers.masks(up_to=1).items()} == {4: 1, 5: IGNORE}
    assert [a.author for a in store.answers.history(4)] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (silent(4, AnswerKind.DRAWN), "needs a mask"),
        (NewAnswer(4, 1, "a", "page", AnswerKind.SKIPPED, 0, mask()), "has no mask"),
        (NewAnswer(4, 1, "a", "page", AnswerKind.DRAWN, 0, mask()[:3]), r"\(3, 8\) of uint8, not \(8, 8\)"),
        (NewAnswer(4, 1, "a", "page", AnswerKind.DRAWN, 0, mask().astype(np.int64)), "of int64"),
        (silent(4, AnswerKind.WITHDRAWN), "by undoing only"),
        (silent(99, AnswerKind.SKIPPED), "there is no tile 99"),
        (NewAnswer(4, 7, "a", "page", AnswerKind.SKIPPED, 0), "there is no round 7"),
        (answer(4, based_on=2), "version 2, which does not exist"),
        (answer(4, based_on=10**30), "based_on is out of range"),
        (answer(10**30), "tile is out of range"),
        (answer(4, comment="\0"), "comment holds characters that are no text"),
        (answer(4, comment="\ud800"), "comment holds characters that are no text"),
        (answer(4, comment="x" * 10_001), "more than 10000 characters"),
        (answer(4, seconds=float("nan")), "no number of seconds"),
        (answer(4, seconds=-1.0), "no number of seconds"),
        (answer(4, geometry={"x": float("inf")}), "geometry is no JSON"),
    ],
)
def test_what_is_no_answer_is_refused(store: ProjectStore, new: NewAnswer, message: str):
    begin(store, [4])
    with pytest.raises(InputError, match=message):
        store.answers.add(new)
    assert store.answers.history(4) == []


def test_a_stale_answer_is_refused_and_not_lost(store: ProjectStore):
    begin(store, [4])
    first = store.answers.add(answer(4, "ann"))
    late = answer(4, "bob", label=5, comment="mine")
    for _ in range(2):  # whoever sends again gets the same answer
        with pytest.raises(StaleAnswer, match="ann has handed in version 1 meanwhile") as caught:
            store.answers.add(late)
        assert caught.value.newest == first
    (kept,) = store.answers.refused()
    assert caught.value.refused == kept.id
    assert (kept.author, kept.comment, kept.based_on, kept.newest, kept.key) == ("bob", "mine", 0, 1, late.key)
    assert kept.mask is not None
    assert store.progress().refused == 1
    assert store.answers.add(answer(4, "bob", based_on=1)).version == 2


def test_sending_again_gives_the_answer_that_is_there(store: ProjectStore):
    begin(store, [4])
    new = answer(4)
    first = store.answers.add(new)
    store.answers.add(answer(4, "bob", based_on=1))
    assert store.answers.add(new) == first
    assert len(store.answers.history(4)) == 2


def test_several_answers_are_kept_together_or_not_at_all(store: ProjectStore):
    begin(store, [4, 5, 6])
    kept = store.answers.add_all([answer(6), answer(4)])
    assert [a.tile for a in kept] == [6, 4]
    with pytest.raises(StaleAnswer):
        store.answers.add_all([answer(5), answer(6)])
    assert store.answers.newest(5) is None


def test_of_several_answers_each_is_kept_for_itself(store: ProjectStore):
    begin(store, [4, 5, 6])
    store.answers.add(answer(5, "bob", label=3))
    assert leased(store, "ann", NOON) == 4
    store.leases.save_sketch("ann", 4, 0, {"strokes": []})
    late, twice = answer(5), answer(4, key="one-act")
    for _ in range(2):  # sent again after a lost reply
        kept = store.answers.add_each([answer(6, key="other-act"), late, twice])
        assert [a and (a.tile, a.version, a.author) for a in kept] == [(6, 1, "ann"), None, (4, 1, "ann")]
    assert [(r.tile, r.author, r.newest) for r in store.answers.refused()] == [(5, "ann", 1)]
    assert store.answers.answered() == {4, 5, 6}
    assert store.leases.revisit("ann", 1, 4).sketch is None
    assert store.progress(NOON).rounds[1].leased == 0
    assert store.progress(NOON).rounds[1].state is RoundState.ANNOTATING
    histories = store.answers.histories([4, 5, 7])
    assert {tile: [a.author for a in found] for tile, found in histories.items()} == {4: ["ann"], 5: ["bob"]}
    chain = store.answers.add_each([answer(4, based_on=1, label=2), answer(4, based_on=2, label=3)])
    assert [a and a.version for a in chain] == [2, 3]
    with pytest.raises(InputError, match="version 9, which does not exist"):
        store.answers.add_each([answer(6, based_on=1), answer(4, based_on=9)])
    assert len(store.answers.history(6)) == 1
    store.answers.undo(6, "ann", based_on=1)
    assert store.answers.answered() == {4, 5}
    assert store.answers.efforts()[0][:2] == ("bob", AnswerKind.DRAWN)
    assert len(store.answers.efforts()) == 5  # the undoing took no time


def labels_of(store: ProjectStore, tile: int) -> int | None:
    newest = store.answers.newest(tile)
    return None if newest is None or newest.mask is None else int(store.answers.masks()[tile].min())


def test_undo_goes_back_step_by_step_and_forgets_nothing(store: ProjectStore):
    begin(store, [4])
    store.answers.add(answer(4, label=1))
    store.answers.add(answer(4, based_on=1, label=2))
    store.answers.add(answer(4, based_on=2, label=3))
    assert store.answers.undo(4, "ann", based_on=3).reverts_to == 2
    assert labels_of(store, 4) == 2
    store.answers.undo(4, "ann", based_on=4)
    assert labels_of(store, 4) == 1
    store.answers.add(answer(4, based_on=5, label=6))  # and then something new
    store.answers.undo(4, "ann", based_on=6)
    assert labels_of(store, 4) == 1
    last = store.answers.undo(4, "ann", based_on=7)
    assert (last.kind, last.reverts_to) == (AnswerKind.WITHDRAWN, 0)
    assert store.answers.masks() == {}
    with pytest.raises(InputError, match="nothing to undo"):
        store.answers.undo(4, "ann", based_on=8)
    with pytest.raises(StaleAnswer):
        store.answers.undo(4, "ann", based_on=3)
    assert [a.version for a in store.answers.history(4)] == list(range(1, 9))
    work = store.leases.lease("bob")
    assert work is not None
    assert (work.pick.tile, work.version) == (4, 8)


def test_every_user_gets_another_tile_in_the_order_of_rank(store: ProjectStore):
    begin(store, [7, 3, 9])
    assert [leased(store, u, NOON) for u in ("ann", "bob", "cem", "dee")] == [7, 3, 9, None]
    assert leased(store, "bob", NOON + MINUTE) == 3  # the same again


def leased(store: ProjectStore, user: str, now: datetime) -> int | None:
    work = store.leases.lease(user, now)
    return None if work is None else work.pick.tile


def test_a_tile_of_a_certain_slide_can_be_asked_for(store: ProjectStore):
    other = [Tile("b", Box(0, 0, SIZE, SIZE), Box(0, 0, SIZE, SIZE), SIZE)]
    store.rounds.add_slide(SlideRecord("b", "b.png", "f01", SIZE, SIZE, None), other)
    begin(store, [7, 12])
    assert leased(store, "ann", NOON) == 7
    work = store.leases.lease("ann", NOON, slide="b")
    assert work is not None
    assert (work.pick.tile, work.tile.slide) == (12, "b")
    assert store.leases.lease("bob", NOON, slide="b") is None
    again = store.leases.lease("ann", NOON + MINUTE, slide="b")
    assert again is not None
    assert again.pick.tile == 12


def test_the_newest_drafts_of_many_tiles(store: ProjectStore):
    begin(store, [7, 3], drafts=[NewDraft(tile, mask(n), {}, "round-0") for tile, n in ((7, 1), (3, 2), (7, 4))])
    found = store.rounds.drafts([3, 7, 9])
    assert {tile: int(decode_mask(d.mask).min()) for tile, d in found.items()} == {3: 2, 7: 4}


def test_comments_are_found_by_tile(store: ProjectStore):
    begin(store, [3])
    store.people.note("ann", "comment", {"tile": 3, "text": "folded"})
    store.people.note("bob", "comment", {"tile": 33, "text": "out of focus"})
    store.people.note("bob", "answer", {"tile": 3})
    assert [(e.user, e.about["text"]) for e in store.leases.revisit("ann", 1, 3).comments] == [("ann", "folded")]


def test_a_lease_ends_and_is_renewed_by_asking_again(store: ProjectStore):
    begin(store, [7])
    assert leased(store, "ann", NOON) == 7
    assert leased(store, "ann", NOON + 10 * MINUTE) == 7
    assert leased(store, "bob", NOON + 20 * MINUTE) is None
    assert leased(store, "bob", NOON + 26 * MINUTE) == 7
    assert leased(store, "ann", NOON + 26 * MINUTE) is None
    assert store.progress(NOON + 26 * MINUTE).rounds[1].leased == 1


def test_saving_unfinished_work_renews_the_lease(store: ProjectStore):
    begin(store, [7])
    work = store.leases.lease("ann", duration=MINUTE)
    assert work is not None
    store.leases.save_sketch("ann", 7, 0, {})
    assert leased(store, "bob", work.expires + MINUTE) is None


def test_answered_tiles_are_not_leased_and_a_round_without_work_ends(store: ProjectStore):
    begin(store, [7, 3])
    assert leased(store, "ann", NOON) == 7
    store.answers.add(answer(7, "ann"))
    assert leased(store, "ann", NOON) == 3
    store.answers.add(silent(3, AnswerKind.SKIPPED))
    assert leased(store, "ann", NOON) is None
    store.rounds.advance(1, RoundState.FITTED)
    assert leased(store, "ann", NOON) is None


def test_both_readings_of_a_tile_go_to_different_people_who_do_not_see_each_other(store: ProjectStore):
    begin(store, [7, 3], readings=2)
    assert leased(store, "ann", NOON) == 7
    store.answers.add(answer(7, "ann", label=1))
    assert leased(store, "ann", NOON) == 3
    store.answers.add(answer(3, "ann", label=1))
    assert leased(store, "ann", NOON) is None
    work = store.leases.lease("bob", NOON)
    assert work is not None
    assert (work.pick.tile, work.reading, work.version, work.answer) == (7, 1, 0, None)
    store.answers.add(answer(7, "bob", label=2, reading=1))
    assert int(store.answers.masks()[7].min()) == 1
    assert int(store.answers.masks(reading=1)[7].min()) == 2
    assert store.progress(NOON).rounds[1].left == 1


def test_work_comes_with_draft_sketch_and_tile(store: ProjectStore):
    begin(store, [7], drafts=[NewDraft(7, mask(2), {"n": 1}, "round-0")])
    store.leases.save_sketch("ann", 7, 0, {"strokes": [[1, 2]]})
    store.leases.save_sketch("ann", 7, 0, {"strokes": [[1, 2], [3, 4]]})
    work = store.leases.lease("ann", NOON)
    assert work is not None
    assert work.tile == TILES[7]
    assert work.draft is not None
    assert work.draft.geometry == {"n": 1}
    assert work.sketch is not None
    assert work.sketch.content == {"strokes": [[1, 2], [3, 4]]}
    assert store.leases.revisit("bob", 1, 7).sketch is None
    store.answers.add(answer(7))
    assert store.leases.revisit("ann", 1, 7).sketch is None


def test_a_sketch_that_cannot_be_kept_is_refused(store: ProjectStore):
    begin(store, [4])
    for tile, content in ((99, {}), (10**30, {}), (4, {"x": float("nan")}), (4, {"x": object()})):
        with pytest.raises(InputError):
            store.leases.save_sketch("ann", tile, 0, content)
    assert store.leases.revisit("ann", 1, 4).sketch is None


def test_progress_per_round_and_per_class(store: ProjectStore):
    begin(store, [4, 5, 6, 7])
    store.answers.add(answer(4, label=1, seconds=30.0))
    store.answers.add(answer(5, label=2, seconds=10.0))
    store.answers.add(answer(5, based_on=1, label=1, seconds=5.0))
    store.answers.add(silent(6, AnswerKind.NO_SEEN_CLASS))
    leased(store, "bob", NOON)
    found = store.progress(NOON)
    one = found.rounds[1]
    assert (one.asked, one.answered, one.left, one.leased, one.seconds) == (4, 3, 1, 1, 45.0)
    assert one.kinds == {AnswerKind.DRAWN: 2, AnswerKind.NO_SEEN_CLASS: 1}
    assert [(c.label, c.tiles, c.pixels) for c in found.classes] == [(1, 2, 2 * 3 * SIZE)]
    assert found.tiles == 12


def test_tokens_are_of_one_user_and_are_kept_as_hashes(store: ProjectStore, url: str):
    token = store.people.add("Ann Lee")
    assert store.people.of_token(token) == "Ann Lee"
    assert store.people.of_token(token[:-1]) is None
    newer = store.people.add("Ann Lee")
    assert store.people.of_token(token) is None
    assert store.people.of_token(newer) is not None
    store.people.revoke(["Ann Lee"])
    assert store.people.of_token(newer) is None
    newest = store.people.add("Ann Lee")
    with pytest.raises(InputError, match=r"no user 'Bob'. Users are: Ann Lee"):
        store.people.revoke(["Ann Lee", "Bob"])
    assert store.people.of_token(newest) is not None, "all or none"
    for name in ("", " x", "x\n", "x" * 101):
        with pytest.raises(InputError, match="printable"):
            store.people.add(name)
    if url.startswith("sqlite"):
        content = b"".join(p.read_bytes() for p in Path(url.removeprefix("sqlite:///")).parent.iterdir())
        assert b"Ann Lee" in content
        assert newer.encode() not in content


def test_the_audit_trail_tells_who_did_what(store: ProjectStore):
    begin(store, [4])
    store.answers.add(answer(4, "ann"))
    store.answers.undo(4, "bob", based_on=1)
    store.people.note("ann", "login", {"from": "127.0.0.1"})
    trail = [(e.user, e.what) for e in store.people.events()]
    assert trail == [
        ("", "import"),
        ("", "propose"),
        ("", "fitted"),
        ("", "propose"),
        ("ann", "answer"),
        ("bob", "undo"),
        ("ann", "login"),
    ]
    assert store.people.events("undo")[0].about == {"tile": 4, "version": 2, "reverts_to": 0}


def test_named_values(store: ProjectStore):
    assert store.rounds.recall("hashes") is None
    store.rounds.remember("hashes", {"a": [1]})
    store.rounds.remember("hashes", {"a": [2]})
    assert store.rounds.recall("hashes") == {"a": [2]}


def test_many_annotators_at_once_lose_and_double_nothing(url: str, store: ProjectStore):
    begin(store, list(range(12)))
    other = ProjectStore(url)  # as a second process would have it
    gate = threading.Barrier(8, timeout=PATIENCE)

    def annotate(number: int) -> list[int]:
        mine, user = (store, other)[number % 2], f"user {number}"
        gate.wait()
        done = []
        while (work := mine.leases.lease(user)) is not None:
            mine.answers.add(answer(work.pick.tile, user, work.version))
            done.append(work.pick.tile)
        return done

    with ThreadPoolExecutor(8) as threads:
        done = [tile for tiles in threads.map(annotate, range(8)) for tile in tiles]
    assert sorted(done) == list(range(12))
    assert [len(store.answers.history(t)) for t in range(12)] == [1] * 12
    other.close()


def test_of_many_who_answer_for_one_tile_one_wins_and_the_others_are_kept(store: ProjectStore):
    begin(store, [4])
    gate = threading.Barrier(6, timeout=PATIENCE)

    def annotate(number: int) -> bool:
        gate.wait()
        try:
            store.answers.add(answer(4, f"user {number}"))
        except StaleAnswer:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        won = list(threads.map(annotate, range(6)))
    assert sum(won) == 1
    assert len(store.answers.history(4)) == 1
    assert len(store.answers.refused()) == 5


WRITER = """
import sys
import numpy as np
from aczerots.annotation.store.records import AnswerKind, NewAnswer
from aczerots.annotation.store.store import ProjectStore
store = ProjectStore(sys.argv[1])
known = store.answers.newest(4)
version = known.version if known else 0
while True:
    version += 1
    mask = np.full((8, 8), version % 200, np.uint8)
    store.answers.add(NewAnswer(4, 1, "ann", "page", AnswerKind.DRAWN, version - 1, mask))
    print(version, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("_run", range(2))
def test_a_kill_in_the_middle_of_an_answer_loses_nothing_acknowledged(store: ProjectStore, url: str, _run: int):
    begin(store, [4])
    before = 0
    for heard in (3, 7):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(heard)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().split("\n") if line]
        writer.wait()
        writer.stdout.close()
        versions = [a.version for a in store.answers.history(4)]
        assert versions == list(range(1, len(versions) + 1))
        assert acknowledged[0] == before + 1
        assert acknowledged[-1] <= versions[-1] <= acknowledged[-1] + 1
        before = versions[-1]
        assert int(store.answers.masks()[4][0, 0]) == before % 200


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(b"x" * 5000), "not a database"),
        (lambda p: p.mkdir(), "unable to open"),
    ],
)
def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path, damage: Damage, message: str):
    path = tmp_path / "project.sqlite"
    damage(path)
    with pytest.raises(StorageError, match=message):
        ProjectStore(path)


@pytest.mark.parametrize("wrong", ["nonsense", "mysql://x/y", "sqlite://", "oracle+who://x"])
def test_a_url_that_makes_no_sense_is_refused(wrong: str):
    with pytest.raises(SettingsError, match="--database"):
        ProjectStore(wrong)


def test_a_server_that_is_not_there_is_one_clear_error_without_the_password():
    with pytest.raises(StorageError, match="database error") as caught:
        ProjectStore("postgresql+psycopg://ann:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
