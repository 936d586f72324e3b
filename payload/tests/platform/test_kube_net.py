"""The network of pods between three namespaces: WireGuard, Debian's CNI plugins, the firewall of a node, and rules as kube-proxy
makes them. e1 is a control plane, e2 a worker, and lb1 a node without pods."""

import json
import os
import shutil
import sys
import tempfile
import time
import unittest

import fixture
import kube
import network
import test_vip

BASE = os.path.join(os.path.dirname(fixture.ANSIBLE), "../assets/nftables/base.nft")
PORT, CLOSED, SERVICE = 6443, 9999, "10.96.0.10"
# Says who asks.
SERVER = """import socket, sys
door = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    visitor, (address, _) = door.accept()
    visitor.sendall(address.encode())
    visitor.close()
"""
CLIENT = """import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).recv(100).decode())
"""
# As kube-proxy: the destination becomes that of a pod; what does not come from a pod gets the address of the way out.
PROXY = """table ip lab {
  chain services { ip daddr %(service)s tcp dport 80 counter dnat to %(pod)s:8080; }
  chain prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain output { type nat hook output priority -100; jump services; }
  chain postrouting { type nat hook postrouting priority srcnat; ct original ip daddr %(service)s ip saddr != 10.244.0.0/16 masquerade; }
}
"""


def number(node):
    return node.member["addresses"]["wg3"].rpartition(".")[2]


class Pods(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="kubedos-net-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.nodes, cls.pods = {}, {}
        for label in ("e1", "e2", "lb1"):
            cls.nodes[label] = test_vip.Node(label, cls.dir)
            cls.addClassCleanup(cls.nodes[label].close)
        cls.wire()
        for label in ("e1", "e2"):
            cls.kubernetes(cls.nodes[label], label == "e1")
        for label, name in (("e1", "a"), ("e2", "b"), ("e1", "c")):
            cls.pods[name] = (cls.nodes[label], name, cls.pod(cls.nodes[label], name))
        for node, name, address in cls.pods.values():
            node.start("pod-" + name, "ip", "netns", "exec", name, sys.executable, "-c", SERVER, address, "8080")
        for node in cls.nodes.values():
            address = node.member["addresses"]["wg3"]
            for port in (PORT, CLOSED):
                node.start("port-%d" % port, sys.executable, "-c", SERVER, address, str(port))
            node.start("underlay", sys.executable, "-c", SERVER, node.member["underlay"], "80")
        end = time.monotonic() + 60
        while cls.ask("a", cls.pods["b"][2], 8080) is None:
            if time.monotonic() > end:
                raise AssertionError("no pod answers\n" + "".join(n.log() for n in cls.nodes.values()))

    @classmethod
    def wire(cls):
        switch = cls.nodes["lb1"]
        switch.run("ip", "link", "add", "br0", "type", "bridge")
        switch.run("ip", "link", "set", "br0", "up")
        for node in cls.nodes.values():
            node.run("ip", "link", "set", "lo", "up")
            if node is switch:
                switch.run("ip", "addr", "add", node.member["underlay"] + "/24", "dev", "br0")
            else:
                switch.run("ip", "link", "add", "to-" + node.label, "type", "veth", "peer", "name", "eth0", "netns", str(node.holder.pid))
                switch.run("ip", "link", "set", "to-" + node.label, "master", "br0", "up")
                node.run("ip", "addr", "add", node.member["underlay"] + "/24", "dev", "eth0")
                node.run("ip", "link", "set", "eth0", "up")
            node.plane("wg3")
        for node in cls.nodes.values():
            for other in cls.nodes.values():
                if other is not node:
                    cls.peer(node, other)

    @staticmethod
    def peer(node, other):
        """As the agent does: ranges of pods for nodes that have pods themselves."""
        allowed = [other.member["addresses"]["wg3"] + "/32"]
        if "lb1" not in (node.label, other.label):
            allowed.append("10.244.%s.0/24" % number(other))
        node.run("wg", "set", "wg3", "peer", other.keys["wg3"], "allowed-ips", ",".join(allowed), "endpoint",
                 "%s:51823" % other.member["underlay"], "persistent-keepalive", "5")

    @classmethod
    def kubernetes(cls, node, control):
        address = node.member["addresses"]["wg3"]
        conf = kube.settings(control, name=node.label, address=address, range="10.244.%s.0/24" % number(node))
        files = network.files(conf, kube.facts())
        elements = "".join("add element inet kubedos %s { %s }\n" % pair for pair in (
            ("planes", '"wg3"'), ("places", '"wg3" . ' + address), ("addresses", address), ("wireguard", "51823")))
        for name, text in (("elements", elements), ("pods", files[network.FIREWALL][0])):
            with open("%s/%s.nft" % (node.folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        for path in (BASE, node.folder + "/elements.nft", node.folder + "/pods.nft"):
            node.run("nft", "-f", path)
        node.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        for net in ("10.244.0.0/16", "10.96.0.0/16"):
            node.run("ip", "route", "replace", net, "dev", "wg3", "src", address)
        cls.conflist = json.loads(files[network.CNI + "/10-kubedos.conflist"][0])
        node.plugin = dict(cls.conflist["plugins"][0], name=cls.conflist["name"], cniVersion=cls.conflist["cniVersion"])

    @staticmethod
    def pod(node, name):
        """What containerd does for a pod; its address."""
        node.run("ip", "netns", "add", name)
        node.run("ip", "netns", "exec", name, "ip", "link", "set", "lo", "up")
        env = ["CNI_COMMAND=ADD", "CNI_CONTAINERID=" + name, "CNI_NETNS=/run/netns/" + name, "CNI_IFNAME=eth0", "CNI_PATH=/usr/lib/cni"]
        done = node.run("env", *env, "/usr/lib/cni/" + node.plugin["type"], stdin=json.dumps(node.plugin))
        return json.loads(done.stdout)["ips"][0]["address"].partition("/")[0]

    @classmethod
    def inside(cls, place):
        """The node, and the beginning of a command in a pod or on a node."""
        if place in cls.nodes:
            return cls.nodes[place], []
        node, name, _ = cls.pods[place]
        return node, ["ip", "netns", "exec", name]

    @classmethod
    def ask(cls, place, address, port):
        """What the server says, which is the address that it saw; None without an answer."""
        node, enter = cls.inside(place)
        done = node.run(*enter, sys.executable, "-c", CLIENT, address, str(port), check=False)
        return done.stdout.strip() or None if done.returncode == 0 else None

    def at(self, name):
        return self.pods[name][2]

    def test_pods_have_addresses_of_their_nodes_and_see_each_other_as_they_are(self):
        self.assertEqual([self.at(name).rpartition(".")[0] for name in "abc"], ["10.244.2", "10.244.3", "10.244.2"])
        for here, there in (("a", "b"), ("b", "a"), ("a", "c"), ("b", "c")):
            self.assertEqual(self.ask(here, self.at(there), 8080), self.at(here), "%s to %s" % (here, there))

    def test_nodes_reach_pods(self):
        self.assertEqual(self.ask("e1", self.at("b"), 8080), "10.80.0.2")
        self.assertEqual(self.ask("e2", self.at("b"), 8080), "10.244.3.1", "from the bridge, to a pod of its own")

    def test_pods_reach_the_api_of_their_own_node_and_of_another_and_no_other_port_of_their_own(self):
        self.assertEqual((self.ask("a", "10.80.0.2", PORT), self.ask("b", "10.80.0.2", PORT)), (self.at("a"), self.at("b")))
        self.assertIsNone(self.ask("a", "10.80.0.2", CLOSED))
        self.assertIsNone(self.ask("b", "10.80.0.3", PORT), "a worker has no API")

    def test_pods_reach_neither_the_boot_network_nor_nodes_without_pods(self):
        began = time.monotonic()
        self.assertIsNone(self.ask("a", self.nodes["e2"].member["underlay"], 80))
        self.assertLess(time.monotonic() - began, 2.5, "rejected, and not silently dropped")
        self.assertIsNone(self.ask("a", "10.80.0.5", PORT))
        self.assertEqual(self.ask("e1", "10.80.0.5", PORT), "10.80.0.2")

    def test_packets_of_a_pods_size_fit_into_the_plane(self):
        node, enter = self.inside("a")
        for size, fits in ((1420 - 28, True), (1421 - 28, False)):
            done = node.run(*enter, "ping", "-c", "1", "-W", "3", "-M", "do", "-s", str(size), self.at("b"), check=False)
            self.assertEqual(done.returncode == 0, fits, done.stdout + done.stderr)

    def test_a_service_is_reached_from_pods_and_from_nodes_wherever_its_pod_is(self):
        for label, pod in (("e1", "b"), ("e1", "c"), ("e2", "c")):
            node = self.nodes[label]
            with self.subTest(node=label, pod=pod):
                with open(node.folder + "/proxy.nft", "w", encoding="utf-8") as file:
                    file.write(PROXY % {"service": SERVICE, "pod": self.at(pod)})
                node.run("nft", "-f", node.folder + "/proxy.nft")
                self.addCleanup(node.run, "nft", "delete", "table", "ip", "lab", check=False)
                self.assertIsNotNone(self.ask(label, SERVICE, 80), "from the node")
                here = {"e1": "a", "e2": "b"}[label]
                self.assertEqual(self.ask(here, SERVICE, 80), self.at(here), "from a pod")
                node.run("nft", "delete", "table", "ip", "lab")


if __name__ == "__main__":
    unittest.main()
