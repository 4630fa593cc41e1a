"""Whatever was granted: nothing is done that its narrowest grant forbids, and nothing that was not planned."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from forewarn.decide.authority import AuthoritySettings, lacking_evidence, permit
from forewarn.domain.authority import Action, Approval, Evidence, Grant, Mode
from forewarn.domain.inventory import Cluster, Criticality, Host, Kind
from forewarn.domain.plan import COST_BENEFIT, Cordon, Move, Plan
from forewarn.domain.situation import Situation
from tests.clusters import NOW, host

HOSTS = tuple(replace(host(name), aggregates=of) for name, of in (("a", ("gold", "lab")), ("b", ("gold",)), ("c", ())))
HOST_BY_NAME = {known.name: known for known in HOSTS}
MODES, KINDS = st.sampled_from(Mode), st.sampled_from((Kind.CPU, Kind.DISK))
TIMES = st.integers(-2, 2).map(lambda hours: NOW + timedelta(hours=hours))


def optional(*names: str) -> st.SearchStrategy[str]:
    return st.sampled_from(("", *names))


GRANTS = st.builds(
    Grant,
    MODES,
    st.just(NOW),
    st.just("ann"),
    st.just("trial"),
    optional("gold", "lab", "gone"),
    optional("cpu", "disk"),
    optional(*Action),
    st.none() | TIMES,
    st.booleans(),
)
EVIDENCE = st.builds(Evidence, KINDS, st.sampled_from((0, 19, 30)), st.just(0), st.just(0), st.sampled_from((0.3, 0.9)))
NAMES = st.sampled_from(("a", "b", "c", "gone"))
APPROVALS = st.builds(Approval, st.sampled_from(("v0", "v1", "v2")), NAMES, TIMES, st.just("bob"), st.just("go"))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    def move(number: int) -> Move:
        kind, source = draw(KINDS), draw(NAMES)
        places = (source, "t", f"{kind}:{source}/{kind}", kind)
        return Move(f"m{number}", f"v{number}", f"vm{number}", Criticality.NORMAL, *places, 0.5, 0.1, COST_BENEFIT, "")

    moves = tuple(move(number) for number in range(draw(st.integers(0, 4))))
    marked = draw(st.lists(st.tuples(NAMES, KINDS), max_size=3, unique_by=lambda pair: pair[0]))
    return Plan("p", NOW, 7, moves, cordons=tuple(Cordon(on, "", kind, "it may fail") for on, kind in marked))


SITUATIONS = st.builds(
    Situation,
    cluster=st.just(Cluster(NOW, 7, HOSTS)),
    grants=st.lists(GRANTS, max_size=6).map(tuple),
    evidence=st.lists(EVIDENCE, max_size=2, unique_by=lambda found: found.kind).map(tuple),
    approvals=st.lists(APPROVALS, max_size=3).map(tuple),
)
SETTINGS = st.tuples(MODES, MODES).map(lambda pair: AuthoritySettings(*sorted(pair, key=lambda mode: mode.rank)))


def narrowest(seen: Situation, action: Action, kind: Kind, on: str) -> Grant | None:
    """By the words: of the grants in force that cover this, the ones with the narrowest scope; of those the newest."""
    aggregates = HOST_BY_NAME.get(on, Host(on)).aggregates
    found: Grant | None = None
    for grant in seen.grants:
        held = grant.until is None or grant.until > NOW
        covers = grant.aggregate in ("", *aggregates) and grant.kind in ("", kind) and grant.action in ("", action)
        if held and covers and (found is None or grant.breadth <= found.breadth):
            found = grant
    return found


def ruled(seen: Situation, settings: AuthoritySettings, action: Action, kind: Kind, on: str) -> Mode:
    grant = narrowest(seen, action, kind, on)
    return grant.mode if grant else settings.mode


def earned(seen: Situation, settings: AuthoritySettings, kind: Kind) -> bool:
    found = next((each for each in seen.evidence if each.kind is kind), Evidence(kind))
    return not lacking_evidence(found, settings)


def approved(seen: Situation, move: Move) -> bool:
    return any((a.vm, a.source) == (move.vm, move.source) and a.until > NOW for a in seen.approvals)


@given(plans(), SITUATIONS, SETTINGS)
def test_every_planned_move_is_either_made_or_proposed_and_no_other(
    plan: Plan, seen: Situation, settings: AuthoritySettings
) -> None:
    made = permit(plan, seen, settings, NOW)
    assert sorted([*made.moves, *(p.move for p in made.proposals)], key=lambda m: m.id) == list(plan.moves)
    assert set(made.cordons) <= set(plan.cordons)
    assert (made.id, made.verdicts, made.tickets) == (plan.id, plan.verdicts, plan.tickets)
    assert all(proposal.why for proposal in made.proposals)


@given(plans(), SITUATIONS, SETTINGS)
def test_a_move_is_made_only_where_its_narrowest_grant_allows_it(
    plan: Plan, seen: Situation, settings: AuthoritySettings
) -> None:
    for move in permit(plan, seen, settings, NOW).moves:
        mode = ruled(seen, settings, Action.MOVE, move.kind, move.source)
        assert mode is not Mode.OBSERVE
        assert mode is Mode.AUTOMATIC or approved(seen, move)


@given(plans(), SITUATIONS, SETTINGS)
def test_nothing_is_done_without_asking_that_was_neither_earned_nor_overridden(
    plan: Plan, seen: Situation, settings: AuthoritySettings
) -> None:
    made = permit(plan, seen, settings, NOW)
    alone = [(Action.MOVE, move.kind, move.source) for move in made.moves if not approved(seen, move)]
    alone += [(Action.CORDON, cordon.kind, cordon.host) for cordon in made.cordons]
    for action, kind, on in alone:
        grant = narrowest(seen, action, kind, on)
        assert ruled(seen, settings, action, kind, on) is Mode.AUTOMATIC
        assert (grant is not None and grant.overrides) or earned(seen, settings, kind)


@given(plans(), SITUATIONS, MODES)
def test_the_configuration_is_the_furthest_that_anything_goes(plan: Plan, seen: Situation, mode_max: Mode) -> None:
    made = permit(plan, seen, AuthoritySettings(Mode.OBSERVE, mode_max), NOW)
    assert all(proposal.mode.rank <= mode_max.rank for proposal in made.proposals)
    if mode_max is Mode.OBSERVE:
        assert (made.moves, made.cordons) == ((), ())
    if mode_max is Mode.RECOMMEND:
        assert made.cordons == ()
        assert all(approved(seen, move) for move in made.moves)


@given(plans(), SITUATIONS, SETTINGS)
def test_what_is_permitted_is_permitted_again(plan: Plan, seen: Situation, settings: AuthoritySettings) -> None:
    once = permit(plan, seen, settings, NOW)
    assert permit(once, seen, settings, NOW) == once
