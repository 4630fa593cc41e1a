"""Readings to line protocol and InfluxQL, and answers to readings, without a database."""

import json
import math
from collections.abc import Mapping

import numpy as np
import pytest

from forewarn.store import influx_lines, influxql
from forewarn.store.influxql import Names, Refused
from forewarn.store.source import Readings

FIELDS: Mapping[str, Mapping[str, str]] = {
    "heat": {"value": "float", "value_ended": "boolean"},
    "smart_device": {"temp_c": "integer", "health_ok": "boolean", "wwn": "string"},
    "prometheus": {"up": "float", "up_ended": "boolean"},
    "door_ended": {"value": "float"},
    "lid": {"gauge": "float"},
}


def test_series_are_called_as_telegrafs_prometheus_output_calls_them() -> None:
    names = Names.of(FIELDS)
    assert names.found == {
        "heat": (("heat", "value"),),
        "heat_value": (("heat", "value"),),
        "smart_device_temp_c": (("smart_device", "temp_c"),),
        "smart_device_health_ok": (("smart_device", "health_ok"),),
        "up": (("prometheus", "up"),),
        "door_ended": (("door_ended", "value"),),
        "door_ended_value": (("door_ended", "value"),),
        "lid": (("lid", "gauge"),),
        "lid_gauge": (("lid", "gauge"),),
    }
    assert names.marked == {("heat", "value"), ("prometheus", "up")}


def test_measurements_of_the_same_fields_share_a_statement_and_others_have_their_own() -> None:
    names = Names.of({**FIELDS, 'odd "name"': {"value": "float", "value_ended": "boolean"}})
    asked = names.fields(["heat", 'odd "name"', "smart_device_temp_c", "smart_device_health_ok", "unknown"])
    assert influxql.samples(names, asked, 1, 3).split(";") == [
        'SELECT "value", "value_ended" FROM "heat", "odd \\"name\\"" WHERE time >= 2000 AND time < 4000 GROUP BY *',
        'SELECT "health_ok", "temp_c" FROM "smart_device" WHERE time >= 2000 AND time < 4000 GROUP BY *',
    ]


def test_rows_become_values_and_markers_of_each_field() -> None:
    names = Names.of(FIELDS)
    columns = ["time", "value", "value_ended"]
    rows = [[1, 2.5, None], [2, None, True], [3, 4, None]]
    body = {
        "results": [{"series": [{"name": "heat", "tags": {"a": "b", "c": ""}, "columns": columns, "values": rows}]}]
    }
    found = influxql.readings(json.dumps(body).encode(), names.fields(["heat"])).ordered()
    assert found.series == (("heat", (("a", "b"),)),)
    assert found.time.tolist() == [1, 2, 3]
    assert [None if math.isnan(value) else value for value in found.value.tolist()] == [2.5, None, 4.0]


@pytest.mark.parametrize("body", [b'{"error":"no"}', b'{"results":[{}]}\n{"results":[{"error":"no"}]}'])
def test_an_error_anywhere_in_an_answer_is_told(body: bytes) -> None:
    with pytest.raises(Refused, match=r"^no$"):
        list(influxql.answers(body))


def test_a_line_escapes_what_would_end_a_name_or_a_label() -> None:
    key = ("a b,c", (("d=e", "f,g h=i"), ("j", ""), ("k", "l\nm\\")))
    readings = Readings((key,), np.array([0, 0]), np.array([7, 5]), np.array([math.nan, 0.1]))
    ((times, body),) = influx_lines.bodies(readings, 10)
    head = r"a\ b\,c,d\=e=f\,g\ h\=i,k=l\ m/"
    assert body.decode().split("\n") == [f"{head} value=0.1 5", f"{head} value_ended=true 7"]
    assert times.tolist() == [5, 7]


def test_bodies_are_cut_in_the_order_of_time() -> None:
    readings = Readings((("a", ()),), np.zeros(5, np.int64), np.array([5, 1, 4, 2, 3]), np.arange(5.0))
    found = [body.decode().split("\n") for _, body in influx_lines.bodies(readings, 2)]
    assert [[line.rpartition(" ")[2] for line in lines] for lines in found] == [["1", "2"], ["3", "4"], ["5"]]
