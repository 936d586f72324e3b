"""Every play is accepted by Ansible, and what it writes by the program that reads it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import fixture
import kube

SERVICES = [
    {"name": "etcd", "port": 2379, "group": "etcd", "check": "etcd"},
    {"name": "kubernetes", "port": 6443, "group": ["control-plane"], "check": "https:/readyz", "plane": "both"},
    {"name": "none", "port": 7000, "group": "nobody"},
    {"name": "web", "port": 80, "targetPort": 8080, "group": "lb", "check": "http:/", "plane": "underlay"},
]


def check(*argv, **more):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, **more)
    return done.returncode, done.stdout + done.stderr


class Rendered(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="kubedos-render-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.out = fixture.render(cls.dir, fixture.PLAYS, cls.values())

    @staticmethod
    def values():
        return fixture.variables(
            "e1", monitoring_webhook="http://10.79.0.9/hook",
            podman_quadlets={"web.container": "[Container]\nImage=docker.io/library/nginx:1\n"}, podman_registries=["r.example"],
            storage_disk="empty", logs_max_mib=100,
            # The program is not part of the source tree.
            flow_program="/bin/true", flow_allow={"wg2": ["tcp/9999"]})

    def text(self, path, out=None):
        with open((out or self.out) + path, encoding="utf-8") as file:
            return file.read()

    def moved(self, path, out=None):
        """The file with its paths below the folder that it was rendered into."""
        out = out or self.out
        text = re.sub(r"/etc/(haproxy/kubedos|prometheus/kubedos)", out + r"/etc/\1", self.text(path, out))
        # Not the users and folders of Debian's package.
        text = re.sub(r"(?m)^    (log /dev/log|chroot|user|group) .*\n", "", text)
        held = os.path.join(self.dir, "moved-" + os.path.basename(path))
        with open(held, "w", encoding="utf-8") as file:
            file.write(text)
        return held

    def accepted(self, *argv, **more):
        code, said = check(*argv, **more)
        self.assertEqual(code, 0, said)
        return said

    def test_ansible_accepts_every_play(self):
        code, said = fixture.ansible(self.dir, fixture.PLAYS + ["vip"], self.values(), "--syntax-check")
        self.assertEqual(code, 0, said)

    def test_haproxy_accepts_its_configuration(self):
        self.accepted("haproxy", "-c", "-f", self.moved("/etc/haproxy/haproxy.cfg"))
        text = self.text("/etc/haproxy/haproxy.cfg")
        self.assertEqual(re.findall(r"bind (10\S+)", text), ["10.79.0.2:8404", "10.80.255.1:2379"])
        self.assertEqual(len(re.findall(r"server e\d .* verify required verifyhost e\d", text)), 3)

    def test_services_are_bound_to_their_addresses_and_only_those_with_members(self):
        values = fixture.variables("e1", lb_services=SERVICES, lb_vip_underlay="10.44.0.250")
        values["kubedos"].update(underlay="127.0.0.1")
        values["kubedos"]["groups"].update({"control-plane": fixture.group("e2"), "lb": fixture.group("lb1", "lb2")})
        folder = os.path.join(self.dir, "both")
        os.mkdir(folder)
        out = fixture.render(folder, ["loadbalancer"], values)
        text = self.text("/etc/haproxy/haproxy.cfg", out)
        binds = re.findall(r"frontend (\S+)|bind (\S+)", text)
        self.assertEqual([b or f for f, b in binds][4:], [
            "etcd", "10.80.255.1:2379", "kubernetes", "10.80.255.1:6443", "10.44.0.250:6443", "web", "10.44.0.250:80"])
        self.accepted("haproxy", "-c", "-f", self.moved("/etc/haproxy/haproxy.cfg", out))
        rules = self.text("/etc/nftables.d/kubedos-loadbalancer.nft", out)
        self.assertIn("ip daddr 10.44.0.250 tcp dport { 6443, 80 } accept", rules)
        self.assertIn("10.44.0.250/32 dev lo", self.text("/etc/keepalived/keepalived.conf", out))

    def test_keepalived_accepts_its_configuration(self):
        path, alive = self.moved("/etc/keepalived/keepalived.conf"), os.path.join(self.dir, "alive")
        with open(alive, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n")
        os.chmod(alive, 0o755)
        with open(path, encoding="utf-8") as file:
            text = re.sub(r"/usr/local/lib/kubedos/[a-z-]+", alive, file.read())
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        # Its interface and its address exist in a network of the test's own.
        script = "ip tuntap add wg3 mode tun && ip addr add 10.80.0.2/16 dev wg3 && ip link set wg3 up && keepalived -t -f "
        script += path
        self.accepted("unshare", "--net", "sh", "-c", script)
        self.assertIn("unicast_peer {\n        10.80.0.6\n    }", text)

    def test_prometheus_and_alertmanager_accept_their_configuration(self):
        rules = self.out + "/etc/prometheus/kubedos-rules.yml"
        self.assertIn("15 rules found", self.accepted("promtool", "check", "rules", rules))
        self.accepted("promtool", "check", "config", self.moved("/etc/prometheus/prometheus.yml"))
        self.accepted("amtool", "check-config", self.out + "/etc/prometheus/alertmanager.yml")
        self.assertIn("url: http://10.78.0.1:8080/api/v1/targets\n", self.text("/etc/prometheus/prometheus.yml"))
        self.assertEqual(self.text("/etc/default/prometheus-alertmanager").split('"')[1].split(), [
            "--web.listen-address=10.79.0.2:9093", "--cluster.listen-address=10.79.0.2:9094", "--cluster.peer=10.79.0.3:9094"])

    def test_alerts_fire_when_they_should(self):
        held = os.path.join(self.dir, "rules-test.yml")
        shutil.copy(os.path.join(os.path.dirname(__file__), "rules-test.yml"), held)
        shutil.copy(self.out + "/etc/prometheus/kubedos-rules.yml", os.path.join(self.dir, "kubedos-rules.yml"))
        self.accepted("promtool", "test", "rules", held, cwd=self.dir)

    def test_containerd_reads_its_configuration(self):
        said = self.accepted("containerd", "--config", self.out + "/etc/containerd/config.toml", "config", "dump")
        for line in ('sandbox_image = "registry.k8s.io/pause:3.10"', 'bin_dir = "/usr/lib/cni"', "SystemdCgroup = true",
                     'config_path = "/etc/containerd/certs.d"', 'address = "10.79.0.2:1338"'):
            self.assertIn(line, said)
        hosts = self.text("/etc/containerd/certs.d/_default/hosts.toml")
        self.assertEqual(set(re.findall(r"http\S+:8080", hosts)), {"http://10.44.0.1:8080"})

    def with_programs(self, name, plays, values, **programs):
        """The plays rendered on a node whose programs say this."""
        folder = os.path.join(self.dir, name)
        os.makedirs(folder + "/bin")
        for program, script in programs.items():
            with open("%s/bin/%s" % (folder, program), "w", encoding="ascii") as file:
                file.write("#!/bin/sh\n" + script)
            os.chmod("%s/bin/%s" % (folder, program), 0o755)
        code, said = fixture.ansible(folder, plays, values, KUBEDOS_SERVICE_RENDER=folder + "/out",
                                     PATH=folder + "/bin:" + os.environ["PATH"])
        self.assertEqual(code, 0, said)
        return folder + "/out"

    def test_containerd_gets_the_configuration_of_its_generation_and_the_pause_of_kubeadm(self):
        kubeadm = ('case $1 in version) echo v1.36.4;; config) [ "$5" = v1.36.4 ] && printf '
                   "'registry.k8s.io/kube-proxy:v1.36.4\\nregistry.k8s.io/pause:3.10.2\\n';; esac\n")
        for name, said in (("one", "containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1"),
                           ("two", "containerd github.com/containerd/containerd/v2 2.1.9~ds1 2.1.9~ds1-1")):
            out = self.with_programs(name, ["containers"], fixture.variables("e1"), containerd="echo %s\n" % said, kubeadm=kubeadm)
            text = self.text("/etc/containerd/config.toml", out)
            kube.compare(self, "containerd-%s.toml" % said.split()[2].split("~")[0][:3], text)
        out = self.with_programs("none", ["containers"], fixture.variables("e1", containers_sandbox_image="r.example/pause:1"),
                                 containerd="echo %s\n" % said, kubeadm=kubeadm)
        self.assertIn('sandbox = "r.example/pause:1"', self.text("/etc/containerd/config.toml", out))

    def test_a_node_of_kubernetes_gets_its_settings(self):
        for label, plays in (("e1", ["controlplane"]), ("lb1", ["worker"])):
            values = fixture.variables(label, kubernetes_version="1.36.4", kubernetes_kubelet={"maxPods": 40})
            values["kubedos"].update(plays=["vip", "containers"] + plays, kubernetes={
                "plane": "wg3", "pods": "10.244.0.0/16", "services": "10.96.0.0/16", "domain": "cluster.local",
                "range": "10.244.2.0/24"})
            values["kubedos"]["groups"]["controlplane"] = fixture.group("e1")
            folder = os.path.join(self.dir, "kube-" + plays[0])
            os.mkdir(folder)
            code, said = fixture.ansible(folder, plays, values, KUBEDOS_SERVICE_RENDER=folder + "/out")
            self.assertEqual(code, 0, said)
            conf = json.loads(self.text("/etc/kubedos-kubernetes/settings.json", folder + "/out"))
            control = plays == ["controlplane"]
            self.assertEqual(set(conf) | {"dns"}, set(kube.settings()), "kube.py has the settings of the template")
            self.assertEqual((conf["control_plane"], conf["control_planes"], conf["name"]), (control, 1, label))
            self.assertEqual(conf["etcd"], ["https://10.80.0.%d:2379" % n for n in (2, 3, 4)])
            self.assertEqual((conf["range"], conf["vip"], conf["resolver"]), ("10.244.2.0/24", "10.80.255.1", "10.78.0.1"))
            self.assertEqual((conf["version"], conf["kubelet"], conf["cilium"]["version"]), ("1.36.4", {"maxPods": 40}, ""))
            out = folder + "/out"
            code, said = check("python3", out + "/usr/local/sbin/kubedos-kube", "render", "--root", out, "--facts",
                               json.dumps(kube.facts()), env=dict(os.environ, KUBEDOS_KUBE_LIBRARY=out + "/usr/local/lib/kubedos/kube"))
            self.assertEqual(code, 3, said)
            self.assertEqual(os.path.exists(out + "/etc/kubernetes/manifests/kube-apiserver.yaml"), control)
            base = os.path.join(os.path.dirname(fixture.ANSIBLE), "../assets/nftables/base.nft")
            nft = out + "/etc/nftables.d/kubedos-kubernetes.nft"
            rules = self.accepted("unshare", "--net", "sh", "-c", "nft -f %s && nft -f %s && nft list ruleset" % (base, nft))
            # What was inserted comes before the rule that keeps planes apart.
            order = [rules.index(text) for text in ('iifname "cni0" ct state established', 'iifname "cni0" ip saddr', "@places drop")]
            self.assertEqual(order, sorted(order))

    def test_cilium_has_its_own_rules(self):
        import network  # pylint: disable=import-outside-toplevel

        base = os.path.join(os.path.dirname(fixture.ANSIBLE), "../assets/nftables/base.nft")
        held = os.path.join(self.dir, "cilium.nft")
        with open(held, "w", encoding="utf-8") as file:
            file.write(network.firewall(kube.settings(cni="cilium")))
        rules = self.accepted("unshare", "--net", "sh", "-c", "nft -f %s && nft -f %s && nft list ruleset" % (base, held))
        self.assertIn('iifname "lxc*" oifname "wg3" accept', rules)

    def test_the_firewall_takes_the_rules(self):
        base = os.path.join(os.path.dirname(fixture.ANSIBLE), "../assets/nftables/base.nft")
        folder = self.out + "/etc/nftables.d"
        files = [base] + sorted(os.path.join(folder, name) for name in os.listdir(folder))
        script = " && ".join("nft -f " + f for f in files) + " && nft list ruleset"
        rules = self.accepted("unshare", "--net", "sh", "-c", script)
        self.assertIn('elements = { "wg3" . 10.80.255.1 }', rules)

    def test_units_are_read_by_systemd(self):
        folder = self.out + "/etc/systemd/system/"
        for name in sorted(os.listdir(folder)):
            if os.path.isfile(folder + name):
                text = self.text("/etc/systemd/system/" + name).replace("/usr/local", self.out + "/usr/local")
                with open(os.path.join(self.dir, name), "w", encoding="utf-8") as file:
                    file.write(text)
                self.accepted("systemd-analyze", "verify", os.path.join(self.dir, name))

    def test_podman_asks_the_seed_for_images_of_every_registry(self):
        text = self.text("/etc/containers/registries.conf.d/90-kubedos.conf")
        pairs = dict(re.findall(r'prefix = "(.*)"\nlocation = "(.*)"\ninsecure = true', text))
        seed = pairs.pop("10.44.0.1:8080")
        self.assertEqual((seed, pairs), ("10.44.0.1:8080", {p: "10.44.0.1:8080/" + p for p in pairs}))
        self.assertTrue({"docker.io", "quay.io", "registry.k8s.io", "ghcr.io", "r.example"} <= set(pairs))
        self.assertIn("unqualified-search-registries = []", text)

    def test_nothing_listens_outside_the_planes(self):
        """Every address with a port that is written is one of this node's planes, a virtual one or the loopback's."""
        own = {"10.78.0.2", "10.79.0.2", "10.80.0.2", "10.80.255.1", "127.0.0.1"}
        listens = re.compile(r"(?:listen-address=|bind |ListenStream=|address = \")([0-9.]+):\d+")
        found = []
        for folder, _, names in os.walk(self.out + "/etc"):
            for name in names:
                found += listens.findall(self.text(os.path.join(folder, name)[len(self.out):]))
        self.assertGreater(len(found), 6)
        self.assertEqual(set(found) - own, set())

    def test_facts_are_metrics(self):
        root = os.path.join(self.dir, "facts")
        os.makedirs(root + "/var/lib/prometheus/node-exporter")
        os.makedirs(root + "/run")
        shutil.copytree(self.out + "/etc", root + "/etc", dirs_exist_ok=True)
        program = self.out + "/usr/local/lib/kubedos/facts"
        code, said = check("python3", program, env=dict(os.environ, KUBEDOS_FACTS_ROOT=root))
        self.assertEqual(code, 0, said)
        with open(root + "/var/lib/prometheus/node-exporter/kubedos.prom", encoding="utf-8") as file:
            text = file.read()
        self.accepted("promtool", "check", "metrics", input=text)
        self.assertRegex(text, r'kubedos_certificate_expiry_timestamp_seconds\{authority="etcd",name="peer"\} \d+')
        self.assertIn('kubedos_node_info{name="e1.kubedos.lan",role="etcd",site="site-a"} 1', text)
        # A certificate is read once: the second time nobody needs openssl.
        ends = [line for line in text.splitlines() if line.startswith("kubedos_certificate_expiry")]
        code, said = check(sys.executable, program, env={"PATH": "/nowhere", "KUBEDOS_FACTS_ROOT": root})
        self.assertEqual(code, 0, said)
        with open(root + "/var/lib/prometheus/node-exporter/kubedos.prom", encoding="utf-8") as file:
            self.assertEqual([line for line in file.read().splitlines() if line.startswith("kubedos_certificate_expiry")], ends)

    def test_the_flow_agent_gets_its_settings(self):
        self.assertEqual(json.loads(self.text("/etc/kubedos-flow.json")),
                         {"underlay": "", "allow": {"wg2": ["tcp/9999"]}, "ranges": []})

    def test_settings_of_etcd_have_every_member(self):
        settings = json.loads(self.text("/etc/kubedos-etcd/settings.json"))
        self.assertEqual([m["address"] for m in settings["members"]], ["10.80.0.2", "10.80.0.3", "10.80.0.4"])
        self.assertIn("OnCalendar=*-*-* 03:00:00", self.text("/etc/systemd/system/kubedos-etcd-defrag.timer"))

    def test_a_node_without_a_collector_keeps_its_journal(self):
        self.assertIn("URL=http://10.79.0.5:19532\n", self.text("/etc/systemd/journal-upload.conf.d/kubedos.conf"))
        values = fixture.variables("e1")
        del values["kubedos"]["groups"]["log-collector"]
        out = os.path.join(self.dir, "alone")
        code, said = fixture.ansible(self.dir, ["logs"], values, KUBEDOS_SERVICE_RENDER=out)
        self.assertEqual(code, 0, said)
        self.assertFalse(os.path.exists(out + "/etc/systemd/journal-upload.conf.d/kubedos.conf"))


class Disk(unittest.TestCase):
    """The rule for the data disk; formatting is tried on files behind loop devices by the lab only."""

    def setUp(self):
        import importlib.machinery  # pylint: disable=import-outside-toplevel
        import importlib.util  # pylint: disable=import-outside-toplevel

        path = fixture.ANSIBLE + "/roles/storage/files/kubedos-storage"
        loader = importlib.machinery.SourceFileLoader("kubedos_storage", path)
        self.storage = importlib.util.module_from_spec(importlib.util.spec_from_loader("kubedos_storage", loader))
        loader.exec_module(self.storage)

    @staticmethod
    def disk(name, size, **more):
        empty = dict.fromkeys(("fstype", "label", "uuid", "pttype", "mountpoint"))
        return dict(empty, name=name, path="/dev/" + name, size=size, **more)

    def choose(self, rule, *found, blank=lambda d: None if not d["pttype"] and not d["fstype"] else "it has something"):
        self.storage.why_not_blank = blank
        return self.storage.chosen(rule, list(found))["name"]

    def test_the_largest_blank_disk_is_chosen_and_found_again(self):
        system, small, large = self.disk("sda", 900, pttype="gpt"), self.disk("sdb", 100), self.disk("sdc", 200)
        self.assertEqual(self.choose("empty", system, small, large), "sdc")
        ours = self.disk("sdb", 100, fstype="ext4", label="kubedos-data")
        self.assertEqual(self.choose("empty", system, ours, large), "sdb")

    def test_no_disk_is_chosen_that_has_anything(self):
        with self.assertRaisesRegex(self.storage.Refused, "no disk is blank: /dev/sda: it has something; /dev/sdb"):
            self.choose("empty", self.disk("sda", 900, pttype="gpt"), self.disk("sdb", 100, fstype="xfs"))
        for rule in ("/dev/sda", "largest", "/dev/disk/by-id/none"):
            with self.assertRaises(self.storage.Refused):
                self.choose(rule, self.disk("sda", 900))

    def test_fstab_has_one_line_for_the_path(self):
        text = "# note\nUUID=1 / ext4 x 0 1\nUUID=old /srv ext4 x 0 2\n"
        text = self.storage.with_line(text, "UUID=new /srv ext4 y 0 2", "/srv")
        self.assertEqual(text, "# note\nUUID=1 / ext4 x 0 1\nUUID=new /srv ext4 y 0 2\n")


if __name__ == "__main__":
    unittest.main()
