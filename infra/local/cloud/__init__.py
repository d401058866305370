"""The local cloud: a library that makes real things with Podman on one machine and knows nothing of Pulumi.

`Cloud(root, environment)` holds a `Kind` for each kind of thing, all with the same surface:

    create(owner, spec) -> Record     idempotent by owner: a second create adopts and brings to the spec
    read(id) -> Record | None         what is really there; None when somebody took it away
    update(id, spec) -> Record
    delete(id) -> None
    find(physical) -> Record | None   by the cloud's own name (bucket, user, `instance:account` …)

A refusal is a `CloudError(code, message)`. Several processes may use one environment at once.
"""
