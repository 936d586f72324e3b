"""What the plays write, against the real programs of Kubernetes 1.20.2 (KUBEDOS_KUBE_FIXTURE: the folder of the fixture)."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
# What differs from kubeadm's static pods, and why.
DIFFERENT = {
    "kube-apiserver": {
        "only kubeadm": [
            # There are no tokens.
            "--enable-bootstrap-token-auth=true",
            # A certificate in the place of the public key.
            "--service-account-key-file=/etc/kubernetes/pki/sa.pub"],
        "only here": ["--service-account-key-file=/etc/kubernetes/pki/sa.crt"]},
    "kube-controller-manager": {
        "only kubeadm": [
            # Ranges follow the numbers of nodes, so the controller manager needs to know neither network.
            "--cluster-cidr=10.244.0.0/16", "--service-cluster-ip-range=10.96.0.0/16",
            # The key of the authority is in the vault.
            "--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt", "--cluster-signing-key-file=/etc/kubernetes/pki/ca.key",
            "--controllers=*,bootstrapsigner,tokencleaner"],
        "only here": ["--controllers=*,-csrsigning"]},
    "kube-scheduler": {"only kubeadm": [], "only here": []},
}


class Real(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="kubedos-kube-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-B",
                HERE + "/kube_real.py", cls.dir, os.environ["KUBEDOS_KUBE_FIXTURE"]]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=1100, check=False, cwd=HERE)
        if done.returncode:
            raise AssertionError(done.stdout[-2000:] + done.stderr[-6000:])
        cls.found = json.loads(done.stdout)

    def codes(self, key):
        return [code for code, _ in self.found[key]]

    def test_the_flags_are_kubeadms_but_for_those_that_are_listed(self):
        self.assertEqual(self.found["flags"], DIFFERENT)
        # kubeadm wrote its own; the next run writes ours again, and the one after it nothing.
        self.assertEqual((self.codes("render"), self.found["again"]), ([3, 3, 3], [3, 0]), self.found["render"])

    def test_control_planes_start_in_any_order_on_one_etcd_and_nodes_register(self):
        for key in ("register", "ready"):
            self.assertEqual(self.codes(key), [0, 0, 0], self.found[key])
        self.assertEqual(self.found["pods"], 2)

    def test_each_node_has_the_range_of_its_number_and_no_right_to_another(self):
        self.assertEqual((self.codes("range"), self.codes("range again")), ([3, 3, 3], [0]), self.found["range"])
        ranges = {name: node["range"] for name, node in self.found["nodes"].items()}
        self.assertEqual(ranges, {"cp1": "10.244.5.0/24", "cp2": "10.244.6.0/24", "w1": "10.244.7.0/24"})
        self.assertIn("forbidden", self.found["other's range"][1].lower())

    def test_a_node_may_delete_its_own_object_and_no_other(self):
        self.assertEqual(self.codes("delete"), [1, 0], self.found["delete"])
        self.assertIn("forbidden", self.found["delete"][0][1].lower())

    def test_what_kubeadm_writes_to_the_api_is_there_once_and_the_same_from_each(self):
        self.assertEqual(self.codes("apply"), [3, 0, 3], self.found["apply"])
        self.assertEqual((self.found["proxy"], self.found["coredns"]), ("k8s.gcr.io/kube-proxy:v1.20.2", "10.96.0.10"))
        self.assertLessEqual({"kubeadm-config", "kube-proxy", "coredns", "kubelet-config-1.20"}, set(self.found["maps"]))
        for name in ("cp1", "cp2"):
            node = self.found["nodes"][name]
            self.assertIn("node-role.kubernetes.io/control-plane", node["labels"])
            self.assertIn({"effect": "NoSchedule", "key": "node-role.kubernetes.io/master"}, node["taints"])
        self.assertNotIn("node-role.kubernetes.io/master", self.found["nodes"]["w1"]["labels"])

    def test_there_is_one_key_of_service_accounts_and_no_bootstrap_token(self):
        self.assertEqual(self.found["token"], {"good": 200, "bad": 401})
        self.assertEqual(self.found["secrets"], [])

    def test_the_check_says_whether_the_node_is_ready(self):
        (before, why), (after, said) = self.found["health"]
        self.assertEqual((before, after), (1, 0), self.found["health"])
        self.assertIn("not Ready", why)
        self.assertEqual(said, "cp1 Ready, v1.20.2, the API answers, and a service; 1 of 3 nodes Ready (not: cp2, w1), no pods on "
                               "other nodes yet")

    def test_the_api_server_may_use_kubelets_and_nothing_else(self):
        self.assertEqual(self.found["kubelet"], ["yes", "no"])


if __name__ == "__main__":
    unittest.main()
