"""People and offices at the borders: the operator's API, and the registration form."""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from services.kernel.typed import MOBILE, Unfit, compact, line, phone, reading, user_name

USERNAME = r"[a-z][a-z0-9._-]{3,31}"
NAME = r"[^\x00-\x1f<>&\"\\]{1,64}"
WORDS = r"[^\x00-\x1f<>\\]{1,64}"

RoleName = Literal["clerk", "administrator"]
Username = Annotated[
    str, Field(pattern=f"^{USERNAME}$", description="letters, digits, dot, hyphen; not a number"), reading(user_name)
]
Phone = Annotated[
    str, Field(pattern=f"^{MOBILE}$", description="a mobile number of the mainland; +86 is not kept"), reading(phone)
]
Name = Annotated[str, Field(pattern=f"^{NAME}$"), reading(line)]
NoPhone = BeforeValidator(lambda given: given or None)  # "" is what a form sends for none
TenantCode = Annotated[
    str, Field(pattern=r"^[0-9]{6}$", description="GB/T 2260 code of a live tenant"), reading(compact)
]
Department = Annotated[str, Field(pattern=f"^{WORDS}$"), reading(line)]


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


def person_fields(fields: dict[str, str]) -> dict[str, str]:
    """A form as it is kept: what people need not be told about is put right. A name that is unfit becomes empty."""
    try:
        name = line(fields.get("name", ""))
    except Unfit:
        name = ""
    tidy = {"username": user_name(fields.get("username", "")), "name": name, "phone": phone(fields.get("phone", ""))}
    return {"password": "", "repeated": "", **fields, **tidy}


def registration_errors(fields: dict[str, str]) -> dict[str, str]:
    """What is wrong with a registration form but for its password, by field."""
    patterns = {"username": USERNAME, "name": NAME, "phone": MOBILE}
    return {
        name: REGISTRATION_ERRORS[name]
        for name, pattern in patterns.items()
        if not re.fullmatch(pattern, fields.get(name, ""))
    }
