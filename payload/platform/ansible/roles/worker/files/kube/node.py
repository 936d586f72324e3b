"""What is on this node: programs, files, versions. Everything that reads the machine goes through `Node`, so that tests replace it."""

import ipaddress
import json
import os
import re
import subprocess
import urllib.error
import urllib.request

SETTINGS = "/etc/kubedos-kubernetes/settings.json"
ADMIN = "/etc/kubernetes/admin.conf"
KUBELET = "/etc/kubernetes/kubelet.conf"
# What the registry may answer with (OCI image-spec 1.1, Docker's manifest schema 2).
MANIFESTS = ", ".join("application/vnd." + kind for kind in (
    "oci.image.index.v1+json", "oci.image.manifest.v1+json", "docker.distribution.manifest.list.v2+json",
    "docker.distribution.manifest.v2+json"))


class Failed(Exception):
    """The words for the operator."""


class Node:
    """The machine below `root`; a root that is not empty is a test's, or that of a rendering."""

    def __init__(self, root=""):
        self.root = root

    def read(self, path):
        """The text of a file; empty if there is none."""
        try:
            with open(self.root + path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def exists(self, path):
        return os.path.lexists(self.root + path)

    def names(self, path):
        return sorted(os.listdir(self.root + path)) if os.path.isdir(self.root + path) else []

    def run(self, *argv, timeout=60, **more):
        """Exit code, output, errors; 127 if there is no such program."""
        env = dict(os.environ, LC_ALL="C.UTF-8", **more.pop("env", {}))
        try:
            done = subprocess.run([str(a) for a in argv], stdin=None if "input" in more else subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=timeout, check=False, env=env, **more)
        except FileNotFoundError:
            return 127, "", "%s: no such program" % argv[0]
        except subprocess.TimeoutExpired:
            return 124, "", "%s: no end after %d s" % (argv[0], timeout)
        return done.returncode, done.stdout, done.stderr

    def ask(self, *argv, **more):
        """The output of a program that has to succeed."""
        code, out, err = self.run(*argv, **more)
        if code:
            raise Failed("%s: %s" % (" ".join(str(a) for a in argv[:4]), (err.strip() or out.strip() or "exit code %d" % code)[-600:]))
        return out

    def manifest(self, registry, image):
        """The digest of an image in the registry; None if it is not there, and an error if the registry does not answer."""
        name, version = split(image)
        request = urllib.request.Request("http://%s/v2/%s/manifests/%s" % (registry, name, version), method="HEAD",
                                         headers={"Accept": MANIFESTS})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.headers.get("Docker-Content-Digest") or "unknown"
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise Failed("the registry %s says %d for %s" % (registry, error.code, image)) from error
        except OSError as error:
            raise Failed("the registry %s does not answer: %s" % (registry, error)) from error


def split(image):
    """Name with registry, and tag or digest; an image with both is asked for by its digest."""
    name, _, digest = image.partition("@")
    base, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        base, tag = name, "latest"
    return base, digest or tag


def settings(node, path=SETTINGS):
    text = node.read(path)
    if not text:
        raise Failed("%s is missing" % path)
    conf = json.loads(text)
    # The name server of pods, as kubeadm's CoreDNS has it.
    conf["dns"] = str(ipaddress.ip_network(conf["services"])[10]) if conf["services"] else ""
    return conf


def minor(version):
    """36 of `v1.36.2`."""
    match = re.match(r"v?1\.(\d+)\.", version)
    if not match:
        raise Failed("%r is not a version of Kubernetes" % version)
    return int(match[1])


def kubeadm_version(node):
    """The version of the installed kubeadm, as `1.36.2`."""
    return node.ask("kubeadm", "version", "-o", "short").strip().lstrip("v")


def kubeadm_images(node, version, prefix=""):
    """Component to image, by the list of the installed kubeadm. The version is given: without it kubeadm asks the internet."""
    argv = ["kubeadm", "config", "images", "list", "--kubernetes-version", "v" + version]
    out = node.ask(*argv, *(["--image-repository", prefix] if prefix else []))
    found = {}
    for line in out.splitlines():
        if ":" in line:
            found[split(line.strip())[0].rpartition("/")[2]] = line.strip()
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "pause", "coredns"):
        if name not in found:
            raise Failed("kubeadm's list of images has no %s" % name)
    return found


def containerd_version(node):
    match = re.search(r"[ v](\d+\.\d+\.\d+)", node.ask("containerd", "--version"))
    if not match:
        raise Failed("containerd does not say its version")
    return match[1]


def facts(node, conf):
    """What the files are rendered from, beside the settings."""
    version = kubeadm_version(node)
    kubelet = re.sub(r"^\D*", "", node.ask("kubelet", "--version").strip())
    if kubelet != version:
        raise Failed("kubelet is %s and kubeadm is %s; the extras have to have the same version of both" % (kubelet, version))
    mtu = node.read("/sys/class/net/%s/mtu" % conf["plane"]).strip()
    return {"kubernetes": version, "images": kubeadm_images(node, version, conf.get("images") or ""),
            "containerd": containerd_version(node), "mtu": int(mtu or 1420), "certificates": certificates_id(node, conf),
            "underlay": underlay(node, conf)}


def certificates_id(node, conf):
    """Changes with the certificates of the control plane: not everything reads them again."""
    import hashlib  # pylint: disable=import-outside-toplevel

    held = hashlib.sha256()
    for folder in ("etcd", "kubernetes", "front-proxy"):
        for name in node.names("%s/%s" % (conf["pki"], folder)):
            if name.endswith(".pem"):
                held.update(("%s/%s:" % (folder, name)).encode() + node.read("%s/%s/%s" % (conf["pki"], folder, name)).encode())
    return held.hexdigest()[:16]


def underlay(node, conf):
    """Interfaces of the boot network."""
    if not conf.get("underlay"):
        return []
    _, out, _ = node.run("ip", "-o", "-4", "address", "show", "to", conf["underlay"])
    return sorted({line.split()[1] for line in out.splitlines() if len(line.split()) > 1})


def kubectl(node, *argv, conf=ADMIN, **more):
    # Without a cache it asks for every group of the API first.
    more.setdefault("timeout", 150)
    return node.ask("kubectl", "--kubeconfig", conf, "--request-timeout=30s", *argv, **more)
