"""The environment is read when it is asked, and a bad value stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_gateway import settings
from llm_gateway.errors import InvalidInput
from tests.guards import MARK

PACKAGE = Path(settings.__file__).parent


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for setting in settings.SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path))


def test_paths_follow_the_environment_of_the_moment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is computed at import."""
    assert settings.home() == tmp_path
    assert settings.logs_db() == tmp_path / "logs.db"
    monkeypatch.setenv("LLM_GATEWAY_HOME", str(tmp_path / "b"))
    assert settings.logs_db() == tmp_path / "b" / "logs.db"
    monkeypatch.setenv("HOME", str(tmp_path / "u"))
    monkeypatch.delenv("LLM_GATEWAY_HOME")
    assert settings.home() == tmp_path / "u" / ".llm-cli-gateway"


@pytest.mark.parametrize("value", ["", "none", "NONE", " None "])
def test_the_recorder_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Empty or none, in any case, means no file."""
    monkeypatch.setenv("LLM_GATEWAY_LOGS_DB", value)
    assert settings.logs_db() is None


def test_another_jobs_file_is_ignored_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Jobs are kept in the recorder; the original's variable may only name the same file."""
    monkeypatch.setenv("LLM_GATEWAY_JOBS_DB", str(tmp_path / "logs.db"))
    assert settings.problems() == []
    monkeypatch.setenv("LLM_GATEWAY_JOBS_DB", "/elsewhere.db")
    assert len(settings.problems()) == 1
    assert "/elsewhere.db" in settings.problems()[0]


@pytest.mark.parametrize("value", ["x", "nan", "inf", "-1", ""])
def test_a_bad_number_means_the_default_and_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """A setting that is no safety matter never stops a prompt."""
    monkeypatch.setenv("LLM_GATEWAY_RETRY_WAIT", value)
    monkeypatch.setenv("LLM_GATEWAY_JOB_RETENTION_DAYS", value)
    monkeypatch.setenv("LLM_GATEWAY_LOG_RETENTION_DAYS", value)
    assert settings.retry_wait() == 60
    assert settings.job_retention_days() == 30
    assert settings.log_retention_days() is None
    assert len(settings.problems()) == 3


def test_good_numbers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fractions are numbers too, and waiting may be forbidden."""
    monkeypatch.setenv("LLM_GATEWAY_RETRY_WAIT", "0")
    monkeypatch.setenv("LLM_GATEWAY_JOB_RETENTION_DAYS", "0.5")
    monkeypatch.setenv("LLM_GATEWAY_LOG_RETENTION_DAYS", "90")
    assert (settings.retry_wait(), settings.job_retention_days()) == (0, 0.5)
    assert settings.log_retention_days() == 90
    assert settings.problems() == []


def test_names_to_pass_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks are forgiven; what can be no variable's name is left out and named."""
    monkeypatch.setenv("LLM_GATEWAY_PASS_ENV", " A, B_2,,x=y")
    assert settings.pass_env() == ("A", "B_2")
    assert "x=y" in settings.problems()[0]


def test_an_executable_of_the_users_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's name becomes a variable's name."""
    assert settings.cli_override("claude") is None
    monkeypatch.setenv("LLM_GATEWAY_MY_CLI_CLI", "/opt/x")
    assert settings.cli_override("my-cli") == "/opt/x"


# config.toml


def write(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)


def test_the_file_counts_where_the_environment_is_silent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Numbers, lists and paths; it is read again when it changes."""
    write(tmp_path, 'retry_wait = 5\npass_env = ["A", "B"]\nlogs_db = "/x/y.db"\nclaude_cli="/c"')
    assert (settings.retry_wait(), settings.pass_env()) == (5, ("A", "B"))
    assert (settings.logs_db(), settings.logs_db_is_named()) == (Path("/x/y.db"), True)
    assert (settings.cli_override("claude"), settings.problems()) == ("/c", [])
    monkeypatch.setenv("LLM_GATEWAY_RETRY_WAIT", "7")
    assert settings.retry_wait() == 7
    monkeypatch.delenv("LLM_GATEWAY_RETRY_WAIT")
    write(tmp_path, "retry_wait = 12.5")
    assert settings.retry_wait() == 12.5


def test_what_the_file_has_in_vain_is_named(tmp_path: Path) -> None:
    """A wrong value, a key that nothing reads, and what only the environment may say."""
    write(tmp_path, 'retry_wait = "soon"\nretries_wait = 1\nallow_full_access = true\nhome = "/x"')
    told = settings.problems()
    assert len(told) == 4
    for word in ("retry_wait in ", "has retries_wait", "LLM_GATEWAY_ALLOW_FULL", "GATEWAY_HOME"):
        assert sum(word in line for line in told) == 1, (word, told)
    assert settings.retry_wait() == 60
    settings.check()


def test_the_operators_switch_is_the_environments_alone(tmp_path: Path) -> None:
    """Who can write a file in the state directory has not thereby got full access."""
    write(tmp_path, "allow_full_access = true")
    assert settings.said("LLM_GATEWAY_ALLOW_FULL_ACCESS") == "0"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("LLM_GATEWAY_ALLOW_FULL_ACCESS", "yes", "neither 0 nor 1"),
        ("LLM_GATEWAY_APPROVAL_POLICY", "loose", "not one of strict, balanced, permissive, ask"),
        ("LLM_GATEWAY_LOGS_DB", "~no_such_user_/x.db", "no user no_such_user_"),
        ("LLM_GATEWAY_HOME", "~no_such_user_/x", "no user no_such_user_"),
    ],
)
def test_paths_and_access_are_not_guessed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    """A wrong one is an error that names it."""
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match=text):
        settings.check()


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    """It may have had a path or a policy in it, so nothing is guessed."""
    write(tmp_path, "retry_wait = \n")
    with pytest.raises(InvalidInput, match=r"config\.toml is no TOML"):
        settings.check()


def test_each_has_its_value_and_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One row a setting, and one a provider where each has its own."""
    write(tmp_path, "max_output_mib = 8")
    monkeypatch.setenv("LLM_GATEWAY_RETRY_WAIT", "x")
    monkeypatch.setenv("LLM_GATEWAY_MY_CLI_CLI", "/a")
    held = {setting.name: effective for setting, effective in settings.every(["my-cli"])}
    assert held["LLM_GATEWAY_MAX_OUTPUT_MIB"] == ("8", "config.toml", None)
    assert held["LLM_GATEWAY_MY_CLI_CLI"] == ("/a", "environment", None)
    assert held["LLM_GATEWAY_RETRY_WAIT"][:2] == ("60", "default")
    assert "LLM_GATEWAY_<PROVIDER>_CLI" not in held


def test_a_slip_of_the_pen_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, one provider's own and what a run sets are none."""
    for name in ("RETRYWAIT", "RETRY_WAIT", "MY_CLI_CLI", "ACCESS_CAP", "DEPTH"):
        monkeypatch.setenv(f"LLM_GATEWAY_{name}", "1")
    assert set(settings.unread()) - {MARK} == {"LLM_GATEWAY_RETRYWAIT"}


def test_every_setting_is_read_somewhere() -> None:
    """T-42: one that nothing reads would be set in vain; the original's jobs file is only named."""
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    unread = [s.name for s in settings.SETTINGS if code.count(f'"{s.name}"') < 2]
    assert unread == ["LLM_GATEWAY_JOBS_DB"]
