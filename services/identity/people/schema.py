"""People and offices at the borders: the operator's API, and the registration form."""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

USERNAME = r"[a-z][a-z0-9._-]{3,31}"
PHONE = r"1[3-9][0-9]{9}"
NAME = r"[^\x00-\x1f<>&\"\\]{1,64}"
WORDS = r"[^\x00-\x1f<>\\]{1,64}"

RoleName = Literal["clerk", "administrator"]
Username = Annotated[str, Field(pattern=f"^{USERNAME}$", description="letters, digits, dot, hyphen; not a number")]
Phone = Annotated[str, Field(pattern=f"^{PHONE}$", description="a mobile number of the mainland, without +86")]
Name = Annotated[str, Field(pattern=f"^{NAME}$"), AfterValidator(str.strip)]
NoPhone = BeforeValidator(lambda given: given or None)  # "" is what a form sends for none
TenantCode = Annotated[str, Field(pattern=r"^[0-9]{6}$", description="GB/T 2260 code of a live tenant")]
Department = Annotated[str, Field(pattern=f"^{WORDS}$")]


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Office(Document):
    """A role in a department of a tenant."""

    tenant: TenantCode
    department: Department
    role: RoleName


class NewPerson(Document):
    username: Username
    password: SecretStr = Field(min_length=8, max_length=128)
    name: Name
    phone: Annotated[Phone | None, NoPhone] = None
    roles: list[Office] = Field(default_factory=list, max_length=20)


class PersonDocument(Document):
    id: uuid.UUID
    username: str
    name: str
    phone: str | None
    roles: list[Office]


REGISTRATION_ERRORS = {
    "username": "用户名为 4 至 32 位小写字母、数字、点、横线或下划线，以字母开头",
    "name": "请填写真实姓名",
    "phone": "请填写 11 位手机号",
}


def registration_errors(fields: dict[str, str]) -> dict[str, str]:
    """What is wrong with a registration form but for its password, by field."""
    patterns = {"username": USERNAME, "name": NAME, "phone": PHONE}
    return {
        name: REGISTRATION_ERRORS[name]
        for name, pattern in patterns.items()
        if not re.fullmatch(pattern, fields.get(name, ""))
    }
