"""Forewarn's own metrics."""

import re
from dataclasses import replace
from datetime import timedelta

from forewarn.domain.authority import Evidence
from forewarn.domain.inventory import HostState, Kind, Remark
from forewarn.web.exposition import exposition
from forewarn.web.fleet import fleet_of
from tests.shown import NOW, snapshot_of, standing_of

LINE = re.compile(r'^[a-z_]+(\{([a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?[0-9.e+-]+$')


def page(**changes: object) -> str:
    fleet = fleet_of(replace(snapshot_of(), **changes))  # type: ignore[arg-type]  # whatever the test wants otherwise
    return exposition(fleet, NOW + timedelta(seconds=30), "1.2.3", {"streams": 2})


def test_every_line_is_a_sample_or_a_comment() -> None:
    lines = page().splitlines()
    assert [line for line in lines if not line.startswith("# ") and not LINE.match(line)] == []
    assert len(lines) > 375


def test_each_family_is_declared_once_before_its_samples() -> None:
    lines = page().splitlines()
    declared = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(declared) == len(set(declared))
    assert {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")} <= set(declared)


def test_it_tells_the_age_the_mode_and_each_known_risk() -> None:
    text = page(paused="a drill")
    assert "forewarn_snapshot_age_seconds 30\n" in text
    assert 'forewarn_mode{mode="automatic"} 1\n' in text
    assert "forewarn_paused 1\n" in text
    assert 'forewarn_build_info{version="1.2.3"} 1\n' in text
    assert 'forewarn_moves{state="running"} 3\n' in text
    assert 'forewarn_hosts{state="down"} 1\n' in text
    known = sum(not f.unknown for f in snapshot_of().forecasts)
    assert len(re.findall(r'^forewarn_risk\{.*horizon="7d"\}', text, re.MULTILINE)) == known


def test_hosts_that_do_not_answer_and_remarks_are_told() -> None:
    cluster = snapshot_of().cluster
    first = replace(cluster.hosts[0], state=HostState.UNKNOWN, seen_at=NOW - timedelta(seconds=90))
    remarks = (Remark(first.name, "no answer"), Remark(first.name, "odd metadata", "vm-1"), Remark("b", "odd", "vm-2"))
    text = page(cluster=replace(cluster, hosts=(first, *cluster.hosts[1:]), remarks=remarks))
    assert f'forewarn_host_unheard_seconds{{host="{first.name}"}} 120\n' in text
    assert 'forewarn_driver_remarks{about="host"} 1\n' in text
    assert 'forewarn_driver_remarks{about="vm"} 2\n' in text
    assert "forewarn_host_unheard_seconds{" not in page()


def test_each_host_says_whether_it_is_cordoned() -> None:
    cluster = snapshot_of().cluster
    first, second = (replace(host, cordoned=closed) for host, closed in zip(cluster.hosts, (True, False), strict=False))
    text = page(cluster=replace(cluster, hosts=(first, second)))
    assert f'forewarn_host_cordoned{{host="{first.name}"}} 1\n' in text
    assert f'forewarn_host_cordoned{{host="{second.name}"}} 0\n' in text


def test_the_unknown_has_no_risk_and_is_counted() -> None:
    assert 'forewarn_components_unknown{kind="power"} 2\n' in page()
    assert re.search(r'^forewarn_risk\{.*kind="power",host="atlas"', page(), re.MULTILINE) is None


def test_it_tells_what_allows_and_what_holds_back() -> None:
    text = page(standing=standing_of(breaker="9 hosts at once"))
    assert "forewarn_breaker_tripped 1\n" in text
    assert "forewarn_leader 1\n" in text
    assert 'forewarn_mode_granted{mode="automatic",aggregate="",kind="disk",action=""} 1\n' in text
    assert 'forewarn_windows_open{kind="freeze"} 1\n' in text
    assert 'forewarn_windows_open{kind="maintenance"} 0\n' in text
    assert 'forewarn_evidence_judged{kind="disk"} 24\n' in text
    assert 'forewarn_evidence_precision_low{kind="disk"} 0.62\n' in text
    assert 'forewarn_limit{name="moves_per_source"} 2\n' in text
    assert 'forewarn_limit_used{name="moves_per_source"} 1\n' in text
    assert 'forewarn_limit_held_total{name="moves_per_source"} 17\n' in text
    assert "forewarn_proposals 0\n" in text
    assert "forewarn_cordons 0\n" in text


def test_a_kind_without_a_judged_forecast_has_no_precision() -> None:
    text = page(standing=standing_of(evidence=(Evidence(Kind.CPU),)))
    assert 'forewarn_evidence_judged{kind="cpu"} 0\n' in text
    assert "forewarn_evidence_precision_low{" not in text


def test_an_odd_horizon_is_given_in_seconds() -> None:
    assert 'horizon="7200s"' in page(horizon_s=7200.0)


def test_hostile_names_cannot_forge_a_sample() -> None:
    snapshot = snapshot_of()
    evil = replace(snapshot.forecasts[0], device='a"} 1\nforewarn_risk{x="\\')
    first = replace(snapshot.cluster.components[0], device=evil.device)
    cluster = replace(snapshot.cluster, components=(first, *snapshot.cluster.components[1:]))
    lines = page(cluster=cluster, forecasts=snapshot.forecasts).splitlines()
    assert [line for line in lines if not line.startswith("# ") and not LINE.match(line)] == []


def test_before_the_first_cycle_it_says_that_nothing_is_there() -> None:
    text = exposition(None, NOW, "1.2.3", {"streams_dropped_total": 4})
    assert "forewarn_snapshot_present 0\n" in text
    assert "# TYPE forewarn_events_streams_dropped_total counter\n" in text
    assert "forewarn_risk{" not in text
