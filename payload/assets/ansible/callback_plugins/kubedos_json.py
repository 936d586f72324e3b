"""Prints one JSON line to stderr per play and task that begins and per task that ends, for `kubedos-node converge`."""

import json
import sys

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kubedos_json
type: stdout
short_description: JSON lines about plays and tasks on stderr
description: JSON lines about plays and tasks on stderr, read by kubedos-node.
"""

# Characters of each part of a failed task's words, and of all of them.
PART = 1000
LIMIT = 2000


def words(data):
    """What a failed task says: its message and the ends of its output; of a loop, those of the first item that failed."""
    for item in data.get("results") or []:
        if isinstance(item, dict) and item.get("failed"):
            data = item
            break
    parts = [str(data.get(key) or "").strip() for key in ("msg", "stderr", "stdout")]
    return " | ".join(part[-PART:] for part in parts if part)[-LIMIT:]


def name_of(task):
    """Without the name of its role, which Ansible puts in front."""
    return str(task.name or task.action)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "kubedos_json"

    def _emit(self, **record):
        sys.stderr.write("KUBEDOS " + json.dumps(record) + "\n")
        sys.stderr.flush()

    def _step(self, result, outcome):
        data = result._result
        detail = ""
        if outcome in ("failed", "unreachable"):
            hidden = data.get("_ansible_no_log") or getattr(result._task, "no_log", False)
            detail = "the task failed; its output is hidden (no_log)" if hidden else words(data)
        self._emit(name=name_of(result._task), result=outcome, detail=detail)

    def v2_playbook_on_play_start(self, play):
        # kubedos-node's own playbook names the play; an imported playbook has plays with names of their own.
        self._emit(play=str((play.vars or {}).get("kubedos_play") or play.get_name()))

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._emit(task=name_of(task))

    def v2_playbook_on_handler_task_start(self, task):
        self._emit(task=name_of(task))

    def v2_runner_on_ok(self, result, **kwargs):
        self._step(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False, **kwargs):
        self._step(result, "ok" if ignore_errors else "failed")

    def v2_runner_on_skipped(self, result, **kwargs):
        self._step(result, "skipped")

    def v2_runner_on_unreachable(self, result, **kwargs):
        self._step(result, "unreachable")
