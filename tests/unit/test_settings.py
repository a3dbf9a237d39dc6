"""The environment is read when it is asked, and a bad value stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_gateway import settings


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
