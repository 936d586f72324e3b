"""Prints one JSON line to stderr per finished task, for `kubedos-node apply`."""

import json
import sys

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kubedos_json
type: stdout
short_description: one JSON line per task on stderr
description: One JSON line per task on stderr, read by kubedos-node.
"""

LIMIT = 400


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
        if not data.get("_ansible_no_log") and outcome in ("failed", "unreachable"):
            parts = [str(data.get(k) or "").strip() for k in ("msg", "stderr", "stdout")]
            detail = " | ".join(p[-LIMIT:] for p in parts if p)
        self._emit(name=result._task.get_name(), result=outcome, detail=detail[-2 * LIMIT :])

    def v2_runner_on_ok(self, result, **kwargs):
        self._step(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False, **kwargs):
        self._step(result, "ok" if ignore_errors else "failed")

    def v2_runner_on_skipped(self, result, **kwargs):
        self._step(result, "skipped")

    def v2_runner_on_unreachable(self, result, **kwargs):
        self._step(result, "unreachable")

    def v2_playbook_on_stats(self, stats):
        total = {"ok": 0, "changed": 0, "failures": 0}
        for host in stats.processed:
            summary = stats.summarize(host)
            for key in total:
                total[key] += summary.get(key, 0)
        self._emit(stats=total)
