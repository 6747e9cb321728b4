"""What all parts of a scenario are: frozen pydantic models that know their keys, and a few types that many have."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator

from core.scenario.kinds import Flag, Text

_NAME: Final = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
Name: TypeAlias = Annotated[str, Text("a name: a letter, then letters, digits, _ or -", _NAME, maximum=64)]
Words: TypeAlias = Annotated[str, Text("text")]
Bool: TypeAlias = Annotated[bool, Flag()]


class Section(BaseModel):
    """A part of a scenario: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: object) -> object:
        return cls.spelled_out(data)

    @classmethod
    def spelled_out(cls, data: object) -> object:
        """What a shorter form of the section stands for; anything else as it is."""
        return data
