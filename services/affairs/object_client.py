"""The S3 client as Alibaba Cloud OSS wants it. Loaded late, see `materials.py`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

errors = (BotoCoreError, ClientError)


def open_client(
    *, endpoint: str, region: str, key_id: str, key_secret: str, ca_file: str | None
) -> AbstractAsyncContextManager[Any]:
    """A client for one key.

    The store wants buckets by virtual host, and checksums only where an operation requires them: it refuses the
    chunked bodies that newer clients send otherwise.
    """
    config = AioConfig(
        s3={"addressing_style": "virtual"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=2,
        read_timeout=10,
        retries={"max_attempts": 2},
    )
    client: AbstractAsyncContextManager[Any] = get_session().create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key_id,
        aws_secret_access_key=key_secret,
        verify=ca_file,
        config=config,
    )
    return client
