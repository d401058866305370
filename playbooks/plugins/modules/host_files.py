#!/usr/bin/python
"""All files, folders and links of a role in one call: on a small host the number of calls is what takes time."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_files
short_description: Files, folders and links with their content, owner and mode
description:
  - Files are replaced atomically; missing folders above them are made. C(changed_paths) names what was changed.
  - A file's C(apply) is remembered when it has ended well, so that a run that was interrupted is finished by the next.
  - In check mode an owner that does not exist yet counts as a change.
author: yiwang
options:
  files:
    description: Each has exactly one of C(content), C(link) and C(folder).
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: The file's text., type: str}
      link: {description: Where a symbolic link points., type: str}
      folder: {description: Make a folder., type: bool}
      holds: {description: Files that the folder may hold; others in it are removed., type: list, elements: str}
      owner: {description: User., type: str, default: root}
      group: {description: Group., type: str, default: root}
      mode: {description: Octal mode; 0644 for a file and 0755 for a folder., type: str}
      in_place:
        description: Write into the existing file, for one that is mounted and cannot be replaced.
        type: bool
        default: false
      validate: {description: Command that accepts the new content in C(%s)., type: str}
      apply: {description: Command that takes the content into use., type: str}
"""

FILE_OPTIONS = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "link": {"type": "str"},
    "folder": {"type": "bool"},
    "holds": {"type": "list", "elements": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
    "in_place": {"type": "bool", "default": False},
    "validate": {"type": "str"},
    "apply": {"type": "str"},
}
APPLIED = Path("/var/lib/yiwang/applied")


class Refused(Exception):
    """The new content cannot be taken into use; the message says why."""


def differences(entry: dict[str, Any]) -> list[str]:
    """What is not so on this host: `kind`, `content`, `surplus`, `owner`, `mode`, `target`, `applied`."""
    path = Path(entry["path"])
    if entry["link"] is not None:
        return [] if path.is_symlink() and str(path.readlink()) == entry["link"] else ["target"]
    if not path.exists():
        return ["kind"]
    if path.is_dir() is not bool(entry["folder"]):
        return ["kind"]
    differing = []
    if entry["content"] is not None and path.read_bytes() != entry["content"].encode():
        differing.append("content")
    if surplus(entry):
        differing.append("surplus")
    status = path.stat()
    if (status.st_uid, status.st_gid) != owner_of(entry):
        differing.append("owner")
    if stat.S_IMODE(status.st_mode) != mode_of(entry):
        differing.append("mode")
    if entry["apply"] and not (memory_of(entry).exists() and memory_of(entry).read_text() == applied_of(entry)):
        differing.append("applied")
    return differing


def surplus(entry: dict[str, Any]) -> list[Path]:
    """Files in a folder that it shall not hold."""
    if entry["holds"] is None or not Path(entry["path"]).is_dir():
        return []
    files = (path for path in sorted(Path(entry["path"]).iterdir()) if path.is_file())
    return [path for path in files if path.name not in entry["holds"]]


def memory_of(entry: dict[str, Any]) -> Path:
    return APPLIED / hashlib.sha256(entry["path"].encode()).hexdigest()[:16]


def applied_of(entry: dict[str, Any]) -> str:
    return hashlib.sha256(f"{entry['apply']}\0{entry['content']}".encode()).hexdigest()


def owner_of(entry: dict[str, Any]) -> tuple[int, int] | None:
    try:
        return pwd.getpwnam(entry["owner"]).pw_uid, grp.getgrnam(entry["group"]).gr_gid
    except KeyError:
        return None


def mode_of(entry: dict[str, Any]) -> int:
    return int(entry["mode"] or ("0755" if entry["folder"] else "0644"), 8)


def write(entry: dict[str, Any]) -> None:
    path = Path(entry["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry["folder"]:
        path.mkdir(exist_ok=True)
        for other in surplus(entry):
            other.unlink()
    elif entry["link"] is not None:
        _replace_link(path, entry["link"])
        return
    elif entry["in_place"] and path.exists():
        path.write_text(entry["content"])
    else:
        _replace_file(path, entry)
        return
    _settle(path, entry)


def _replace_link(path: Path, target: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.rename(path)


def _replace_file(path: Path, entry: dict[str, Any]) -> None:
    """Write beside, settle owner and mode, let the validation look, then rename: nobody sees half a file."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(number, "w") as file:
            file.write(entry["content"])
            file.flush()
            os.fsync(file.fileno())
        _settle(fresh, entry)
        if entry["validate"]:
            _validate(entry["validate"].replace("%s", name), path)
        fresh.rename(path)
    finally:
        fresh.unlink(missing_ok=True)


def _settle(path: Path, entry: dict[str, Any]) -> None:
    owner = owner_of(entry)
    if owner is None:
        raise Refused(f"{entry['path']}: no user {entry['owner']} or no group {entry['group']} on this host")
    os.chown(path, *owner)
    path.chmod(mode_of(entry))


def _validate(command: str, path: Path) -> None:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(f"{path}: refused by `{command}`:\n{(done.stderr + done.stdout).strip()}")


def apply(entry: dict[str, Any]) -> None:
    done = subprocess.run(entry["apply"].split(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(f"{entry['path']}: `{entry['apply']}` failed:\n{(done.stderr + done.stdout).strip()}")
    memory_of(entry).parent.mkdir(parents=True, exist_ok=True)
    memory_of(entry).write_text(applied_of(entry))


def diff_of(entry: dict[str, Any], differing: list[str]) -> dict[str, str]:
    path = Path(entry["path"])
    if "content" in differing or (entry["content"] is not None and not path.exists()):
        before = path.read_text(errors="replace") if path.is_file() else ""
        return {"before_header": str(path), "after_header": str(path), "before": before, "after": entry["content"]}
    return {"prepared": f"{path}: {', '.join(differing)}\n"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": FILE_OPTIONS,
                "required_one_of": [["content", "link", "folder"]],
                "mutually_exclusive": [["content", "link", "folder"]],
            }
        },
        supports_check_mode=True,
    )
    changed = []
    diffs = []
    for entry in module.params["files"]:
        differing = differences(entry)
        if not differing:
            continue
        changed.append(entry["path"])
        if module._diff:
            diffs.append(diff_of(entry, differing))
        if not module.check_mode:
            try:
                if differing != ["applied"]:
                    write(entry)
                if entry["apply"]:
                    apply(entry)
            except (OSError, Refused) as error:
                module.fail_json(msg=str(error), changed_paths=changed[:-1])
    module.exit_json(changed=bool(changed), changed_paths=changed, diff=diffs)


if __name__ == "__main__":
    main()
