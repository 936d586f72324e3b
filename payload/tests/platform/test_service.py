"""The module kubedos_service, with a systemctl that remembers."""

import json
import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../platform/ansible/library"))
import kubedos_service as module  # noqa: E402  pylint: disable=wrong-import-position

SYSTEMCTL = """#!/bin/sh
echo "$@" >>"$FAKE/calls"
unit=; for word in "$@"; do unit=$word; done
case $1 in
show)
    shift 3
    blank=
    for unit in "$@"; do
        printf "$blank"
        blank='\\n'
        echo "LoadState=$(cat "$FAKE/$unit.load" 2>/dev/null || echo loaded)"
        echo "ActiveState=$(cat "$FAKE/$unit.active" 2>/dev/null || echo inactive)"
        echo "UnitFileState=$(cat "$FAKE/$unit.file" 2>/dev/null || echo disabled)"
        echo "NeedDaemonReload=no"
    done ;;
start) [ ! -e "$FAKE/$unit.broken" ] || { echo "it is broken"; exit 1; }; echo active >"$FAKE/$unit.active" ;;
stop) echo inactive >"$FAKE/$unit.active" ;;
enable) echo enabled >"$FAKE/$unit.file" ;;
disable) echo disabled >"$FAKE/$unit.file" ;;
mask) echo masked >"$FAKE/$unit.file" ;;
restart | reload) [ ! -e "$FAKE/power-cut" ] || exit 1 ;;
esac
"""


class Module(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="kubedos-service-")
        self.addCleanup(shutil.rmtree, self.dir)
        for name in ("bin", "fake", "units", "etc"):
            os.mkdir(os.path.join(self.dir, name))
        self.write("bin/systemctl", SYSTEMCTL, 0o755)
        self.write("bin/journalctl", "#!/bin/sh\necho the last words of $2\n", 0o755)
        before = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(before)))
        os.environ.update(PATH="%s/bin:%s" % (self.dir, os.environ["PATH"]), FAKE=self.dir + "/fake")
        self.addCleanup(setattr, module, "STATE", module.STATE)
        self.addCleanup(setattr, module, "UNITS", module.UNITS)
        self.addCleanup(setattr, module, "QUADLETS", module.QUADLETS)
        module.STATE, module.UNITS, module.QUADLETS = self.path("state"), self.path("units"), self.path("quadlets")

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), mode)

    def text(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def tree(self):
        return {os.path.relpath(os.path.join(f, n), self.dir): self.text(os.path.join(f, n))
                for f, _, names in os.walk(self.dir) for n in names if not f.endswith("/fake")}

    def calls(self):
        """What was asked of systemctl since the last time, without questions."""
        try:
            lines = self.text("fake/calls").splitlines()
            os.unlink(self.path("fake/calls"))
        except FileNotFoundError:
            lines = []
        return [line for line in lines if not line.startswith("show")]

    def go(self, check=False, **params):
        service = module.Service(params, check)
        service.go()
        return service

    def service(self, text="a", **more):
        unit = {"restart_on": [self.path("etc/restart")], "reload_on": [self.path("etc/reload")]}
        files = [{"path": self.path("etc/restart"), "content": text},
                 {"path": self.path("etc/reload"), "content": more.pop("reload", "a")}]
        return dict({"files": files, "units": {"x.service": unit}}, **more)

    def test_the_first_run_writes_enables_and_starts_and_the_second_does_nothing(self):
        self.go(**self.service())
        self.assertEqual(self.calls(), ["enable --no-reload x.service", "start x.service"])
        self.assertEqual(self.text("etc/restart"), "a\n")
        before = self.tree()
        service = self.go(**self.service())
        self.assertEqual((service.done, service.diff, self.calls(), self.tree()), ([], [], [], before))

    def test_a_unit_is_restarted_or_reloaded_for_its_own_files_only(self):
        self.go(**self.service())
        self.calls()
        self.go(**self.service(reload="b"))
        self.assertEqual(self.calls(), ["reload x.service"])
        self.go(**self.service("b", reload="b"))
        self.assertEqual(self.calls(), ["restart x.service"])
        other = self.service("b", reload="b")
        other["files"].append({"path": self.path("etc/other"), "content": "new"})
        self.go(**other)
        self.assertEqual(self.calls(), [])

    def test_a_run_that_ended_before_the_restart_is_completed_by_the_next_one(self):
        self.go(**self.service())
        self.write("fake/power-cut", "")
        with self.assertRaises(module.Failed):
            self.go(**self.service("b"))
        os.unlink(self.path("fake/power-cut"))
        self.calls()
        service = self.go(**self.service("b"))
        self.assertEqual((self.calls(), service.done), (["restart x.service"], ["restarted x.service"]))
        self.go(**self.service("b"))
        self.assertEqual(self.calls(), [])

    def test_check_mode_changes_nothing_and_says_what_would(self):
        before = self.tree()
        marker = self.path("etc/ran")
        params = self.service(run=[{"argv": ["touch", marker], "when_changed": [self.path("etc/restart")]}],
                              persistent=["x.service"], directories=[{"path": self.path("etc/new")}])
        service = self.go(check=True, **params)
        self.assertEqual((self.calls(), self.tree()), ([], before))
        said = "\n".join(service.done)
        for word in ("made " + self.path("etc/new"), "wrote " + self.path("etc/restart"), "would run touch", "started x.service"):
            self.assertIn(word, said)
        self.assertIn("+a\n", "".join(service.diff))
        self.go(**params)
        self.assertTrue(os.path.exists(marker))
        self.assertEqual(self.go(check=True, **params).done, [])
        self.calls()
        service = self.go(check=True, **self.service("b"))
        self.assertEqual(service.done, ["changed " + self.path("etc/restart"), "restarted x.service"])
        self.assertEqual(self.calls(), [])

    def test_a_command_runs_when_its_files_changed_or_what_it_creates_is_missing(self):
        log = self.path("etc/log")
        made = self.path("etc/made")
        runs = [{"argv": ["sh", "-c", "echo changed >>" + log], "when_changed": [self.path("etc/restart")]},
                {"argv": ["sh", "-c", "echo created >>%s; touch %s" % (log, made)], "creates": made},
                {"argv": ["sh", "-c", "echo unless >>" + log], "unless": ["grep", "-q", "unless", log]}]
        self.go(**self.service(run=runs))
        self.go(**self.service(run=runs))
        self.assertEqual(self.text("etc/log"), "changed\ncreated\nunless\n")
        self.go(**self.service("b", run=runs))
        self.assertEqual(self.text("etc/log").splitlines()[3:], ["changed"])

    def test_two_plays_that_run_the_same_command_do_not_disturb_each_other(self):
        argv = ["sh", "-c", "echo >>" + self.path("etc/log")]
        plays = [{"files": [{"path": self.path(p), "content": p}], "run": [{"argv": argv, "when_changed": [self.path(p)]}]}
                 for p in ("etc/one", "etc/two")]
        for _ in range(3):
            for play in plays:
                self.go(**play)
        self.assertEqual(self.text("etc/log"), "\n\n")

    def test_a_command_says_by_its_exit_code_whether_it_changed_something(self):
        for code, done in ((0, 0), (3, 1)):
            self.assertEqual(len(self.go(run=[{"argv": ["sh", "-c", "exit %d" % code]}]).done), done)
            asked = [{"argv": ["false"], "check": ["sh", "-c", "exit %d" % code]}]
            self.assertEqual(len(self.go(check=True, run=asked).done), done)
        program = {"path": self.path("etc/tool"), "content": "#!/bin/sh\n", "mode": "0755"}
        argv = [program["path"], "prepare"]
        service = self.go(check=True, files=[program], run=[{"argv": argv, "check": argv + ["--check"]}])
        self.assertEqual(service.done[1:], ["would run " + " ".join(argv)])
        with self.assertRaisesRegex(module.Failed, "ended with 7: why"):
            self.go(run=[{"argv": ["sh", "-c", "echo why; exit 7"]}])

    def test_a_file_that_its_program_refuses_is_not_written_and_the_old_one_stays(self):
        entry = {"path": self.path("etc/conf"), "content": "good", "validate": ["grep", "-q", "good", "%s"]}
        self.go(files=[entry])
        with self.assertRaisesRegex(module.Failed, "was not written, grep refuses it"):
            self.go(files=[dict(entry, content="bad")])
        self.assertEqual(self.text("etc/conf"), "good\n")

    def test_modes_are_set_and_secrets_are_not_shown(self):
        self.write("etc/key", "secret")
        entry = {"path": self.path("etc/copy"), "src": self.path("etc/key"), "mode": "0600"}
        service = self.go(files=[entry])
        self.assertEqual((os.stat(self.path("etc/copy")).st_mode & 0o777, service.diff), (0o600, []))
        os.chmod(self.path("etc/copy"), 0o644)
        self.assertEqual(self.go(files=[entry]).done, ["set owner or mode of " + self.path("etc/copy")])
        with self.assertRaisesRegex(module.Failed, "is missing"):
            self.go(files=[dict(entry, src=self.path("etc/none"))])
        joined = {"path": self.path("etc/both"), "join": [self.path("etc/key"), self.path("etc/key")]}
        self.go(files=[joined])
        self.assertEqual(self.text("etc/both"), "secret\nsecret\n")

    def test_quadlets_follow_the_list(self):
        web = {"web.container": "[Container]\n", "data.volume": "[Volume]\n"}
        self.go(quadlets=web)
        self.assertEqual(self.calls(), ["daemon-reload", "start web.service"])
        self.assertEqual(self.go(quadlets=web).done, [])
        self.go(quadlets={"web.container": "[Container]\nImage=x\n"})
        self.assertEqual(self.calls(), ["stop data-volume.service", "daemon-reload", "restart web.service"])
        self.go(quadlets={})
        self.assertEqual(self.calls(), ["stop web.service"])
        self.assertEqual(os.listdir(self.path("quadlets")), [])
        with self.assertRaisesRegex(module.Failed, "not the name of a quadlet"):
            self.go(quadlets={"web.service": ""})

    def test_units_are_stopped_and_masked_once(self):
        self.write("fake/x.service.active", "active")
        self.write("fake/x.service.file", "enabled")
        self.go(units={"x.service": "stopped", "y.socket": "masked"})
        self.assertEqual(self.calls(), ["stop x.service", "disable --no-reload x.service", "mask y.socket"])
        self.assertEqual(self.go(units={"x.service": "stopped", "y.socket": "masked"}).done, [])

    def test_a_service_that_does_not_answer_fails_with_its_last_words(self):
        with self.assertRaisesRegex(module.Failed, "(?s)not ready after 0 s: no quorum.*the last words of x.service"):
            self.go(ready={"argv": ["sh", "-c", "echo no quorum; exit 1"], "timeout": 0.1, "pause": 0.01, "unit": "x.service"})
        counter = self.path("etc/n")
        third = "echo >>%s; [ $(wc -l <%s) = 3 ]" % (counter, counter)
        self.go(ready={"argv": ["sh", "-c", third], "timeout": 30, "pause": 0.01})
        self.assertEqual(self.text("etc/n"), "\n\n\n")
        self.write("fake/x.service.broken", "")
        with self.assertRaisesRegex(module.Failed, "(?s)it is broken.*the last words"):
            self.go(units={"x.service": "started"})

    def test_rendering_writes_below_a_folder_and_does_nothing_else(self):
        params = self.service(run=[{"argv": ["false"]}], ready={"argv": ["false"]})
        module.Service(params, False, self.path("out")).go()
        self.assertEqual(self.text("out" + self.path("etc/restart")), "a\n")
        self.assertFalse(os.path.exists(self.path("etc/restart")))
        self.assertEqual(self.calls(), [])

    def test_json_is_sorted(self):
        self.go(files=[{"path": self.path("etc/j"), "json": {"b": 1, "a": [True]}}])
        self.assertEqual(json.loads(self.text("etc/j")), {"a": [True], "b": 1})
        self.assertLess(self.text("etc/j").index('"a"'), self.text("etc/j").index('"b"'))


if __name__ == "__main__":
    unittest.main()
