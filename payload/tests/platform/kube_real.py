"""Two control planes of Kubernetes 1.20.2 on one etcd, in a network and a mount namespace of their own: what the plays render is
started at its real paths. Run by test_kube_real.py as `unshare … python3 kube_real.py FOLDER FIXTURE`; prints JSON.

There is no kubelet: it needs cgroup v2 and containerd. A node is registered with the kubelet's certificate instead."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import kube
import pki
import render
import yaml

VIP = "10.80.255.1"
LONG = 240
# Certificates that the seed issues: authority, name, subject, names.
NODE = [("kubernetes", "kubelet-client", "/O=system:nodes/CN=system:node:%s", None),
        ("kubernetes", "kubelet-server", "/CN=%s.kubedos.lan", "IP:%s")]
CONTROL = NODE + [
    ("kubernetes", "apiserver", "/CN=kube-apiserver", "IP:%s,IP:10.80.255.1,IP:10.96.0.1,DNS:kubernetes.default.svc"),
    ("kubernetes", "apiserver-kubelet-client", "/CN=kube-apiserver-kubelet-client", None),
    ("kubernetes", "controller-manager", "/CN=system:kube-controller-manager", None),
    ("kubernetes", "scheduler", "/CN=system:kube-scheduler", None),
    ("kubernetes", "admin", "/O=system:masters/CN=kubernetes-admin", None),
    ("front-proxy", "front-proxy-client", "/CN=front-proxy-client", None),
    ("etcd", "apiserver-etcd-client", "/CN=kube-apiserver-etcd-client", None)]


def run(*argv):
    subprocess.run(argv, check=True, capture_output=True, timeout=LONG)


def until(what, check):
    end = time.monotonic() + LONG
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(what)
        time.sleep(0.5)


class Root:
    """A node's root: its own /etc, /run and /var, and the programs of this machine and of the fixture."""

    def __init__(self, folder, fixture, name, address, control=True):
        self.dir, self.name, self.address, self.started = os.path.join(folder, name), name, address, []
        for path in ("etc/kubedos-kubernetes", "opt/bin", "opt/kube", "proc", "dev", "sys", "tmp", "run", "usr", "root",
                     "var/lib/kubedos-service", "var/log"):
            os.makedirs(os.path.join(self.dir, path))
        for link in ("bin", "sbin", "lib", "lib64"):
            os.symlink("usr/" + link, os.path.join(self.dir, link))
        for path in ("/usr", "/proc", "/dev", "/sys", fixture + "/bin"):
            target = self.dir + ("/opt/bin" if path.startswith(fixture) else path)
            run("mount", "--rbind", path, target)
        for file in os.listdir(kube.LIBRARY):
            if file.endswith(".py"):
                shutil.copy(os.path.join(kube.LIBRARY, file), self.dir + "/opt/kube/" + file)
        shutil.copy(kube.PROGRAM, self.dir + "/opt/kubedos-kube")
        for program, script in (("containerd", "echo containerd x 1.7.24"), ("systemctl", "exit 0")):
            self.write("/opt/stub/" + program, "#!/bin/sh\n%s\n" % script, 0o755)
        self.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        conf = kube.settings(control, name=name, address=address, vip=VIP, etcd=["https://10.80.0.2:2379"], wait=LONG,
                             range="10.244.%s.0/24" % address.rpartition(".")[2])
        del conf["dns"]
        self.write("/etc/kubedos-kubernetes/settings.json", json.dumps(conf))

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.dir + path), exist_ok=True)
        with open(self.dir + path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.dir + path, mode)

    def issue(self, authorities, wanted):
        for authority, name, subject, names in wanted:
            folder = "%s/etc/kubedos/pki/%s" % (self.dir, authority)
            subject = subject % self.name if "%s" in subject else subject
            names = (names % self.address if names and "%s" in names else names)
            pki.leaf(authorities + "/" + authority, folder, name, [names] if names else [], subject)
        # One key on every control plane.
        if any(name == "admin" for _, name, _, _ in wanted):
            for end in ("pem", "key"):
                shutil.copy("%s/service-accounts.%s" % (authorities, end), "%s/etc/kubedos/pki/kubernetes/" % self.dir)
        for authority in os.listdir(authorities):
            if os.path.isdir(authorities + "/" + authority) and os.path.isdir("%s/etc/kubedos/pki/%s" % (self.dir, authority)):
                shutil.copy("%s/%s/ca.pem" % (authorities, authority), "%s/etc/kubedos/pki/%s/ca.pem" % (self.dir, authority))

    def argv(self, *argv):
        env = ["env", "-i", "PATH=/opt/stub:/opt/bin:/usr/sbin:/usr/bin", "HOME=/root", "LC_ALL=C.UTF-8", "KUBEDOS_KUBE_LIBRARY=/opt/kube"]
        return ["chroot", self.dir] + env + list(argv)

    def say(self, *argv, **more):
        done = subprocess.run(self.argv(*argv), capture_output=True, text=True, timeout=LONG + 60, check=False, **more)
        return done.returncode, (done.stdout + done.stderr).strip()

    def kubedos(self, *argv):
        return self.say("/usr/bin/python3", "/opt/kubedos-kube", *argv)

    def admin(self, *argv, conf="admin", **more):
        return self.say("kubectl", "--kubeconfig", "/etc/kubernetes/%s.conf" % conf, *argv, **more)

    def json(self, *argv):
        code, said = self.admin(*argv, "-o", "json")
        assert code == 0, said
        return json.loads(said)

    def start(self, name, argv):
        with open("%s/var/log/%s" % (self.dir, name), "ab") as log:
            self.started.append(subprocess.Popen(self.argv(*argv), stdout=log, stderr=log, cwd="/"))

    def command(self, name):
        with open("%s/etc/kubernetes/manifests/%s.yaml" % (self.dir, name), encoding="utf-8") as file:
            return yaml.safe_load(file)["spec"]["containers"][0]["command"]

    def log(self, name):
        with open("%s/var/log/%s" % (self.dir, name), encoding="utf-8", errors="replace") as file:
            return file.read()[-2500:]


def forward(to, at=VIP, port=6443):
    """The virtual address, as HAProxy does it, or a service, as kube-proxy does."""
    door = socket.create_server((at, port))

    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve():
        while True:
            visitor, _ = door.accept()
            try:
                inner = socket.create_connection((to, 6443), 10)
            except OSError:
                visitor.close()
                continue
            inner.settimeout(None)
            for pair in ((visitor, inner), (inner, visitor)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def authorities(folder):
    for name in ("etcd", "kubernetes", "front-proxy"):
        pki.authority("%s/%s" % (folder, name), name)
    pki.leaf(folder + "/kubernetes", folder + "/shared", "service-accounts", [], "/CN=service-accounts")
    for end in ("pem", "key"):
        os.rename("%s/shared/service-accounts.%s" % (folder, end), "%s/service-accounts.%s" % (folder, end))
    shutil.rmtree(folder + "/shared")


def network(addresses):
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "wg3", "type", "dummy")
    for address in addresses:
        run("ip", "address", "add", address + "/16", "dev", "wg3")
    run("ip", "link", "set", "wg3", "mtu", "1420", "up")


def etcd(root, held):
    """On the first control plane, with the certificate of a server."""
    pki.leaf(held + "/etcd", root.dir + "/etc/etcd", "server", ["IP:10.80.0.2"], "/CN=etcd")
    program = shutil.which("etcd")
    shutil.copy(program, root.dir + "/opt/stub/etcd")
    files = ["--trusted-ca-file=/etc/etcd/ca.pem", "--cert-file=/etc/etcd/server.pem", "--key-file=/etc/etcd/server.key"]
    root.start("etcd", ["etcd", "--data-dir=/var/lib/etcd", "--client-cert-auth", *files, "--listen-client-urls=https://10.80.0.2:2379",
                        "--advertise-client-urls=https://10.80.0.2:2379", "--listen-peer-urls=http://127.0.0.1:2380"])


def register(root, name):
    """What a kubelet does first."""
    return root.admin("create", "-f", "-", conf="kubelet", input=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))


def difference(root):
    """Flags of kubeadm's own static pods that ours do not have, and the other way round."""
    ours = {name: set(root.command(name)[1:]) for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")}
    code, said = root.say("kubeadm", "init", "phase", "control-plane", "all", "--config", "/etc/kubedos-kubernetes/kubeadm.yaml")
    assert code == 0, said
    found = {}
    for name, flags in ours.items():
        # The folder that kubeadm is told of has no authority in it.
        theirs = {flag.replace(render.NO_AUTHORITY, render.PKI) for flag in root.command(name)[1:]}
        found[name] = {"only kubeadm": sorted(theirs - flags), "only here": sorted(flags - theirs)}
    return found


def main(folder, fixture):
    held = folder + "/authorities"
    authorities(held)
    network(["10.80.0.2", "10.80.0.5", "10.80.0.6", "10.80.0.7", VIP])
    first, second = (Root(folder, fixture, name, address) for name, address in (("cp1", "10.80.0.5"), ("cp2", "10.80.0.6")))
    worker = Root(folder, fixture, "w1", "10.80.0.7", control=False)
    for root in (first, second):
        root.issue(held, CONTROL)
    worker.issue(held, NODE)
    etcd(first, held)
    found = {"render": [root.kubedos("render") for root in (first, second, worker)], "flags": difference(first)}
    found["again"] = [first.kubedos("render")[0], first.kubedos("render")[0]]
    # The second one comes first.
    for root in (second, first):
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            root.start(name, root.command(name))
    forward("10.80.0.5")
    for root in (first, second):
        until("%s: no API: %s" % (root.name, root.log("kube-apiserver")), lambda r=root: r.admin("get", "--raw", "/readyz")[0] == 0)
    found["register"] = [register(root, root.name) for root in (first, second, worker)]
    found["ready"] = [root.kubedos("ready") for root in (first, second, worker)]
    found["range"] = [root.kubedos("range") for root in (first, second, worker)]
    found["range again"] = [worker.kubedos("range")]
    found["apply"] = [first.kubedos("apply"), first.kubedos("apply"), second.kubedos("apply")]
    found["other's range"] = worker.admin("patch", "node", "cp1", "-p", '{"metadata":{"annotations":{"x":"y"}}}', conf="kubelet")
    found["nodes"] = {n["metadata"]["name"]: {"range": n["spec"].get("podCIDR"), "taints": n["spec"].get("taints", []),
                                              "labels": sorted(n["metadata"]["labels"])} for n in second.json("get", "nodes")["items"]}
    found["delete"] = [worker.admin("delete", "node", name, conf="kubelet") for name in ("cp1", "w1")]
    found["proxy"] = first.json("-n", "kube-system", "get", "daemonset", "kube-proxy")["spec"]["template"]["spec"]["containers"][0]["image"]
    found["coredns"] = first.json("-n", "kube-system", "get", "service", "kube-dns")["spec"]["clusterIP"]
    found["maps"] = sorted(m["metadata"]["name"] for m in first.json("-n", "kube-system", "get", "configmaps")["items"])
    found["token"] = token(first, second)
    found["kubelet"] = [first.admin("auth", "can-i", verb, what, "--as", "kube-apiserver-kubelet-client")[1]
                        for verb, what in (("get", "nodes/proxy"), ("list", "secrets"))]
    found["pods"] = deployed(first)
    found["health"] = health(first)
    found["secrets"] = first.json("-n", "kube-system", "get", "secrets", "--field-selector", "type=bootstrap.kubernetes.io/token")["items"]
    print(json.dumps(found))


def token(first, second):
    """A token that one control plane's controller manager signed is taken by the other's API server."""
    def secret():
        listed = first.json("-n", "default", "get", "secrets")["items"]
        return next((s["data"]["token"] for s in listed if s["type"] == "kubernetes.io/service-account-token"), None)

    import base64  # pylint: disable=import-outside-toplevel
    import ssl  # pylint: disable=import-outside-toplevel
    import urllib.error  # pylint: disable=import-outside-toplevel
    import urllib.request  # pylint: disable=import-outside-toplevel

    text = base64.b64decode(until("no token of a service account", secret)).decode()
    context = ssl.create_default_context(cafile=second.dir + "/etc/kubernetes/pki/ca.crt")
    asked = {}
    for name, value in (("good", text), ("bad", text[:-4] + "AAAA")):
        request = urllib.request.Request("https://10.80.0.6:6443/api", headers={"Authorization": "Bearer " + value})
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                asked[name] = answer.status
        except urllib.error.HTTPError as error:
            asked[name] = error.code
    return asked


def health(root):
    """Before the node is Ready, and after the kubelet's certificate has said so."""
    import ssl  # pylint: disable=import-outside-toplevel
    import urllib.request  # pylint: disable=import-outside-toplevel

    before = root.kubedos("health")
    run("ip", "address", "add", "10.96.0.1/32", "dev", "lo")
    forward(root.address, "10.96.0.1", 443)
    context = ssl.create_default_context(cafile=root.dir + "/etc/kubernetes/pki/ca.crt")
    kubelet = root.dir + "/var/lib/kubelet/pki/kubelet-client"
    context.load_cert_chain(kubelet + ".crt", kubelet + ".key")
    status = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": dict.fromkeys((
        "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeProxyVersion",
        "operatingSystem", "architecture"), "x")}
    status["nodeInfo"]["kubeletVersion"] = "v1.20.2"
    request = urllib.request.Request("https://%s:6443/api/v1/nodes/%s/status" % (root.address, root.name), method="PATCH",
                                     data=json.dumps({"status": status}).encode(),
                                     headers={"Content-Type": "application/merge-patch+json"})
    urllib.request.urlopen(request, timeout=20, context=context).close()
    return [before, root.kubedos("health")]


def deployed(root):
    """Pods of a Deployment are made; without a kubelet they wait."""
    code, said = root.admin("create", "deployment", "x", "--image=x", "--replicas=2")
    assert code == 0, said
    return len(until("no pods", lambda: (lambda p: p if len(p) == 2 else None)(root.json("get", "pods", "-l", "app=x")["items"])))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except BaseException:
        for name in ("cp1", "cp2"):
            for log in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
                path = "%s/%s/var/log/%s" % (sys.argv[1], name, log)
                if os.path.exists(path):
                    with open(path, encoding="utf-8", errors="replace") as held_log:
                        print("==== %s %s\n%s" % (name, log, held_log.read()[-1500:]), file=sys.stderr)
        raise
