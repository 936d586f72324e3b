"""Kubernetes: what kubedos-kube runs and writes on a node."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import kube  # first: the others are in its library
import cluster
import network
import render
from node import Failed


class Range(unittest.TestCase):
    """The range of pods as Kubernetes gets to know it."""

    def ran(self, *objects):
        """What was run, and whether something was changed, if the API gives these objects one after the other."""
        answers, said = list(objects), []

        def asked(node, conf, path, certificate, timeout=5):
            self.assertEqual((path, certificate), ("/api/v1/nodes/w1", render.KUBELET_PKI + "/kubelet-client"))
            answer = answers.pop(0)
            if isinstance(answer, Failed):
                raise answer
            return answer

        held = cluster.asked
        cluster.asked = asked
        self.addCleanup(setattr, cluster, "asked", held)
        node = kube.Machine(kube.settings(False))
        node.run = lambda *argv, **more: said.append(" ".join(argv)) or (0, "", "")
        changed = cluster.give_range(node, kube.settings(False))
        self.assertEqual(answers, [])
        return changed, said

    SET = ('kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=30s patch node w1 -p '
           '{"spec": {"podCIDR": "10.244.5.0/24", "podCIDRs": ["10.244.5.0/24"]}}')

    def test_a_new_node_gets_its_range_once(self):
        self.assertEqual(self.ran({"spec": {}}), (True, [self.SET]))
        self.assertEqual(self.ran({"spec": {"podCIDR": "10.244.5.0/24"}}), (False, []))

    def test_a_node_with_another_number_registers_again_before_it_gets_its_range(self):
        changed, said = self.ran({"spec": {"podCIDR": "10.244.9.0/24"}}, {"spec": {}})
        self.assertTrue(changed)
        self.assertEqual([line.split(" --request-timeout=30s ")[-1] for line in said[:2]],
                         ["delete node w1 --wait=false", "systemctl restart kubelet.service"])
        self.assertEqual(said[2:], [self.SET])


class Packages(unittest.TestCase):
    """What kubedos-kube does with the programs of the node, which say what the test gives them."""

    def setUp(self):
        import importlib.machinery  # pylint: disable=import-outside-toplevel
        import importlib.util  # pylint: disable=import-outside-toplevel

        os.environ["KUBEDOS_KUBE_LIBRARY"] = kube.LIBRARY
        loader = importlib.machinery.SourceFileLoader("kubedos_kube", kube.PROGRAM)
        self.program = importlib.util.module_from_spec(importlib.util.spec_from_loader("kubedos_kube", loader))
        loader.exec_module(self.program)
        self.conf = kube.settings(False)
        self.node = kube.Machine(self.conf)
        self.ran = []
        run = self.node.run

        def noted(*argv, **more):
            self.ran.append(" ".join(argv))
            return run(*argv, **more)

        self.node.run = noted

    def has(self, **versions):
        rows = "".join("%s %s installed\n" % pair for pair in versions.items())
        query = "dpkg-query -W -f ${Package} ${Version} ${db:Status-Status}\n kubelet kubeadm kubectl"
        self.node.says[query] = rows

    def install(self, check=False, **more):
        self.ran.clear()
        return self.program.install(self.node, dict(self.conf, **more), type("Args", (), {"check": check}))

    def test_what_is_installed_is_not_installed_again(self):
        self.has(kubelet="1.36.2-1.1", kubeadm="1.36.2-1.1", kubectl="1.36.2-1.1")
        self.assertFalse(self.install() or self.install(version="1.36.2"))
        self.assertTrue(self.install(True, version="1.36.20") and self.install(True, version="1.36.1"))
        self.has(kubelet="1.36.2-1.1", kubeadm="1.36.2-1.1")
        self.assertTrue(self.install(True))
        self.assertEqual(len(self.ran), 1, "a check runs nothing")

    def test_the_version_of_the_extras_is_installed_before_the_kubelet_may_start(self):
        self.has(kubelet="1.35.4-1.1", kubeadm="1.35.4-1.1", kubectl="1.35.4-1.1")
        for name in self.program.PACKAGES:
            self.node.says["apt-cache -o Dir::Etc::SourceList=%s madison %s" % (self.program.SOURCES, name)] = (
                "%s | 1.36.20-1.1 | x\n%s | 1.36.2-1.1 | x\n" % (name, name))
        self.assertTrue(self.install(version="1.36.2"))
        installed = next(at for at, said in enumerate(self.ran) if " install " in said)
        self.assertTrue(self.ran[installed].endswith("install kubelet=1.36.2-1.1 kubeadm=1.36.2-1.1 kubectl=1.36.2-1.1"))
        self.assertLess(self.ran.index("systemctl mask kubelet.service"), installed)
        with self.assertRaisesRegex(Failed, "the extras have no kubelet 1.36.3, but 1.36.20-1.1, 1.36.2-1.1"):
            self.install(version="1.36.3")

    def test_the_image_of_sandboxes_becomes_kubeadms_unless_the_site_names_one(self):
        self.node.says["kubeadm version -o short"] = "v1.35.4\n"
        listed = "\n".join(kube.images("1.35.4").values()) + "\nregistry.k8s.io/etcd:3.6.6-0\n"
        self.node.says["kubeadm config images list --kubernetes-version v1.35.4"] = listed
        written = []
        self.program.put = lambda node, path, data, mode, check: written.append(data.decode()) or True
        self.assertFalse(self.program.sandbox(self.node, dict(self.conf, sandbox="r.example/pause:1"), None) or written)
        self.assertTrue(self.program.sandbox(self.node, self.conf, type("Args", (), {"check": False})))
        self.assertEqual(written, [kube.CONTAINERD.replace("pause:3.10.2", "pause:3.10.1")])


class Program(unittest.TestCase):
    """kubedos-kube below a folder, with given facts."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="kubedos-kube-")
        self.addCleanup(shutil.rmtree, self.dir)

    def run_it(self, conf, *argv, facts=None):
        path = self.dir + "/settings.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(conf, file)
        env = dict(os.environ, KUBEDOS_KUBE_LIBRARY=kube.LIBRARY, PYTHONDONTWRITEBYTECODE="1")
        done = subprocess.run([sys.executable, kube.PROGRAM, *argv, "--root", self.dir, "--settings", "/settings.json", "--facts",
                               json.dumps(facts or kube.facts())], capture_output=True, text=True, timeout=60, check=False, env=env)
        return done.returncode, done.stdout + done.stderr

    def test_a_second_run_changes_nothing(self):
        conf = kube.settings()
        self.assertEqual(self.run_it(conf, "render", "--check")[0], 3)
        self.assertFalse(os.path.exists(self.dir + "/etc/kubernetes"))
        code, said = self.run_it(conf, "render")
        self.assertEqual((code, "kube-apiserver.yaml" in said), (3, True), said)
        for again in ("render", "--check"), ("render",):
            self.assertEqual(self.run_it(conf, *again), (0, "\n"))
        key = os.stat(self.dir + "/etc/kubernetes/admin.conf")
        self.assertEqual(key.st_mode & 0o777, 0o600)
        newer = kube.facts("1.37.1")
        code, said = self.run_it(conf, "render", facts=newer)
        self.assertEqual(code, 3)
        self.assertIn("kube-scheduler.yaml", said)
        self.assertNotIn("kubelet.conf", said)

    def test_a_control_plane_that_becomes_a_worker_stops_its_pods(self):
        self.run_it(kube.settings(), "render")
        self.assertEqual(self.run_it(kube.settings(False), "render")[0], 3)
        self.assertEqual(os.listdir(self.dir + render.MANIFESTS), [])

    def test_the_other_network_takes_its_file_away(self):
        self.run_it(kube.settings(False), "render")
        self.assertTrue(os.path.exists(self.dir + network.CNI + "/10-kubedos.conflist"))
        self.run_it(kube.settings(False, cni="cilium", proxy=False), "render")
        self.assertFalse(os.path.exists(self.dir + network.CNI + "/10-kubedos.conflist"))


if __name__ == "__main__":
    unittest.main()
