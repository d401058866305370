#!/usr/bin/python
"""Releases on a host: `releases/<version>` beside each other, and the link `current` to the one that runs."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release_tree
short_description: Lay down a release, switch to it, forget old ones
description:
  - The archive is sent by the action plugin of the same name, and only when the host does not have the version.
  - C(current) and C(previous) tell which version is switched to and which was before it.
  - Between C(switched) and C(settled) the host is C(rolling), so that an interrupted run is finished by the next.
author: yiwang
options:
  root: {description: Folder of the releases and the link., type: path, default: /opt/yiwang}
  version: {description: The release; C(previous) for the one that ran before., type: str, required: true}
  archive: {description: The release's archive on the controller., type: path}
  uploaded: {description: Where the action plugin put the archive; not for playbooks., type: path}
  state:
    description: The release is there; or C(current) points to it as well; or the host also serves with it.
    choices: [laid_down, switched, settled]
    default: laid_down
    type: str
  keep: {description: How many releases stay., type: int, default: 3}
"""


def current_of(root: Path) -> str | None:
    link = root / "current"
    return link.readlink().name if link.is_symlink() else None


def kept(root: Path) -> list[str]:
    """Versions on the host, the one switched to last first."""
    folders = [path for path in (root / "releases").glob("*") if path.is_dir() and not path.name.startswith(".")]
    return [path.name for path in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)]


def previous_of(root: Path) -> str | None:
    """The release that ran before the current one: the newest other that was ever switched to."""
    current = current_of(root)
    others = [name for name in kept(root) if name != current and (root / "releases" / name / ".switched").exists()]
    return others[0] if others else None


def unpack(root: Path, version: str, archive: Path) -> None:
    """Unpack beside and rename, so that a folder named by a version is always whole."""
    unfinished = root / "releases" / f".{version}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(unfinished)  # noqa: S202  (our own archive, built by tools/release.py)
    unfinished.rename(root / "releases" / version)


def switch(root: Path, version: str) -> None:
    folder = root / "releases" / version
    (folder / ".switched").touch()
    os.utime(folder)
    fresh = root / ".current"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.relative_to(root))
    fresh.rename(root / "current")


def rolling(root: Path) -> Path:
    """The mark of a host that was switched and is not yet back in its gateways."""
    return root / ".rolling"


def forget(root: Path, keep: int) -> list[str]:
    """Remove all but the `keep` newest; never what runs nor what a rollback would take."""
    needed = {current_of(root), previous_of(root)}
    versions = [name for name in kept(root) if name not in needed]
    surplus = versions[max(keep - len(needed - {None}), 0) :]
    for name in surplus:
        shutil.rmtree(root / "releases" / name)
    return surplus


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/opt/yiwang"},
            "version": {"type": "str", "required": True},
            "archive": {"type": "path"},
            "uploaded": {"type": "path"},
            "state": {"type": "str", "choices": ["laid_down", "switched", "settled"], "default": "laid_down"},
            "keep": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    version = module.params["version"]
    if version == "previous":
        version = previous_of(root) or module.fail_json(msg=f"{root}/releases holds no release that ran before")
    result = {
        "changed": False,
        "version": version,
        "current": current_of(root),
        "previous": previous_of(root),
        "rolling": rolling(root).exists(),
        "missing": False,
    }
    if not (root / "releases" / version).is_dir():
        if not module.params["uploaded"]:
            module.exit_json(**{**result, "changed": True, "missing": True})
        unpack(root, version, Path(module.params["uploaded"]))
        result.update(changed=True, forgotten=forget(root, module.params["keep"]))
    state = module.params["state"]
    if state != "laid_down" and result["current"] != version:
        result["changed"] = True
    if not module.check_mode:
        if state == "switched":
            rolling(root).touch()
        if state != "laid_down" and result["current"] != version:
            switch(root, version)
            result["current"] = version
        if state == "settled":
            rolling(root).unlink(missing_ok=True)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
