"""Settings: the later source wins, and every fault names its source, field and value."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nervure_core.errors import ConfigurationError
from nervure_core.settings import load_settings


class Spool(BaseModel):
    model_config = ConfigDict(extra="forbid")
    quota_mib: int = Field(default=64, ge=1)
    classes: list[str] = []

    @model_validator(mode="after")
    def _agree(self) -> Spool:
        if self.quota_mib == 13:
            raise ValueError("quota_mib 13 contradicts common sense")
        return self


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    spool: Spool = Spool()


def load(file: Path | None = None, flags: dict[str, object] | None = None, **environment: str) -> Config:
    return load_settings(Config, prefix="T__", file=file, environment=environment, flags=flags)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('name = "file"\n[spool]\nquota_mib = 1\nclasses = ["a"]\n')
    assert load(file) == Config(name="file", spool=Spool(quota_mib=1, classes=["a"]))
    found = load(file, {"name": "flag", "spool": {"quota_mib": None}}, T__SPOOL__QUOTA_MIB="2", T__NAME="environment")
    assert found == Config(name="flag", spool=Spool(quota_mib=2, classes=["a"]))
    assert load(file, T__SPOOL__CLASSES='["b", "c"]').spool.classes == ["b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 1", r"a\.toml: name: found 1: should be a valid string"),
        ('name = "a"\nnmae = "b"', r"a\.toml: nmae: unknown key"),
        ('name = "a"\n[spool]\nquota_mib = 0', r"a\.toml: spool\.quota_mib: found 0: should be greater"),
        ('name = "a"\n[spool]\nquota_mib = 13', r"a\.toml: spool: quota_mib 13 contradicts"),
        ("[spool]", "name: required and not given"),
        ("name = =", r"a\.toml: not TOML: .*line 1"),
    ],
)
def test_faults_in_a_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load(file)


def test_faults_of_all_sources_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"environment T__SPOOL__QUOTA_MIB: .*'many'.*; flags: size: unknown key"
    ):
        load(None, {"name": "a", "size": 3}, T__SPOOL__QUOTA_MIB="many")
    with pytest.raises(ConfigurationError, match=r"absent\.toml: can't be read: No such file"):
        load(tmp_path / "absent.toml")
