"""Sends a release's archive to a host that does not have the version; one call and no transfer otherwise."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        archive = arguments.pop("archive", None)
        answer = self._execute_module("release_tree", module_args=arguments, task_vars=task_vars)
        if answer.get("failed") or not answer.get("missing") or self._task.check_mode:
            return dict(answer)
        if not archive:
            raise AnsibleActionFail(f"release {answer['version']} is not on this host, and no archive was given")
        folder = self._connection._shell.tmpdir or self._make_tmp_path()
        uploaded = self._connection._shell.join_path(folder, "release.tar.gz")
        self._transfer_file(archive, uploaded)
        self._fixup_perms2((folder, uploaded))
        arguments["uploaded"] = uploaded
        return dict(self._execute_module("release_tree", module_args=arguments, task_vars=task_vars))
