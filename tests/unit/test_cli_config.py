"""`forewarn config`: what holds here, a sample that overwrites nothing, and a check of either kind of file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forewarn import cli
from forewarn.errors import ConfigurationError

RUN = CliRunner()


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        RUN.invoke(cli.app, ["config", *arguments], catch_exceptions=False)
    return str(caught.value)


def test_it_shows_each_setting_with_its_source(tmp_path: Path) -> None:
    path = tmp_path / "forewarn.toml"
    path.write_text("[agent]\ninterval_s = 5\n")
    told = RUN.invoke(cli.app, ["config", "--config", str(path)], env={"FOREWARN_WEB__PORT": "8443"}).output
    assert "agent.interval_s = 5.0   # file\n" in told
    assert "web.port = 8443   # FOREWARN_WEB__PORT\n" in told
    assert "agent.smart.recorded = (none)   # default\n" in told


def test_it_shows_the_same_as_json() -> None:
    told = json.loads(RUN.invoke(cli.app, ["config", "--json"]).output)
    (port,) = [one for one in told if one["path"] == "web.port"]
    assert (port["value"], port["source"]) == ("8460", "default")
    assert port["text"].startswith("TCP port")


def test_a_variable_for_one_entry_of_a_table_is_the_tables_source() -> None:
    told = RUN.invoke(cli.app, ["config"], env={"FOREWARN_PREDICT__MODELS__DISK": "rules"}).output
    assert 'predict.models = {disk = "rules"}   # FOREWARN_PREDICT__MODELS__DISK\n' in told


@pytest.mark.parametrize("asked", [["--init"], ["init"]])
def test_a_sample_is_written_once_and_never_over_another_file(tmp_path: Path, asked: list[str]) -> None:
    path = tmp_path / "forewarn.toml"
    assert RUN.invoke(cli.app, ["config", *asked, "--out", str(path)]).exit_code == 0
    assert "[agent.smart]\n" in path.read_text()
    assert RUN.invoke(cli.app, ["config", "check", str(path)]).output == f"{path} is right.\n"
    path.write_text("mine")
    assert "exists already" in refusal(*asked, "--out", str(path))
    assert path.read_text() == "mine"
    new = tmp_path / "absent" / "folder" / "x.toml"
    assert RUN.invoke(cli.app, ["config", *asked, "--out", str(new)]).exit_code == 0
    assert "[agent.smart]\n" in new.read_text()
    assert f"cannot write {path / 'x.toml'}: its folder" in refusal(*asked, "--out", str(path / "x.toml"))
    assert refusal(*asked, "--out", str(tmp_path / ("x" * 300))).endswith(": File name too long")


def test_a_file_for_a_sample_without_a_sample_is_a_mistake(tmp_path: Path) -> None:
    assert "goes with --init" in refusal("--out", str(tmp_path / "x.toml"))


def test_the_file_of_an_agent_is_right_too(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[listen]\nport = 9000\n")
    assert RUN.invoke(cli.app, ["config", "check", str(path)]).output == f"{path} is right for an agent.\n"
    path.write_text("[listen]\nprot = 9000\n")
    assert "there is no setting 'listen'" in refusal("check", str(path))


def test_saying_more_does_not_tell_of_the_schema_steps(tmp_path: Path) -> None:
    program = (
        "import logging; from typer.testing import CliRunner; from forewarn import cli\n"
        "from forewarn.state.database import Database\n"
        "cli._start(True)\n"
        f"Database('sqlite:///{tmp_path}/state.sqlite').close(); logging.getLogger('forewarn').info('more')"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "alembic" not in said.stderr
    assert "INFO forewarn: more" in said.stderr
