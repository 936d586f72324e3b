"""A Kubernetes node for tests: settings, facts, and a machine whose files and programs are a dictionary."""

import os
import sys

import fixture

LIBRARY = fixture.ANSIBLE + "/roles/worker/files/kube"
sys.path.insert(0, LIBRARY)

import node as machine  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = fixture.ANSIBLE + "/roles/worker/files/kubedos-kube"
# The lists of kubeadm: component to tag. From the sources of each version; a node asks its own kubeadm.
TAGS = {
    "1.20.2": ("k8s.gcr.io", "3.2", "1.7.0", "coredns"),
    "1.34.9": ("registry.k8s.io", "3.10.1", "v1.12.1", "coredns/coredns"),
    "1.35.4": ("registry.k8s.io", "3.10.1", "v1.13.1", "coredns/coredns"),
    "1.36.4": ("registry.k8s.io", "3.10.2", "v1.14.2", "coredns/coredns"),
    "1.37.1": ("registry.k8s.io", "3.10.2", "v1.14.3", "coredns/coredns"),
}


def images(version):
    registry, pause, coredns, name = TAGS[version]
    parts = {n: "%s/%s:v%s" % (registry, n, version) for n in
             ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")}
    return dict(parts, pause="%s/pause:%s" % (registry, pause), coredns="%s/%s:%s" % (registry, name, coredns))


def settings(control=True, **more):
    """What the template writes for the node with number 5."""
    conf = {
        "name": "cp1" if control else "w1", "control_plane": control, "control_planes": 3, "address": "10.80.0.5", "plane": "wg3",
        "plane_cidr": "10.80.0.0/16", "underlay": "10.44.0.105", "vip": "10.80.255.1",
        "networks": ["10.78.0.0/16", "10.79.0.0/16", "10.80.0.0/16", "10.244.0.0/16", "10.96.0.0/16"],
        "etcd": ["https://10.80.0.%d:2379" % n for n in (2, 3, 4)], "pods": "10.244.0.0/16", "services": "10.96.0.0/16",
        "range": "10.244.5.0/24", "domain": "cluster.local", "resolver": "10.78.0.1", "registry": "10.44.0.1:8080", "sandbox": "",
        "pki": "/etc/kubedos/pki", "cni": "wireguard", "version": "", "images": "", "wait": 1200, "kubelet": {}, "schedule": False, "lease": 15,
        "proxy": True, "coredns": True, "dns": "10.96.0.10", "cilium": {"version": "", "helm": "helm", "values": {}}}
    conf.update(more)
    return conf


def facts(version="1.36.4", containerd="1.7.24"):
    return {"kubernetes": version, "images": images(version), "containerd": containerd, "mtu": 1420, "certificates": "0123456789abcdef",
            "underlay": ["ens3"]}


CONTAINERD = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10.2"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = true
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
"""
HOSTS = """server = "http://10.44.0.1:8080"
[host."http://10.44.0.1:8080"]
  capabilities = ["pull", "resolve"]
"""
FORWARD = 'chain forward {\n iifname "cni0" oifname "wg3" accept\n}'
TRACKING = "0A4E0001,10.78.0.1,3,1764454579.1,0.000012,0.0,0.0,1.0,0.0,0.1,0.01,0.001,64.2,Normal\n"


class Machine(machine.Node):
    """A node where everything is in order, until a test changes `files`, `says` or `held`."""

    def __init__(self, conf, version="1.36.4"):
        super().__init__()
        import render  # pylint: disable=import-outside-toplevel

        self.files = {
            "/etc/containerd/config.toml": CONTAINERD, "/etc/containerd/certs.d/_default/hosts.toml": HOSTS,
            "/run/kubedos/vips": "wg3 10.80.255.1 10.80.0.9\n", "/sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
            "/proc/swaps": "Filename Type Size Used Priority\n", "/proc/sys/kernel/hostname": conf["name"] + "\n",
            "/proc/sys/net/bridge/bridge-nf-call-iptables": "1\n", "/proc/sys/net/ipv4/ip_forward": "1\n"}
        self.files.update({"/usr/lib/cni/" + name: "" for name in ("bridge", "host-local", "portmap", "loopback")})
        for source, _, _ in render.certificates(conf):
            self.files[source] = source.rpartition("/")[0]
        self.says = {"ip -o -4 address show dev wg3": "5: wg3 inet 10.80.0.5/16 scope global wg3\n",
                     "chronyc -n -c tracking": TRACKING, "nft list chain inet kubedos forward": FORWARD,
                     "wg show wg3 endpoints": "a=\t10.44.0.101:51823\nb=\t(none)\n",
                     "wg show wg3 allowed-ips": "a=\t10.80.0.2/32 10.244.2.0/24\nb=\t10.80.0.1/32\n"}
        self.held = set(images(version).values())

    def read(self, path):
        return self.files.get(path, "")

    def exists(self, path):
        return path in self.files

    def names(self, path):
        return sorted({p[len(path) + 1:].split("/")[0] for p in self.files if p.startswith(path + "/")})

    def run(self, *argv, **more):
        said = self.says.get(" ".join(argv), "")
        return (0, said, "") if said is not None else (1, "", "no")

    def manifest(self, registry, image):
        return "sha256:0" if image in self.held else None


def compare(test, name, text):
    """With a golden; KUBEDOS_BLESS=1 writes it."""
    path = golden(name)
    if os.environ.get("KUBEDOS_BLESS"):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    with open(path, encoding="utf-8") as file:
        test.assertEqual(file.read(), text)


def golden(name):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", name)
