"""Three real members of etcd on addresses of the loopback network: forming, replacing one under a writer, restoring."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import pki

PROGRAM = os.path.join(os.path.dirname(__file__), "../../platform/ansible/roles/etcd/files/kubedos-etcd")
NAMES = ["e1", "e2", "e3"]
# Seconds that a step may take; only a failing test needs them.
LONG = 120


class Member:
    """A node: a root of its own, and etcd once it is started."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.root = os.path.join(cluster.dir, name)
        self.process = None

    def install(self):
        """What the play writes."""
        etc = self.root + "/etc/kubedos-etcd"
        os.makedirs(self.root + "/var/lib/etcd")
        sans = ["IP:127.0.0.1", "IP:" + self.cluster.addresses[self.name], "DNS:" + self.name]
        for leaf in ("peer", "server", "client"):
            pki.leaf(self.cluster.ca, etc + "/pki", leaf, sans)
        self.settings(NAMES)

    def settings(self, names, **more):
        members = [{"name": n, "address": self.cluster.addresses[n], "client_port": 2379, "peer_port": 2380} for n in names]
        conf = {"name": self.name, "token": "kubedos-test", "members": members, "also_listen": [], "heartbeat_ms": 100,
                "metrics_url": "http://%s:2381" % self.cluster.addresses[self.name], "election_ms": 1000, "quota_mib": 64,
                "snapshots": 2}
        conf.update(more)
        with open(self.root + "/etc/kubedos-etcd/settings.json", "w", encoding="utf-8") as file:
            json.dump(conf, file)

    def run(self, *argv):
        env = dict(os.environ, KUBEDOS_ETCD_ROOT=self.root)
        done = subprocess.run([sys.executable, PROGRAM, *argv], env=env, capture_output=True, text=True, timeout=LONG,
                              check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def start(self):
        with open(self.root + "/log", "ab") as log:
            self.process = subprocess.Popen(["etcd", "--config-file", self.root + "/etc/kubedos-etcd/etcd.json"],
                                            stdout=log, stderr=log)

    def kill(self, how=signal.SIGKILL):
        if self.process:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def until_ready(self):
        end = time.monotonic() + LONG
        while True:
            code, out = self.run("ready")
            if code == 0:
                return out
            if time.monotonic() > end:
                with open(self.root + "/log", encoding="utf-8") as log:
                    raise AssertionError("%s: %s\n%s" % (self.name, out, log.read()[-3000:]))
            time.sleep(0.2)

    def config(self):
        with open(self.root + "/etc/kubedos-etcd/etcd.json", encoding="utf-8") as file:
            return json.load(file)


class Cluster:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="kubedos-etcd-")
        net = "127.%d.%d" % (random.randint(64, 254), random.randint(1, 254))
        self.addresses = {name: "%s.%d" % (net, at + 11) for at, name in enumerate(NAMES)}
        self.ca = self.dir + "/ca"
        pki.authority(self.ca)
        self.members = {name: Member(self, name) for name in NAMES}
        for member in self.members.values():
            member.install()

    def form(self):
        """All at the same time, as a site starts."""
        codes = {}

        def prepare(member):
            codes[member.name] = member.run("prepare", "--timeout", "60")
            member.start()

        threads = [threading.Thread(target=prepare, args=[m]) for m in self.members.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for member in self.members.values():
            member.until_ready()
        return codes

    def ctl(self, names, *argv):
        pem = self.members[names[0]].root + "/etc/kubedos-etcd/pki"
        ends = ",".join("https://%s:2379" % self.addresses[n] for n in names)
        return subprocess.run(["etcdctl", "--endpoints", ends, "--cacert", pem + "/ca.pem", "--cert", pem + "/client.pem",
                               "--key", pem + "/client.key", "--command-timeout", "20s", *argv],
                              env=dict(os.environ, ETCDCTL_API="3"), capture_output=True, text=True, timeout=LONG, check=False)

    def listed(self):
        out = self.ctl(["e1"], "member", "list", "-w", "json")
        return {m.get("name", ""): m for m in json.loads(out.stdout)["members"]}

    def close(self):
        for member in self.members.values():
            member.kill()
        shutil.rmtree(self.dir)


# What a client is told while a leader is elected; it may ask again. Where a quorum is lost, no later write is acknowledged.
ELECTION = re.compile("previous leader failure|leader changed|no leader|request timed out")


class Writer(threading.Thread):
    """Writes a new key again and again to the members that a load balancer would choose; keeps what was acknowledged.
    As any client of etcd it writes a key again that met an election."""

    def __init__(self, cluster, names):
        super().__init__()
        self.cluster, self.names = cluster, names
        self.stop, self.acknowledged, self.errors = threading.Event(), [], []

    def run(self):
        while not self.stop.is_set():
            key = "k%06d" % len(self.acknowledged)
            done = self.cluster.ctl(self.names, "put", key, key)
            if done.returncode == 0:
                self.acknowledged.append(key)
            elif not ELECTION.search(done.stderr):
                self.errors.append(done.stderr)
            self.stop.wait(0.1)


class Etcd(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.close)

    def until(self, look, pattern):
        """Repeats until the words match: a leader has to be elected first."""
        end = time.monotonic() + LONG
        while not re.match(pattern, look()[1]):
            self.assertLess(time.monotonic(), end, look())
            time.sleep(0.2)

    def test_a_cluster_forms_and_a_second_run_changes_nothing(self):
        codes = self.cluster.form()
        self.assertEqual({code for code, _ in codes.values()}, {3}, codes)
        self.assertEqual(set(self.cluster.listed()), set(NAMES))
        for member in self.cluster.members.values():
            self.assertEqual(member.run("prepare"), (0, ""))
            self.assertEqual(member.run("prepare", "--check"), (0, ""))
        self.until(lambda: self.cluster.members["e1"].run("health"), r"^3 members, healthy, leader e[123]$")
        # Without a certificate nothing is answered.
        url = "https://%s:2379/health" % self.cluster.addresses["e1"]
        self.assertNotEqual(subprocess.run(["curl", "-sk", url], capture_output=True, check=False).returncode, 0)

    def test_other_settings_are_a_change_and_the_members_stay(self):
        self.cluster.form()
        member = self.cluster.members["e2"]
        before = member.config()
        member.settings(NAMES, heartbeat_ms=150)
        self.assertEqual(member.run("prepare", "--check")[0], 3)
        self.assertEqual(member.config(), before)
        self.assertEqual(member.run("prepare")[0], 3)
        self.assertEqual(member.config(), dict(before, **{"heartbeat-interval": 150}))

    def test_a_member_is_replaced_under_its_name_while_a_writer_writes(self):
        self.cluster.form()
        former = self.cluster.listed()["e3"]["ID"]
        writer = Writer(self.cluster, ["e1", "e2"])
        writer.start()
        member = self.cluster.members["e3"]
        member.kill()
        shutil.rmtree(member.root)
        self.until(lambda: self.cluster.members["e1"].run("health"), r"^3 members, 2 healthy, leader e[12]$")
        member.install()
        code, words = member.run("prepare", "--check")
        self.assertEqual((code, words.splitlines()[0]), (3, "would join the cluster of 3 members"))
        before = len(writer.acknowledged)
        code, words = member.run("prepare", "--timeout", "60")
        self.assertEqual(code, 3, words)
        self.assertIn("removing the former member e3", words)
        self.assertEqual(member.config()["initial-cluster-state"], "existing")
        member.start()
        member.until_ready()
        self.until(lambda: (0, str(len(writer.acknowledged) > before)), "True")
        writer.stop.set()
        writer.join()
        self.assertEqual(writer.errors, [])
        self.assertGreater(len(writer.acknowledged), 5)
        listed = self.cluster.listed()
        self.assertEqual(set(listed), set(NAMES))
        self.assertNotEqual(listed["e3"]["ID"], former)
        self.assertFalse(any(m.get("isLearner") for m in listed.values()))
        # The new member has everything: the two others may go.
        kept = self.cluster.ctl(["e3"], "get", "k", "--prefix", "--keys-only", "--consistency", "s").stdout.split()
        self.assertEqual(sorted(kept), writer.acknowledged)
        self.assertEqual(member.run("prepare"), (0, ""))

    def test_a_member_that_comes_later_takes_its_place(self):
        first, second, late = (self.cluster.members[name] for name in NAMES)
        for member in (first, second):
            code, words = member.run("prepare", "--timeout", "60")
            self.assertEqual(code, 3, words)
            member.start()
        for member in (first, second):
            member.until_ready()
        self.until(lambda: first.run("health"), r"^3 members, 2 healthy, leader e[12]$")
        code, words = late.run("prepare", "--timeout", "60")
        self.assertEqual(code, 3, words)
        self.assertNotRegex(words, "added|removing")
        late.start()
        late.until_ready()
        self.until(lambda: first.run("health"), r"^3 members, healthy, leader e[123]$")

    def test_an_interrupted_replacement_is_completed_by_the_next_run(self):
        self.cluster.form()
        member = self.cluster.members["e3"]
        member.kill()
        shutil.rmtree(member.root)
        member.install()
        self.assertEqual(member.run("prepare", "--timeout", "60")[0], 3)
        # It was added as a learner, and the node lost power before etcd started.
        shutil.rmtree(member.root)
        member.install()
        code, words = member.run("prepare", "--timeout", "60")
        self.assertEqual(code, 3, words)
        self.assertNotIn("added", words)
        member.start()
        member.until_ready()
        self.assertEqual(set(self.cluster.listed()), set(NAMES))

    def test_a_member_that_was_removed_while_it_was_away_joins_again(self):
        self.cluster.form()
        member = self.cluster.members["e3"]
        member.kill()
        code, words = self.cluster.members["e1"].run("remove", "e3")
        self.assertEqual(code, 0, words)
        code, words = member.run("prepare", "--timeout", "60")
        self.assertEqual(code, 3, words)
        self.assertIn("the cluster has removed this member", words)
        member.start()
        member.until_ready()
        self.assertEqual(set(self.cluster.listed()), set(NAMES))

    def test_no_second_cluster_forms_while_another_member_is_silent(self):
        # An address that no host has: neither refused nor answered.
        member = self.cluster.members["e1"]
        self.cluster.addresses["e2"] = "203.0.113.7"
        member.settings(NAMES)
        code, words = member.run("prepare", "--timeout", "1")
        self.assertEqual(code, 1)
        self.assertIn("whether a cluster exists cannot be seen: e2", words)
        self.assertFalse(os.path.exists(member.root + "/etc/kubedos-etcd/etcd.json"))

    def test_snapshots_are_kept_by_number_and_restored_on_every_member(self):
        self.cluster.form()
        first = self.cluster.members["e1"]
        for value in ("one", "two", "three"):
            self.assertEqual(self.cluster.ctl(["e1"], "put", "k", value).returncode, 0)
            code, words = first.run("snapshot")
            self.assertEqual(code, 0, words)
        folder = first.root + "/var/lib/etcd/snapshots"
        kept = sorted(os.listdir(folder))
        self.assertEqual(len(kept), 2, kept)
        self.assertEqual(self.cluster.ctl(["e1"], "put", "k", "four").returncode, 0)
        newest = os.path.join(self.cluster.dir, "newest.db")
        shutil.copy(os.path.join(folder, max(kept, key=lambda n: int(n[:-3].rpartition("-r")[2]))), newest)
        for member in self.cluster.members.values():
            member.kill(signal.SIGTERM)
        for member in self.cluster.members.values():
            code, words = member.run("restore", newest, "--no-start")
            self.assertEqual(code, 0, words)
            member.start()
        for member in self.cluster.members.values():
            member.until_ready()
            self.assertEqual(member.run("prepare"), (0, ""))
        self.assertEqual(self.cluster.ctl(["e2"], "get", "k", "--print-value-only").stdout.strip(), "three")
        with open(newest, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096)
        self.assertEqual(first.run("restore", newest, "--no-start")[0], 1)
        self.assertTrue(os.path.isdir(first.root + "/var/lib/etcd/kubedos/member"))

    def test_defragmentation_needs_every_member(self):
        self.cluster.form()
        self.assertIn("nothing to gain", self.cluster.members["e1"].run("defrag")[1])
        self.cluster.members["e2"].kill()
        self.assertEqual(self.cluster.members["e1"].run("defrag"), (0, "not now: a member is not healthy"))


if __name__ == "__main__":
    unittest.main()
