"""Kubernetes: every file of every version against goldens, and each cause of the field that preflight names.

KUBEDOS_BLESS=1 writes the goldens: read the difference before it is committed."""

import hashlib
import os
import shutil
import tempfile
import unittest

import kube  # first: the others are in its library
import cluster
import network
import preflight
import render
import yaml
from node import Failed, minor, split


def whole(conf, facts):
    """All files of a node as one text."""
    parts = []
    for path, (text, mode) in sorted(render.files(conf, facts).items()):
        parts.append("==== %s %o\n%s" % (path, mode, text))
    for source, target, mode in render.certificates(conf):
        parts.append("==== copy %s %s %o\n" % (source, target, mode))
    return "".join(parts)


class Download(unittest.TestCase):
    """What is run as root has the digest of the signed variables."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="kubedos-kube-")
        self.addCleanup(shutil.rmtree, self.dir)
        with open(self.dir + "/source", "wb") as file:
            file.write(b"helm")
        self.url, self.path = "file://%s/source" % self.dir, self.dir + "/helm"
        self.digest = hashlib.sha256(b"helm").hexdigest()

    def test_a_file_with_another_digest_is_not_kept(self):
        with self.assertRaisesRegex(Failed, "has sha256 " + self.digest):
            cluster.fetch(self.url, self.path, 0o755, "0" * 64)
        self.assertEqual(os.listdir(self.dir), ["source"])

    def test_a_file_of_another_version_is_replaced_and_the_right_one_is_kept(self):
        with open(self.path, "wb") as file:
            file.write(b"an earlier version")
        cluster.fetch(self.url, self.path, 0o755, self.digest)
        with open(self.path, "rb") as file:
            self.assertEqual((file.read(), os.stat(self.path).st_mode & 0o777), (b"helm", 0o755))
        cluster.fetch("file:///nowhere", self.path, 0o755, self.digest)

    def test_without_digests_nothing_is_downloaded(self):
        for lacks in ("version", "sha256", "helm_sha256"):
            held = {"version": "1.18.5", "sha256": "1" * 64, "helm_sha256": "2" * 64, "helm": "helm", "values": {}}
            with self.assertRaisesRegex(Failed, "cilium_%s is not set" % lacks):
                cluster.chart(kube.machine.Node(self.dir), kube.settings(cni="cilium", cilium=dict(held, **{lacks: ""})))
        self.assertEqual(os.listdir(self.dir), ["source"])


class Files(unittest.TestCase):
    maxDiff = None

    def test_every_file_of_every_version(self):
        for version in kube.TAGS:
            for control in (True, False):
                with self.subTest(version=version, control=control):
                    text = whole(kube.settings(control), kube.facts(version))
                    kube.compare(self, "kube-1.%d-%s.txt" % (minor(version), "control" if control else "worker"), text)

    def test_cilium(self):
        values = {"devices": ["wg3", "ens+"], "hubble": {"ui": {"enabled": False}}}
        conf = kube.settings(cni="cilium", proxy=False, cilium={"version": "1.18.5", "helm": "helm", "values": values})
        found = render.files(conf, kube.facts("1.36.4", "2.1.9"))
        names = (network.VALUES, network.FIREWALL, render.CONFIG + "/kubeadm.yaml")
        kube.compare(self, "kube-cilium.txt", "".join("==== %s %o\n%s" % (n, found[n][1], found[n][0]) for n in names))
        self.assertNotIn(network.CNI + "/10-kubedos.conflist", found)
        held = yaml.safe_load(found[network.VALUES][0])
        self.assertEqual((held["devices"], held["hubble"]["relay"], held["hubble"]["ui"]),
                         (["wg3", "ens+"], {"enabled": True}, {"enabled": False}))
        worker = render.files(dict(conf, control_plane=False), kube.facts())
        self.assertNotIn(network.VALUES, worker)

    def test_what_containerd_is_does_not_change_the_files(self):
        one, two = (whole(kube.settings(), kube.facts("1.36.4", v)) for v in ("1.7.24", "2.1.9"))
        self.assertEqual(one, two)

    def test_every_document_is_yaml_and_static_pods_have_their_certificates_only(self):
        for version in kube.TAGS:
            found = render.files(kube.settings(), kube.facts(version))
            for path, (text, _) in found.items():
                if path.endswith((".yaml", ".conf")) and "systemd" not in path and "resolv" not in path:
                    self.assertTrue(all(isinstance(d, dict) for d in yaml.safe_load_all(text)), path)
            copied = {target for _, target, _ in render.certificates(kube.settings())}
            used = set()
            for path, (text, _) in found.items():
                used |= {word for word in text.replace("=", " ").replace('"', " ").split() if word.startswith((render.PKI + "/",
                         render.KUBELET_PKI + "/"))}
            self.assertEqual(used - copied, set(), version)

    def test_a_version_that_nobody_tried_is_refused(self):
        for version in ("1.33.1", "1.38.0", "1.19.9"):
            facts = dict(kube.facts(), kubernetes=version)
            with self.assertRaisesRegex(Failed, "is not one of 1.20, 1.34"):
                render.files(kube.settings(), facts)

    def test_kubeadms_configuration_has_the_shape_of_its_version(self):
        for version, api, kind in (("1.20.2", "v1beta2", dict), ("1.34.9", "v1beta4", list), ("1.37.1", "v1beta4", list)):
            text = render.kubeadm_config(kube.settings(), kube.facts(version))
            init, cluster, _, _ = yaml.safe_load_all(text)
            self.assertEqual({init["apiVersion"], cluster["apiVersion"]}, {"kubeadm.k8s.io/" + api})
            self.assertIsInstance(cluster["apiServer"]["extraArgs"], kind)
            self.assertIsInstance(init["nodeRegistration"]["kubeletExtraArgs"], kind)
            # kubeadm would ask the internet for stable-1.x.
            self.assertEqual(cluster["kubernetesVersion"], "v" + version)

    def test_kubeadms_phases_find_no_authority_without_its_key(self):
        for version in kube.TAGS:
            conf, facts = kube.settings(), kube.facts(version)
            _, held, _, _ = yaml.safe_load_all(render.kubeadm_config(conf, facts))
            written = list(render.files(conf, facts)) + [target for _, target, _ in render.certificates(conf)]
            self.assertEqual([path for path in written if path.startswith(held["certificatesDir"])], [], version)
            self.assertTrue(os.path.isabs(held["certificatesDir"]))

    def test_nothing_of_a_control_plane_answers_without_tls(self):
        closed = {"kube-apiserver": "--insecure-port=0", "kube-controller-manager": "--port=0", "kube-scheduler": "--port=0"}
        for version in kube.TAGS:
            for name, text in render.static_pods(kube.settings(), kube.facts(version)).items():
                command = yaml.safe_load(text)["spec"]["containers"][0]["command"]
                # Versions that do not have the port do not know the flag.
                self.assertEqual(closed[name] in command, minor(version) == 20, "%s %s" % (name, version))

    def test_a_leader_may_be_silent_for_as_long_as_the_site_says(self):
        for seconds, expected in ((15, []), (60, ["60s", "40s", "10s"]), (16, ["16s", "10s", "2s"]), (1, ["5s", "3s", "1s"])):
            for part in ("kube-controller-manager", "kube-scheduler"):
                text = render.static_pods(kube.settings(lease=seconds), kube.facts())[part]
                command = yaml.safe_load(text)["spec"]["containers"][0]["command"]
                found = [flag.split("=") for flag in command if flag.startswith("--leader-elect-")]
                self.assertEqual([value for _, value in found], expected, seconds)
        self.assertEqual([name for name, _ in found],
                         ["--leader-elect-lease-duration", "--leader-elect-renew-deadline", "--leader-elect-retry-period"])

    def test_a_node_may_delete_nodes_and_has_no_further_right_by_that(self):
        role, binding = list(yaml.safe_load_all(render.files(kube.settings(), kube.facts())[render.CONFIG + "/rbac.yaml"][0]))[1:]
        self.assertEqual(role["rules"], [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"]}])
        self.assertEqual((binding["roleRef"]["name"], [s["name"] for s in binding["subjects"]]),
                         (role["metadata"]["name"], ["system:nodes"]))
        # What confines it to the node's own object.
        self.assertIn(("enable-admission-plugins", "NodeRestriction"), render.api_flags(kube.settings(), "1.36.4"))

    def test_users_may_add_to_the_kubelet_and_to_cilium(self):
        conf = kube.settings(kubelet={"maxPods": 50, "failSwapOn": False})
        held = yaml.safe_load(render.files(conf, kube.facts())["/var/lib/kubelet/config.yaml"][0])
        self.assertEqual((held["maxPods"], held["failSwapOn"], held["port"]), (50, False, 10250))

    def test_images_with_a_port_a_digest_or_no_tag(self):
        for image, parts in (("a.b:5000/x", ("a.b:5000/x", "latest")), ("a.b:5000/x:1", ("a.b:5000/x", "1")),
                             ("q/x:1@sha256:00", ("q/x", "sha256:00")), ("q/x@sha256:00", ("q/x", "sha256:00"))):
            self.assertEqual(split(image), parts)


class Field(unittest.TestCase):
    """The failures of the field, each a named check that says one line per cause."""

    def causes(self, check, change=None, control=True, facts=None, **more):
        conf = kube.settings(control, **more)
        node = kube.Machine(conf)
        if change:
            change(node)
        return [cause for name, cause in preflight.causes(node, conf, facts or kube.facts()) if name == check or check is None]

    def test_a_node_in_order_has_no_cause(self):
        self.assertEqual(self.causes(None), [])
        self.assertEqual(self.causes(None, control=False), [])

    def test_pause_of_containerd_and_of_kubeadm(self):
        def older(node):
            node.files[preflight.CONFIG] = kube.CONTAINERD.replace("pause:3.10.2", "pause:3.8")

        def none(node):
            node.files[preflight.CONFIG] = kube.CONTAINERD.replace("sandbox_image", "other")

        self.assertIn("is registry.k8s.io/pause:3.8, kubeadm's list has registry.k8s.io/pause:3.10.2", self.causes("pause-image", older)[0])
        self.assertIn("its own default", self.causes("pause-image", none)[0])
        two = kube.CONTAINERD.replace("sandbox_image", "sandbox")
        self.assertEqual(self.causes("pause-image", lambda n: n.files.update({preflight.CONFIG: two})), [])

    def test_debians_containerd(self):
        for before, after, words in (('"/usr/lib/cni"', '"/opt/cni/bin"', "CNI plugins elsewhere"),
                                     ("SystemdCgroup = true", "SystemdCgroup = false", "SystemdCgroup is not true")):
            changed = kube.CONTAINERD.replace(before, after)
            found = self.causes("containerd", lambda n, text=changed: n.files.update({preflight.CONFIG: text}))
            self.assertEqual(len(found), 1)
            self.assertIn(words, found[0])
        self.assertIn("are missing in /usr/lib/cni: portmap", self.causes("containerd", lambda n: n.files.pop("/usr/lib/cni/portmap"))[0])
        self.assertIn("needs the play containers", self.causes("containerd", lambda n: n.files.pop(preflight.CONFIG))[0])
        values = {"cni": {"binPath": "/opt/cni/bin"}}
        found = self.causes("containerd", cni="cilium", cilium={"values": values})
        self.assertIn("cni.binPath has to be /usr/lib/cni", found[0])

    def test_mirrors_of_the_registry(self):
        for path, text, words in (
                (preflight.CONFIG, kube.CONTAINERD.replace('"/etc/containerd/certs.d"', '""'), "config_path is not"),
                (preflight.CONFIG, kube.CONTAINERD + "[plugins.x.registry.mirrors]\n", "which containerd ignores"),
                (preflight.HOSTS, kube.HOSTS.replace(', "resolve"', ""), "have to be pull and resolve"),
                (preflight.HOSTS, kube.HOSTS.replace("server = \"http://10.44.0.1:8080\"", 'server = "https://docker.io"'), "alone"),
                ("/etc/containerd/certs.d/docker.io/hosts.toml", "x", "other registries: docker.io")):
            found = self.causes("registry", lambda n, p=path, t=text: n.files.update({p: t}))
            self.assertEqual(len(found), 1, words)
            self.assertIn(words, found[0])

    def test_an_image_of_kubeadms_list_that_the_seed_does_not_have(self):
        for name, image in kube.images("1.36.4").items():
            found = self.causes("images", lambda n, i=image: n.held.discard(i))
            self.assertEqual(found, ["the seed has no image %s; add it to the extras" % image], name)
        # A worker runs three of them.
        bare = self.causes("images", lambda n: n.held.clear(), control=False)
        self.assertEqual(len(bare), 3)

    CILIUM = "".join('        image: "quay.io/cilium/%s:v1@sha256:%064d"\n' % (n, i) for i, n in enumerate(preflight.CILIUM))

    def cilium(self, text, held=None):
        def change(node):
            node.files["/etc/kubedos-kubernetes/cilium.yaml"] = text
            node.held |= set(preflight.images_of(text)) if held is None else held

        return self.causes("cilium-images", change, cni="cilium", cilium={"version": "1.18.5", "values": {}})

    def test_images_of_cilium(self):
        self.assertEqual(self.cilium(self.CILIUM), [])
        lines = self.CILIUM.splitlines(keepends=True)
        for at, name in enumerate(preflight.CILIUM):
            found = self.cilium("".join(lines[:at] + lines[at + 1:]))
            self.assertEqual(found, ["the rendered chart has no image " + name])
            missing = self.cilium(self.CILIUM, set(preflight.images_of(self.CILIUM)) - set(preflight.images_of(lines[at])))
            self.assertEqual(len(missing), 1)
            self.assertIn("/%s:v1@sha256:" % name, missing[0])
        self.assertIn("keep useDigest", self.cilium(self.CILIUM.replace("@sha256:%064d" % 0, ""))[0])
        self.assertIn("was not rendered", self.cilium("")[0])

    def test_planes(self):
        said = {"wg show wg3 endpoints": "a=\t10.244.7.9:51823\nb=\t10.96.0.1:1\nc=\t10.79.0.3:51823\nd=\t192.0.2.1:51823\n"}
        found = self.causes("planes", lambda n: n.says.update(said))
        self.assertEqual([c.split()[6].rstrip(",") for c in found], ["10.244.7.9", "10.96.0.1", "10.79.0.3"])
        self.assertIn("does not have the address 10.80.0.5",
                      self.causes("planes", lambda n: n.says.update({"ip -o -4 address show dev wg3": "5: wg3 inet 10.80.0.50/16\n"}))[0])
        self.assertIn("number is beyond networking.kubernetes.pods (10.244.0.0/16)", self.causes("planes", range="")[0])
        taken = {"wg show wg3 allowed-ips": "a=\t10.80.0.2/32 10.244.5.0/24\n"}
        self.assertIn("has this node's range", self.causes("planes", lambda n: n.says.update(taken))[0])
        tunnel = self.causes("planes", cni="cilium", cilium={"values": {"routingMode": "tunnel", "devices": []}})
        self.assertEqual(["devices" in tunnel[0], "at most 1370" in tunnel[1]], [True, True])

    def test_certificates_of_hubble(self):
        self.assertEqual(self.causes("hubble-certificates", cni="cilium", cilium={"values": {}}), [])
        values = {"hubble": {"tls": {"auto": {"method": "helm"}}}}
        self.assertIn("end after a year", self.causes("hubble-certificates", cni="cilium", cilium={"values": values})[0])

    def test_the_virtual_address_is_the_load_balancers(self):
        pod = {render.MANIFESTS + "/kube-vip.yaml": "image: ghcr.io/kube-vip/kube-vip:v1"}
        self.assertIn("is kube-vip", self.causes("vip", lambda n: n.files.update(pod))[0])
        self.assertIn("is not an address of wg3", self.causes("vip", vip="10.79.255.1")[0])
        self.assertIn("is not set", self.causes("vip", vip="")[0])
        self.assertIn("no load balancer has announced", self.causes("vip", lambda n: n.files.pop(preflight.VIPS))[0])
        own = {"ip -o -4 address show to 10.80.255.1": "5: wg3 inet 10.80.255.1/32 scope global wg3\n"}

        def holder(node):
            node.files.pop(preflight.VIPS)
            node.says.update(own)

        self.assertEqual(self.causes("vip", holder), [])

    def test_kubeadms_shape_and_etcds_certificates(self):
        self.assertIn("no node has the play etcd", self.causes("kubeadm", etcd=[])[0])
        held, render.arguments = render.arguments, lambda version, pairs: dict(pairs)
        self.addCleanup(setattr, render, "arguments", held)
        self.assertTrue(all("wrong shape for kubeadm.k8s.io/v1beta4" in c for c in self.causes("kubeadm")))
        self.assertEqual(len(self.causes("kubeadm")), 3)
        render.arguments = held
        lost = "/etc/kubedos/pki/etcd/apiserver-etcd-client.key"
        self.assertEqual(self.causes("certificates", lambda n: n.files.pop(lost)), [lost + " is missing: the seed has not issued it"])
        same = {"/etc/kubedos/pki/%s/ca.pem" % name: "one" for name in ("etcd", "front-proxy")}
        self.assertIn("are the same", self.causes("certificates", lambda n: n.files.update(same))[0])

    def test_what_runs_is_still_to_be_had_after_an_upgrade(self):
        old = "registry.k8s.io/kube-apiserver:v1.35.4"
        pod = {render.MANIFESTS + "/kube-apiserver.yaml": "    image: %s\n" % old}
        found = self.causes("images-kept", lambda n: n.files.update(pod))
        self.assertEqual(len(found), 1)
        self.assertIn("no longer has " + old, found[0])

    def test_the_host(self):
        def with_file(path, text):
            return self.causes("host", lambda n: n.files.update({path: text}))

        self.assertEqual(with_file("/proc/swaps", "Filename\n/dev/sda3 partition 1 0 -2\n"), ["swap is on: /dev/sda3"])
        self.assertIn("br_netfilter is not loaded", self.causes("host", lambda n: n.files.pop(
            "/proc/sys/net/bridge/bridge-nf-call-iptables"))[0])
        self.assertIn("ip_forward is not 1", with_file("/proc/sys/net/ipv4/ip_forward", "0\n")[0])
        self.assertIn("name is not cp1", with_file("/proc/sys/kernel/hostname", "debian\n")[0])
        self.assertIn("no cgroup v2", self.causes("host", lambda n: n.files.pop(preflight.CGROUPS))[0])
        for tracking in (None, kube.TRACKING.replace("0.000012", "-9.1"), kube.TRACKING.replace("Normal", "Not synchronised")):
            found = self.causes("host", lambda n, t=tracking: n.says.update({"chronyc -n -c tracking": t}))
            self.assertEqual(found, ["the clock does not follow the seed's"])
        rules = {"nft list chain inet kubedos forward": "chain forward {\n}"}

        def stale(node):
            node.files[network.FIREWALL] = "x"
            node.says.update(rules)

        self.assertIn("firewall drops what pods send", self.causes("host", stale)[0])

    def test_versions_that_do_not_fit(self):
        old = kube.facts("1.20.2", "2.1.9")
        self.assertIn("speaks CRI v1alpha2", self.causes("version", facts=old)[0])
        self.assertIn("kubernetes_version is 1.36.2", self.causes("version", version="1.36.2")[0])
        self.assertEqual(self.causes("version", facts=kube.facts("1.20.2")), [])


if __name__ == "__main__":
    unittest.main()
