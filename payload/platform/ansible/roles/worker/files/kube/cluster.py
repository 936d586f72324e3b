"""What a node does with the API: waiting for it, its records, addons, ranges of pods, health."""

import concurrent.futures
import hashlib
import ipaddress
import json
import os
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request

import network
import render
from node import ADMIN, KUBELET, Failed, kubectl

# This program, for a question that is asked in the network of a pod.
PROGRAM = os.path.abspath(sys.argv[0])
CHART = "/etc/kubedos-kubernetes/cilium.yaml"
CONFIG = render.CONFIG + "/kubeadm.yaml"
APPLIED = "/var/lib/kubedos-service/kubernetes-applied"


# Seconds that a range may wait for the kubelet: less than a command of the play may take.
REGISTER = 200
# Seconds for one answer of an API server that has only just started, on an emulated machine.
SLOW = 30
# Pods that are asked for at most: one on each node is enough.
PODS = 1000


def get(url, folder, certificate=None, timeout=5):
    """Status and body of an answer whose certificate is the authority's in `folder`."""
    context = ssl.create_default_context(cafile=folder + "/ca.crt")
    # As for etcd: Python 3.13 asks for extensions that the authorities do not have.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if certificate:
        context.load_cert_chain(certificate + ".crt", certificate + ".key")
    try:
        with urllib.request.urlopen(url, timeout=timeout, context=context) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def api(node, server):
    """Whether the API answers: None, or why not."""
    try:
        status, body = get(server + "/readyz", node.root + render.PKI)
    except OSError as error:
        return "%s: %s" % (server, getattr(error, "reason", error))
    return None if status == 200 else "%s/readyz: %d %s" % (server, status, body[-200:])


def wait(what, limit, check, pause=3.0):
    """Repeats `check` until it says None; fails with its last words after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        why = check()
        if why is None:
            return
        if time.monotonic() >= end:
            raise Failed("%s after %d s: %s" % (what, limit, why))
        time.sleep(pause)


def servers(conf):
    """The node's own API server first, then the virtual address, which needs load balancers that know of it."""
    vip = "https://%s:%d" % (conf["vip"], render.API_PORT)
    return [render.endpoint(conf), vip] if conf["control_plane"] else [vip]


def ready(node, conf):
    """Once; the play repeats it."""
    for server in servers(conf):
        why = api(node, server)
        if why:
            raise Failed("no Kubernetes API: " + why)
    why = registered(node, conf)
    if why:
        raise Failed("the node is not registered: " + why)


def own_node(node, conf, timeout=5):
    """The node's object, with the kubelet's certificate."""
    return asked(node, conf, "/api/v1/nodes/" + conf["name"], render.KUBELET_PKI + "/kubelet-client", timeout)


def registered(node, conf):
    try:
        own_node(node, conf, SLOW)
    except Failed as failed:
        return str(failed)
    return None


def give_range(node, conf):
    """The range of pods as Kubernetes knows it; Cilium reads it there. True if it was set."""
    held = own_node(node, conf, SLOW)["spec"].get("podCIDR")
    if held == conf["range"]:
        return False
    if held:
        # Another machine had the name, with another number. A range cannot be changed; the kubelet registers again.
        kubectl(node, "delete", "node", conf["name"], "--wait=false", conf=KUBELET)
        node.ask("systemctl", "restart", "kubelet.service")
        wait("the node is not registered", REGISTER, lambda: registered(node, conf))
    patch = {"spec": {"podCIDR": conf["range"], "podCIDRs": [conf["range"]]}}
    kubectl(node, "patch", "node", conf["name"], "-p", json.dumps(patch), conf=KUBELET)
    return True


# On control planes.

def phases(conf):
    """kubeadm's phases that write to the API; each changes nothing the second time. They are the same in every version."""
    found = [["upload-config", "all"], ["mark-control-plane"]]
    found += [["addon", "coredns"]] if conf["coredns"] else []
    found += [["addon", "kube-proxy"]] if conf["proxy"] else []
    return found


def apply(node, conf):
    """Writes the cluster's own objects with the admin's certificate. True if something was new since the last run here."""
    wanted = digest(node, conf)
    if node.read(APPLIED) == wanted:
        return False
    # kubectl fetches the schema of the whole API first.
    kubectl(node, "apply", "--request-timeout=120s", "-f", render.CONFIG + "/rbac.yaml", timeout=300)
    for phase in phases(conf):
        argv = ["kubeadm", "init", "phase", *phase, "--config", CONFIG]
        node.ask(*argv, timeout=300, env={"KUBECONFIG": ADMIN})
    if conf["cni"] == "cilium":
        kubectl(node, "apply", "--server-side", "--force-conflicts", "-f", CHART, timeout=300)
    os.makedirs(os.path.dirname(node.root + APPLIED), mode=0o700, exist_ok=True)
    with open(node.root + APPLIED, "w", encoding="ascii") as file:
        file.write(wanted)
    return True


def digest(node, conf):
    held = hashlib.sha256(repr(phases(conf)).encode())
    for path in (CONFIG, render.CONFIG + "/rbac.yaml", CHART if conf["cni"] == "cilium" else ""):
        held.update(b"\0" + node.read(path).encode() if path else b"\0")
    return held.hexdigest()


def chart(node, conf):
    """Renders Cilium's chart of the extras with the program helm of the extras. True if it is another one."""
    held = conf.get("cilium") or {}
    if conf["cni"] != "cilium" or not conf["control_plane"]:
        return False
    for name in ("version", "sha256", "helm_sha256"):
        if not held.get(name):
            raise Failed("cilium_%s is not set" % name)
    base, folder = "http://%s/darksite/extras" % conf["registry"], node.root + "/var/lib/kubedos-kubernetes"
    os.makedirs(folder, exist_ok=True)
    program, archive = folder + "/helm", "%s/cilium-%s.tgz" % (folder, held["version"])
    fetch("%s/files/%s" % (base, held.get("helm") or "helm"), program, 0o755, held["helm_sha256"])
    fetch("%s/charts/cilium-%s.tgz" % (base, held["version"]), archive, 0o644, held["sha256"])
    text = node.ask(program, "template", "cilium", archive, "--namespace", "kube-system", "--values", node.root + network.VALUES,
                    "--include-crds", timeout=300)
    changed = node.read(CHART) != text
    if changed:
        with open(node.root + CHART, "w", encoding="utf-8") as file:
            file.write(text)
    return changed


def fetch(url, path, mode, sha256):
    """Keeps a file that has this digest, else downloads it. It comes over plain HTTP and is run as root: the digest is in the
    variables, which the seed signed."""
    if os.path.isfile(path) and sha256_of(path) == sha256:
        return
    new = path + ".new"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, open(new, "wb") as file:
            while chunk := answer.read(1 << 20):
                file.write(chunk)
        found = sha256_of(new)
        if found != sha256:
            raise Failed("%s has sha256 %s, and the role's variables say %s" % (url, found, sha256))
        os.chmod(new, mode)
        os.rename(new, path)
    except OSError as error:
        raise Failed("%s: %s" % (url, error)) from error
    finally:
        if os.path.lexists(new):
            os.unlink(new)


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Health.

def condition(thing, kind):
    for held in (thing.get("status") or {}).get("conditions") or []:
        if held["type"] == kind:
            return held["status"] == "True", held.get("message", "")
    return False, "has no condition %s" % kind


def api_service(conf):
    """Address of the service `kubernetes`."""
    return str(ipaddress.ip_network(conf["services"])[1])


def service(address, timeout=4):
    """The service `kubernetes` takes a connection, by its address: what kube-proxy or Cilium does for it works here."""
    try:
        socket.create_connection((address, 443), timeout).close()
    except OSError as error:
        return "the service kubernetes (%s) does not answer: %s" % (address, error)
    return None


def pod_process(node):
    """A process of a pod with a network of its own; None if there is no such pod here."""
    _, listed, _ = node.run("ctr", "-n", "k8s.io", "tasks", "list")
    for line in listed.splitlines()[1:]:
        fields = line.split()
        if len(fields) == 3 and fields[2] == "RUNNING" and fields[1].isdigit():
            try:
                if os.readlink("/proc/%s/ns/net" % fields[1]) != os.readlink("/proc/self/ns/net"):
                    return fields[1]
            except OSError:
                pass
    return None


def inside(process, *argv):
    """A command in the network of a pod, or in the node's."""
    return (["nsenter", "-t", process, "-n"] if process else []) + list(argv)


def asked(node, conf, path, certificate, timeout=5):
    """An object of the API, with a certificate of this node. Without kubectl: a check has 60 seconds, on slow machines too."""
    try:
        status, body = get(render.endpoint(conf) + path, node.root + render.PKI, node.root + certificate, timeout)
    except OSError as error:
        raise Failed("%s: %s" % (path, getattr(error, "reason", error))) from error
    if status != 200:
        raise Failed("%s: %d %s" % (path, status, body[:200]))
    return json.loads(body)


def pods(node, conf, process):
    """A pod with an address of its own on each other node answers, asked from a pod of this node if there is one."""
    listed = asked(node, conf, "/api/v1/pods?fieldSelector=status.phase%%3DRunning&limit=%d" % PODS, render.PKI + "/admin")["items"]
    others = {}
    for pod in listed:
        address, on = pod["status"].get("podIP"), pod["spec"].get("nodeName")
        if pod["spec"].get("hostNetwork") or not address or not condition(pod, "Ready")[0]:
            continue
        if on != conf["name"]:
            others.setdefault(on, address)

    def silent(item):
        return node.run(*inside(process, "ping", "-c", "1", "-W", "3", "-q", item[1]), timeout=10)[0] != 0

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(silent, sorted(others.items())))
    return len(others), ["%s (%s)" % (address, on) for (on, address), bad in zip(sorted(others.items()), answers) if bad]


def health(node, conf):
    """One line; a Failed if the node is not healthy."""
    code, out, _ = node.run("systemctl", "is-active", "kubelet.service")
    if code:
        raise Failed("kubelet.service is %s" % out.strip())
    for server in servers(conf):
        why = api(node, server)
        if why:
            raise Failed(why)
    own = own_node(node, conf)
    good, why = condition(own, "Ready")
    if not good:
        raise Failed("the node is not Ready: %s" % why[:200])
    version, process = own["status"]["nodeInfo"]["kubeletVersion"], pod_process(node)
    if conf["proxy"] or conf["cni"] == "cilium":
        code, out, err = node.run(*inside(process, sys.executable, PROGRAM, "service", api_service(conf)), timeout=25)
        if code:
            raise Failed((out.strip() or err.strip() or "no answer")[-300:])
    said = "%s Ready, %s, the API answers, and a service%s" % (conf["name"], version, " from a pod" if process else "")
    return said if not conf["control_plane"] else said + "; " + cluster_health(node, conf, process)


def cluster_health(node, conf, process):
    nodes = asked(node, conf, "/api/v1/nodes", render.PKI + "/admin")["items"]
    bad = [n["metadata"]["name"] for n in nodes if not condition(n, "Ready")[0]]
    skew = sorted({n["status"]["nodeInfo"]["kubeletVersion"] for n in nodes} - {""})
    # A worker that is away is its own failure; a control plane that fails with it would stop the roll-out that repairs it.
    text = "%d of %d nodes Ready%s" % (len(nodes) - len(bad), len(nodes), " (not: %s)" % ", ".join(bad) if bad else "")
    if len(skew) > 1:
        text += ", versions %s" % ", ".join(skew)
    count, silent = pods(node, conf, process)
    if silent:
        raise Failed("%s; pods do not answer: %s" % (text, ", ".join(silent)))
    return text + (", pods of %d other nodes answer" % count if count else ", no pods on other nodes yet")
