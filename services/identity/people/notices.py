"""What people are told of their account by telephone."""

from __future__ import annotations

from typing import ClassVar

from services.kernel.notices import Notice


class Registered(Notice):
    """To the number that was given: its owner hears of an account that somebody else opens with it."""

    kind: ClassVar[str] = "registered"
    words: ClassVar[str] = "【{site}】您已注册账号，用户名 {username}。如非本人操作，请拨打 {service_phone}。"

    site: str
    username: str
    service_phone: str
