"""Ansible module: everything that one service of a node needs, as one task.

Each task of Ansible costs seconds on a slow machine, so a play of the platform is one task. What was applied to a unit is
recorded by digest: a run that was interrupted after a file was written and before the unit was restarted is completed by the
next one, and a unit is never restarted for something that it has already read.
"""

import difflib
import grp
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time

DOCUMENTATION = """
module: kubedos_service
short_description: files, directories, commands and units of one service
description:
  - Order - purged folders and absent files, directories, files, commands, units, ready.
  - With KUBEDOS_SERVICE_RENDER=DIR in the environment, files are written below DIR and nothing else happens.
options:
  directories:
    description: list of {path, mode, owner, group}
    type: list
    elements: dict
    default: []
  files:
    description: >-
      list of {path, mode, owner, group, validate} with one of content (text), json (value), src (file of this node) and
      join (files of this node, one after the other); validate is an argument list in which %s is the new file
    type: list
    elements: dict
    default: []
  absent:
    description: files that must not exist
    type: list
    elements: str
    default: []
  purge:
    description: folders that have no file but those of this task
    type: list
    elements: str
    default: []
  quadlets:
    description: file name to text of quadlets; the folder has no others, and their units follow the files
    type: dict
  persistent:
    description: units that are started again for ever, since the planes may come up after them
    type: list
    elements: str
    default: []
  run:
    description: >-
      list of {argv, when_changed, creates, unless, check, timeout}; exit code 3 means done and changed, 0 nothing to do unless
      when_changed is given; check is the argument list for check mode
    type: list
    elements: dict
    default: []
  units:
    description: >-
      unit to started, stopped, masked or {state, restart_on, reload_on, block, enabled}; a path of restart_on and reload_on is a
      file, or a folder
    type: dict
    default: {}
  ready:
    description: "{argv, timeout, unit}: argv is repeated until it ends with 0"
    type: dict
"""

STATE = "/var/lib/kubedos-service"
UNITS = "/etc/systemd/system"
QUADLETS = "/etc/containers/systemd/kubedos"
RENDER = "KUBEDOS_SERVICE_RENDER"
# Exit code of a command that made a change.
CHANGED = 3
COMMAND_SECONDS = 300
# Characters of a command's output in a message.
TAIL = 1200
PERSISTENT = """# The planes may come up after the unit.
[Unit]
StartLimitIntervalSec=0
[Service]
Restart=always
RestartSec=2
"""
# systemctl(1): enabling a unit matters at the next boot only, so systemd need not read every unit again, nor ask update-rc.d
# about a script of the same name.
NO_RELOAD = "--no-reload"
QUICK = {"SYSTEMCTL_SKIP_SYSV": "1"}
# What the generator of quadlets calls the unit of a file.
SUFFIXES = {
    "container": "", "kube": "", "pod": "-pod", "network": "-network", "volume": "-volume", "image": "-image", "build": "-build",
}


class Failed(Exception):
    """The words for `msg`."""


def tail(text, limit=TAIL):
    text = text.strip()
    return text if len(text) <= limit else "…" + text[-limit:]


def call(argv, timeout=COMMAND_SECONDS):
    """Exit code and output, both streams in one."""
    try:
        done = subprocess.run([str(a) for a in argv], env=dict(os.environ, **QUICK), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout, check=False)
    except FileNotFoundError:
        return 127, "%s: no such program" % argv[0]
    except subprocess.TimeoutExpired as expired:
        return 124, tail((expired.output or b"").decode("utf-8", "replace")) + "\nno end after %d s" % timeout
    return done.returncode, done.stdout.decode("utf-8", "replace")


def read(path):
    """The bytes of a file; None if it does not exist."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def mode_of(value, default):
    return int(str(value), 8) if value is not None else default


def names_of(item):
    """User and group id of an entry."""
    try:
        return pwd.getpwnam(item.get("owner") or "root").pw_uid, grp.getgrnam(item.get("group") or "root").gr_gid
    except KeyError as missing:
        raise Failed("%s: %s" % (item["path"], missing)) from missing


def write(path, data, mode, owner):
    """Writes to a temporary name, then renames: a reader sees the old file or the new one."""
    folder = os.path.dirname(path)
    handle, name = tempfile.mkstemp(prefix=".kubedos-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fsync(file.fileno())
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise
    sync(folder)


def sync(folder):
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unit_of_quadlet(name):
    stem, _, kind = name.rpartition(".")
    if not stem or kind not in SUFFIXES:
        raise Failed("%s is not the name of a quadlet file: NAME.%s" % (name, ", NAME.".join(sorted(SUFFIXES))))
    return stem + SUFFIXES[kind] + ".service"


class Service:
    """One run of the module."""

    def __init__(self, params, check=False, render=None):
        self.params = params
        self.check = check
        self.render = render
        self.done = []
        self.diff = []
        self.files = {}
        # Paths that this run changed, or would change.
        self.touched = set()

    # What has to be there.

    def list(self, key):
        return self.params.get(key) or []

    def place(self, path):
        return self.render + path if self.render else path

    def wanted(self):
        """Every file: path to (bytes, entry)."""
        for item in self.list("files"):
            self.add(item, self.content(item))
        for unit in self.list("persistent"):
            self.add({"path": "%s/%s.d/10-kubedos.conf" % (UNITS, unit)}, PERSISTENT.encode())
        for name, text in (self.params.get("quadlets") or {}).items():
            unit_of_quadlet(name)
            if "/" in name:
                raise Failed("%s is not the name of a file" % name)
            self.add({"path": "%s/%s" % (QUADLETS, name)}, str(text).encode())

    def add(self, item, data):
        if data is not None:
            self.files[item["path"]] = (data, item)

    def source(self, path, optional):
        data = read(self.place(path)) if self.render else None
        data = read(path) if data is None else data
        if data is None and not optional and not self.check:
            raise Failed("%s is missing" % path)
        return data

    def content(self, item):
        if "json" in item:
            return (json.dumps(item["json"], indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
        if "src" in item or "join" in item:
            parts = [self.source(p, item.get("optional")) for p in item.get("join") or [item["src"]]]
            if None in parts:
                return None
            return b"".join(p if p.endswith(b"\n") else p + b"\n" for p in parts)
        text = str(item["content"])
        return (text if text.endswith("\n") or not text else text + "\n").encode()

    def note(self, what, path=None):
        self.done.append(what)
        if path:
            self.touched.add(path)

    # Files.

    def directories(self):
        folders = [dict(d) for d in self.list("directories")]
        listed = {d["path"] for d in folders}
        for path in self.files:
            parent = os.path.dirname(path)
            if parent not in listed and not os.path.isdir(self.place(parent)):
                folders.append({"path": parent})
                listed.add(parent)
        for item in folders:
            self.directory(item)

    def directory(self, item):
        path, mode = self.place(item["path"]), mode_of(item.get("mode"), 0o755)
        missing = not os.path.isdir(path)
        if self.render:
            os.makedirs(path, exist_ok=True)
            return
        owner = self.owner(item)
        if not missing and not self.differs(path, mode, owner):
            return
        self.note(("made " if missing else "set owner or mode of ") + path, path)
        if self.check:
            return
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        os.chown(path, *owner)

    def owner(self, item):
        try:
            return names_of(item)
        except Failed:
            # Its package is not installed yet.
            if self.check:
                return None
            raise

    @staticmethod
    def differs(path, mode, owner):
        held = os.stat(path)
        return (held.st_mode & 0o7777) != mode or (owner is not None and (held.st_uid, held.st_gid) != owner)

    def remove(self, path):
        if not os.path.lexists(path):
            return
        self.note("removed " + path, path)
        if not self.check:
            os.unlink(path)
            sync(os.path.dirname(path))

    def stale(self):
        """Files of purged folders that this task does not have."""
        folders = list(self.list("purge"))
        if self.params.get("quadlets") is not None:
            folders.append(QUADLETS)
        for folder in folders:
            names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
            for path in (folder + "/" + name for name in names):
                if path not in self.files and os.path.isfile(path):
                    yield path

    def clean(self):
        for path in list(self.stale()):
            if os.path.dirname(path) == QUADLETS and not self.check:
                call(["systemctl", "stop", unit_of_quadlet(os.path.basename(path))])
            self.remove(path)
        for path in self.list("absent"):
            self.remove(path)

    def write_all(self):
        for path, (data, item) in self.files.items():
            self.file(path, data, item)

    def file(self, path, data, item):
        place, mode = self.place(path), mode_of(item.get("mode"), 0o644)
        if self.render:
            return write(place, data, mode, None)
        owner, held = self.owner(item), read(place)
        if held == data and not os.path.islink(place):
            if self.differs(place, mode, owner):
                self.note("set owner or mode of " + path, path)
                if not self.check:
                    os.chmod(place, mode)
                    os.chown(place, *owner)
            return None
        self.note(("changed " if held is not None else "wrote ") + path, path)
        self.show(path, held, data, "src" in item or "join" in item or mode & 0o077 == 0)
        if not self.check:
            self.validate(path, data, item)
            write(place, data, mode, owner)
        return None

    def show(self, path, held, data, secret):
        if secret:
            return
        lines = [(text or b"").decode("utf-8", "replace").splitlines(keepends=True) for text in (held, data)]
        self.diff.append("".join(difflib.unified_diff(lines[0], lines[1], path, path, n=1)))

    @staticmethod
    def validate(path, data, item):
        if not item.get("validate"):
            return
        folder = tempfile.mkdtemp(prefix="kubedos-")
        try:
            name = os.path.join(folder, os.path.basename(path))
            with open(name, "wb") as file:
                file.write(data)
            code, out = call([a.replace("%s", name) for a in item["validate"]])
        finally:
            shutil.rmtree(folder)
        if code:
            raise Failed("%s was not written, %s refuses it: %s" % (path, item["validate"][0], tail(out)))

    # Records of what was applied.

    def digest(self, paths):
        found = hashlib.sha256()
        for path in sorted(paths):
            for name in self.below(path):
                data = self.files[name][0] if name in self.files else read(name)
                found.update(b"%d:%s:%d:" % (len(name), name.encode(), -1 if data is None else len(data)))
                found.update(data or b"")
        return found.hexdigest()

    def below(self, path):
        """The file, or the files of a folder, as they are after the run."""
        held = {path + "/" + n for n in os.listdir(path)} if os.path.isdir(path) else set()
        held = {n for n in held if os.path.isfile(n)} - {p for p in self.touched if p not in self.files}
        return sorted(held | {n for n in self.files if n == path or n.startswith(path + "/")}) or [path]

    @staticmethod
    def record_path(key):
        readable = "".join(c if c.isalnum() or c in ".-@" else "_" for c in key)[:80]
        return "%s/%s-%s" % (STATE, readable, hashlib.sha256(key.encode()).hexdigest()[:12])

    def recorded(self, key):
        data = read(self.record_path(key))
        return data.decode() if data is not None else None

    def record(self, key, value):
        if self.check or self.recorded(key) == value:
            return
        os.makedirs(STATE, mode=0o700, exist_ok=True)
        write(self.record_path(key), value.encode(), 0o600, None)

    # Commands.

    def commands(self):
        for item in self.list("run"):
            self.command(item)

    def command(self, item):
        argv, watched = [str(a) for a in item["argv"]], item.get("when_changed")
        # Two plays may run the same command, each for its own files.
        key, now = "run " + " ".join(argv + ["for"] + (watched or [])), self.digest(watched) if watched else ""
        if watched and self.recorded(key) == now:
            return
        if item.get("creates") and os.path.lexists(item["creates"]):
            return
        if item.get("unless") and call(item["unless"])[0] == 0:
            return
        always = not (watched or item.get("creates") or item.get("unless"))
        if self.check:
            # A program that this task brings cannot be asked yet.
            if not always or argv[0] in self.touched:
                self.note("would run " + " ".join(argv))
            elif item.get("check"):
                self.ended(item["check"], *call(item["check"]), always=True)
            return
        self.ended(argv, *call(argv, item.get("timeout") or COMMAND_SECONDS), always=always)
        if watched:
            self.record(key, now)

    def ended(self, argv, code, out, always):
        if code == CHANGED or (code == 0 and not always):
            self.note("%s: %s" % (" ".join(argv), tail(out, 300)) if out.strip() else " ".join(argv))
        elif code:
            raise Failed("%s ended with %d: %s" % (" ".join(argv), code, tail(out)))

    # Units.

    def want_units(self):
        wanted = {name: self.unit_item(value) for name, value in (self.params.get("units") or {}).items()}
        for name in self.params.get("quadlets") or {}:
            unit = unit_of_quadlet(name)
            # The generator enables them; a volume or network is made by the unit that needs it.
            if name.rpartition(".")[2] in ("container", "kube", "pod"):
                wanted[unit] = {"state": "started", "restart_on": [QUADLETS + "/" + name], "enabled": None}
        for name, item in wanted.items():
            item["drop_ins"] = [p for p in self.files if p.startswith("%s/%s" % (UNITS, name))]
        return wanted

    @staticmethod
    def unit_item(value):
        item = dict(value) if isinstance(value, dict) else {"state": value}
        if item.get("state", "started") not in ("started", "stopped", "masked"):
            raise Failed("unknown state of a unit: %s" % item["state"])
        item.setdefault("state", "started")
        item.setdefault("enabled", item["state"] == "started")
        return item

    @staticmethod
    def facts(units):
        """ActiveState, UnitFileState and so on of each unit. systemctl shows them in the order asked, a blank line between two."""
        units = list(units)
        code, out = call(["systemctl", "show", "-p", "LoadState,ActiveState,UnitFileState,NeedDaemonReload"] + units)
        shown = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in out.strip().split("\n\n")]
        if code or len(shown) != len(units):
            raise Failed("systemctl show %s: %s" % (" ".join(units), tail(out)))
        return dict(zip(units, shown))

    def units(self):
        wanted = self.want_units()
        if not wanted:
            return
        facts = self.facts(wanted)
        of_systemd = any(p.startswith((UNITS + "/", QUADLETS)) for p in self.touched)
        if of_systemd or any(f.get("NeedDaemonReload") == "yes" for f in facts.values()):
            self.systemctl("daemon-reload")
            facts = facts if self.check else self.facts(wanted)
        for unit in sorted(wanted, key=lambda u: wanted[u]["state"] == "started"):
            self.unit(unit, wanted[unit], facts[unit])

    def systemctl(self, *words):
        if self.check:
            return
        code, out = call(["systemctl"] + list(words))
        if code:
            raise Failed("systemctl %s: %s%s" % (" ".join(words), tail(out), journal(words[-1] if len(words) > 1 else None)))

    def unit(self, unit, item, fact):
        file_state, active = fact.get("UnitFileState", ""), fact.get("ActiveState") in ("active", "reloading", "activating")
        if item["state"] == "masked" or item["state"] == "stopped":
            if fact.get("LoadState") == "not-found":
                return
            masked = item["state"] == "masked"
            if active:
                self.act("stopped " + unit, "stop", unit)
            if masked and file_state != "masked":
                self.act("masked " + unit, "mask", unit)
            elif not masked and file_state == "enabled":
                self.act("disabled " + unit, "disable", NO_RELOAD, unit)
            return
        if file_state == "masked":
            self.act("unmasked " + unit, "unmask", unit)
        if item["enabled"] and file_state not in ("enabled", "static", "generated", "alias"):
            self.act("enabled " + unit, "enable", NO_RELOAD, unit)
        self.start(unit, item, active)

    def act(self, what, *words):
        self.note(what)
        self.systemctl(*words)

    def start(self, unit, item, active):
        block = [] if item.get("block", True) else ["--no-block"]
        restart = self.digest(list(item.get("restart_on") or []) + item["drop_ins"])
        load = self.digest(item.get("reload_on") or [])
        was_restart, _, was_load = (self.recorded(unit) or "").partition(" ")
        touched = self.touched_of(list(item.get("restart_on") or []) + item["drop_ins"])
        touched_load = self.touched_of(item.get("reload_on") or [])
        if not active:
            self.act("started " + unit, "start", *block, unit)
        elif was_restart != restart if was_restart else touched:
            self.act("restarted " + unit, "restart", *block, unit)
        elif was_load != load if was_load else touched_load:
            self.act("reloaded " + unit, "reload", unit)
        self.record(unit, restart + " " + load)

    def touched_of(self, paths):
        return any(t == p or t.startswith(p + "/") for p in paths for t in self.touched)

    # Ready.

    def ready(self):
        item = self.params.get("ready")
        if not item or self.check:
            return
        limit = float(item.get("timeout") or 60)
        end = time.monotonic() + limit
        while True:
            code, out = call(item["argv"], 60)
            if code == 0:
                return
            if time.monotonic() >= end:
                raise Failed("not ready after %d s: %s%s" % (limit, tail(out, 600), journal(item.get("unit"))))
            time.sleep(float(item.get("pause") or 2))

    def go(self):
        self.wanted()
        if self.render:
            self.directories()
            self.write_all()
            return
        self.clean()
        self.directories()
        self.write_all()
        self.commands()
        self.units()
        self.ready()


def journal(unit):
    if not unit:
        return ""
    code, out = call(["journalctl", "-u", unit, "-n", "12", "-o", "cat", "--no-pager"], 20)
    return "" if code or not out.strip() else "\njournal of %s: %s" % (unit, tail(out, 900))


def main():
    from ansible.module_utils.basic import AnsibleModule  # pylint: disable=import-outside-toplevel

    lists = {"directories": "dict", "files": "dict", "run": "dict", "absent": "str", "purge": "str", "persistent": "str"}
    spec = {name: {"type": "list", "elements": kind, "default": []} for name, kind in lists.items()}
    spec.update(units={"type": "dict", "default": {}}, quadlets={"type": "dict"}, ready={"type": "dict"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    service = Service(module.params, module.check_mode, os.environ.get(RENDER))
    answer = {"done": service.done, "diff": {"prepared": ""}}
    try:
        service.go()
    except Failed as failed:
        answer["diff"]["prepared"] = "\n".join(service.diff)
        module.fail_json(msg=str(failed), changed=bool(service.done), **answer)
    except OSError as error:
        module.fail_json(msg=str(error), changed=bool(service.done), **answer)
    answer["diff"]["prepared"] = "\n".join(service.diff)
    module.exit_json(changed=bool(service.done), **answer)


if __name__ == "__main__":
    main()
