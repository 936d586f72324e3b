"""The virtual address: decisions, and a failover between three network namespaces with WireGuard, HAProxy and keepalived."""

import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import fixture

FILES = fixture.ANSIBLE + "/roles/vip/files"
loader = importlib.machinery.SourceFileLoader("kubedos_vip", FILES + "/kubedos-vip")
vip = importlib.util.module_from_spec(importlib.util.spec_from_loader("kubedos_vip", loader))
loader.exec_module(vip)

VIP = "10.80.255.1"
CONFIG = {
    "plane": "wg3", "cidr": "10.80.0.0/16", "allowed": [], "announce": [],
    "own": {"control": "10.78.0.2", "backend": "10.80.0.2"},
    "speakers": [{"control": "10.78.0.5", "backend": "10.80.0.5"}, {"control": "10.78.0.6", "backend": "10.80.0.6"}],
    "members": [{"control": "10.78.0.%d" % n, "backend": "10.80.0.%d" % n} for n in range(2, 7)],
}


class FakeWg:
    """AllowedIPs as the kernel keeps them: an address belongs to one peer."""

    def __init__(self):
        self.peers = {"key%d" % n: ["10.80.0.%d/32" % n] for n in range(3, 7)}

    def __call__(self, *argv):
        if argv[:2] == ("wg", "show"):
            return "".join("%s\t%s\n" % (k, " ".join(ips) or "(none)") for k, ips in self.peers.items())
        key, ips = argv[4], argv[6].split(",")
        for others in self.peers.values():
            others[:] = [i for i in others if i not in ips]
        self.peers[key] = ips
        return ""


class Decisions(unittest.TestCase):
    def setUp(self):
        self.wg, self.saved, self.said = FakeWg(), [], []
        self.watch = self.make(CONFIG)

    def make(self, config):
        keep = lambda holders, plane: self.saved.append({a: h for a, (h, _) in holders.items()})  # noqa: E731
        return vip.Watch(config, vip.Plane("wg3", self.wg), keep, self.said.append)

    def held(self, sender, now, address=VIP, claim="held", local=()):
        return self.watch.heard("kubedos-vip 1 %s %s\n" % (address, claim), sender, now, local)

    def owner(self):
        return [k for k, ips in self.wg.peers.items() if VIP + "/32" in ips]

    def test_the_address_moves_to_who_says_that_it_holds_it(self):
        self.assertTrue(self.held("10.78.0.5", 0))
        self.assertEqual((self.owner(), self.saved), (["key5"], [{VIP: "10.80.0.5"}]))
        self.assertIn("10.80.0.5/32", self.wg.peers["key5"])
        self.held("10.78.0.5", 1)
        self.assertEqual(len(self.saved), 1)
        # The holder died; the other one took over.
        self.assertTrue(self.held("10.78.0.6", 1 + vip.HOLD + 0.01))
        self.assertEqual((self.owner(), self.saved[-1]), (["key6"], {VIP: "10.80.0.6"}))
        self.assertEqual(self.wg.peers["key5"], ["10.80.0.5/32"])

    def test_two_claims_at_the_same_time_do_not_alternate(self):
        self.held("10.78.0.5", 0)
        for second in range(1, 10):
            self.assertFalse(self.held("10.78.0.6", second - 0.5))
            self.assertTrue(self.held("10.78.0.5", second))
        self.assertEqual(self.owner(), ["key5"])

    def test_an_address_that_is_given_up_moves_at_once(self):
        self.held("10.78.0.5", 0)
        self.held("10.78.0.6", 0.1, claim="released")
        self.assertFalse(self.held("10.78.0.6", 0.2))
        self.held("10.78.0.5", 0.3, claim="released")
        self.assertTrue(self.held("10.78.0.6", 0.4))
        self.assertEqual(self.owner(), ["key6"])

    def test_what_the_agent_takes_away_is_given_again(self):
        self.held("10.78.0.5", 0)
        self.wg.peers["key5"] = ["10.80.0.5/32"]
        self.held("10.78.0.5", 1)
        self.assertEqual(self.owner(), ["key5"])

    def test_claims_of_others_and_of_other_addresses_are_ignored(self):
        for sender, address in (("10.78.0.3", VIP), ("10.44.0.5", VIP), ("10.78.0.5", "10.80.0.3"), ("10.78.0.5", "10.80.0.2"),
                                ("10.78.0.5", "10.81.0.1"), ("10.78.0.5", "10.80.999.1")):
            self.assertFalse(self.held(sender, 0, address), (sender, address))
        for text in ("", "kubedos-vip 2 %s held\n", "kubedos-vip 1 %s held", "kubedos-vip 1 %s held\n\n", "kubedos-vip 1 %s\n"):
            self.assertFalse(self.watch.heard(text.replace("%s", VIP), "10.78.0.5", 0))
        self.assertFalse(self.held("10.78.0.5", 0, local=[VIP]), "this node holds it")
        self.assertEqual(self.wg.peers, FakeWg().peers)
        self.watch = self.make(dict(CONFIG, allowed=["10.80.255.9"]))
        self.assertFalse(self.held("10.78.0.5", 0))

    def test_a_peer_that_is_missing_is_no_end(self):
        del self.wg.peers["key5"]
        self.assertTrue(self.held("10.78.0.5", 0))
        self.assertIn("wg3 has no peer with 10.80.0.5", self.said[-1])

    def test_a_holder_says_so_and_says_once_that_it_gave_up(self):
        sent = []
        speaker = vip.Speaker(dict(CONFIG, announce=[VIP]), lambda data, to: sent.append((data, to)))
        speaker.tick(set())
        self.assertEqual(sent, [])
        for local, claim in (({VIP}, b"held"), ({VIP}, b"held"), (set(), b"released")):
            sent.clear()
            speaker.tick(local)
            self.assertEqual(sent, [(b"kubedos-vip 1 10.80.255.1 %s\n" % claim, "10.78.0.%d" % n) for n in (3, 4, 5, 6)])
        sent.clear()
        speaker.tick(set())
        self.assertEqual(sent, [])

    def test_what_this_node_holds_is_written_once(self):
        self.watch.hold(VIP, "10.80.0.2", 0)
        self.watch.hold(VIP, "10.80.0.2", 1)
        self.assertEqual(self.saved, [{VIP: "10.80.0.2"}])

    def test_local_addresses_are_read(self):
        self.assertIn("127.0.0.1", vip.local_addresses())


class Node:
    """A network namespace with a mount namespace, WireGuard on wg1 and wg3, and what the plays run on it."""

    def __init__(self, label, folder):
        self.folder = os.path.join(folder, label)
        os.makedirs(self.folder)
        self.label, self.started = label, []
        self.member = next(m for m in fixture.MEMBERS if m["label"] == label)
        hold = "mount -t tmpfs tmpfs /run && mkdir -p /run/wireguard /run/haproxy && echo up && exec sleep 86400"
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "sh", "-c", hold], stdout=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "up\n":
            raise unittest.SkipTest("namespaces are not possible here")
        self.keys = {}

    def argv(self, *argv):
        return ["nsenter", "-t", str(self.holder.pid), "-n", "-m", *argv]

    def run(self, *argv, stdin=None, check=True):
        return subprocess.run(self.argv(*argv), input=stdin, capture_output=True, text=True, timeout=60, check=check)

    def start(self, name, *argv):
        with open("%s/%s.log" % (self.folder, name), "ab") as log:
            process = subprocess.Popen(self.argv(*argv), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.started.append(process)
        return process

    def plane(self, plane):
        private = self.run("wg", "genkey").stdout
        self.keys[plane] = self.run("wg", "pubkey", stdin=private).stdout.strip()
        self.start(plane, "wireguard-go", "--foreground", plane)
        end = time.monotonic() + 30
        while self.run("wg", "show", plane, check=False).returncode:
            if time.monotonic() > end:
                raise AssertionError("wireguard-go did not start")
            time.sleep(0.1)
        self.run("wg", "set", plane, "listen-port", str(51820 + int(plane[2:])), "private-key", "/dev/stdin", stdin=private)
        self.run("ip", "addr", "add", self.member["addresses"][plane] + "/16", "dev", plane)
        self.run("ip", "link", "set", plane, "up")

    def peer(self, plane, other):
        self.run("wg", "set", plane, "peer", other.keys[plane], "allowed-ips", other.member["addresses"][plane] + "/32",
                 "endpoint", "%s:%d" % (other.member["underlay"], 51820 + int(plane[2:])), "persistent-keepalive", "5")

    def log(self):
        text = ""
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".log"):
                with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
                    text += "--- %s %s\n%s" % (self.label, name, file.read()[-1500:])
        return text

    def close(self):
        for process in reversed(self.started):
            process.kill()
            process.wait()
        self.holder.kill()
        self.holder.communicate()


class Failover(unittest.TestCase):
    """lb1 and lb2 hold the address, e1 is a client, and e2 is the server behind HAProxy."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="kubedos-vip-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.nodes = {}
        for label in ("lb1", "lb2", "e1", "e2"):
            self.nodes[label] = Node(label, self.dir)
            self.addCleanup(self.nodes[label].close)
        self.wire()

    def wire(self):
        switch = self.nodes["e1"]
        switch.run("ip", "link", "add", "br0", "type", "bridge")
        switch.run("ip", "link", "set", "br0", "up")
        for node in self.nodes.values():
            node.run("ip", "link", "set", "lo", "up")
            if node is switch:
                switch.run("ip", "addr", "add", node.member["underlay"] + "/24", "dev", "br0")
                continue
            switch.run("ip", "link", "add", "to-" + node.label, "type", "veth",
                       "peer", "name", "eth0", "netns", str(node.holder.pid))
            switch.run("ip", "link", "set", "to-" + node.label, "master", "br0", "up")
            node.run("ip", "addr", "add", node.member["underlay"] + "/24", "dev", "eth0")
            node.run("ip", "link", "set", "eth0", "up")
        for node in self.nodes.values():
            node.plane("wg1")
            node.plane("wg3")
        for node in self.nodes.values():
            for other in self.nodes.values():
                if other is not node:
                    node.peer("wg1", other)
                    node.peer("wg3", other)

    def play(self, node):
        """Starts what the plays of the node render; paths are moved into the node's folder."""
        services = [{"name": "web", "port": 9000, "targetPort": 9001, "group": "web"}]
        values = fixture.variables(node.label, lb_services=services)
        values["kubedos"]["groups"] = {"loadbalancer": fixture.group("lb1", "lb2"), "web": fixture.group("e2")}
        speaks = node.label.startswith("lb")
        out = fixture.render(node.folder, ["loadbalancer" if speaks else "vip"], values)
        node.vip = node.start("vip", sys.executable, FILES + "/kubedos-vip", out + "/etc/kubedos-vip.json")
        if speaks:
            self.balance(node, out)

    def balance(self, node, out):
        with open(out + "/etc/haproxy/haproxy.cfg", encoding="utf-8") as file:
            text = re.sub(r"(?m)^    (log|chroot|user|group) .*\n", "", file.read())
        # This test has no metrics plane.
        text = text.replace(node.member["addresses"]["wg2"], "127.0.0.1")
        with open(node.folder + "/haproxy.cfg", "w", encoding="utf-8") as file:
            file.write(text)
        node.haproxy = node.start("haproxy", "haproxy", "-db", "-f", node.folder + "/haproxy.cfg")
        notify = node.folder + "/notify"
        with open(notify, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nkill -WINCH %d\n" % node.vip.pid)
        os.chmod(notify, 0o755)
        with open(out + "/etc/keepalived/keepalived.conf", encoding="utf-8") as file:
            text = file.read().replace("/usr/local/lib/kubedos/vip-notify", notify)
        alive = fixture.ANSIBLE + "/roles/loadbalancer/files/haproxy-alive"
        shutil.copy(alive, node.folder + "/alive")
        os.chmod(node.folder + "/alive", 0o755)
        with open(node.folder + "/keepalived.conf", "w", encoding="utf-8") as file:
            file.write(text.replace("/usr/local/lib/kubedos/haproxy-alive", node.folder + "/alive"))
        node.start("keepalived", "keepalived", "--dont-fork", "--log-console", "-f", node.folder + "/keepalived.conf")

    def holder(self):
        return [n.label for n in self.nodes.values() if "wg3" in n.run("ip", "-o", "addr", "show", "to", VIP).stdout]

    def until(self, look, what):
        end = time.monotonic() + 60
        while not look():
            if time.monotonic() > end:
                self.fail(what + "\n" + "".join(n.log() for n in self.nodes.values()))
            time.sleep(0.1)

    def answers(self):
        done = self.nodes["e1"].run("curl", "-s", "-m", "1", "http://%s:9000/file" % VIP, check=False)
        return done.stdout == "hello\n"

    def test_the_address_answers_and_moves_when_haproxy_ends_and_when_the_node_is_gone(self):
        with open(self.nodes["e2"].folder + "/file", "w", encoding="ascii") as file:
            file.write("hello\n")
        server = self.nodes["e2"]
        address = server.member["addresses"]["wg3"]
        server.start("web", sys.executable, "-m", "http.server", "-d", server.folder, "-b", address, "9001")
        for node in self.nodes.values():
            self.play(node)
        self.until(self.answers, "the address does not answer")
        first = self.holder()
        self.assertEqual(len(first), 1)
        other = {"lb1": "lb2", "lb2": "lb1"}[first[0]]
        took = []
        self.nodes[first[0]].haproxy.kill()
        begin = time.monotonic()
        self.until(lambda: self.holder() == [other] and self.answers(), "it did not move when HAProxy ended")
        took.append(time.monotonic() - begin)
        # HAProxy is back: the address stays where it is.
        node = self.nodes[first[0]]
        node.haproxy = node.start("haproxy", "haproxy", "-db", "-f", node.folder + "/haproxy.cfg")
        self.until(lambda: "Entering BACKUP STATE" in node.log().rpartition("FAULT STATE")[2], "it did not become a backup")
        self.assertEqual(self.holder(), [other])
        # The node loses its cable.
        self.nodes[other].run("ip", "link", "set", "eth0", "down")
        begin = time.monotonic()
        self.until(lambda: first[0] in self.holder() and self.answers(), "it did not move when the node was gone")
        took.append(time.monotonic() - begin)
        print("failover: HAProxy ended %.1f s, node gone %.1f s" % tuple(took), file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
