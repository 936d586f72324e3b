"""What has to be true before anything of Kubernetes starts: one line per cause. Each check yields the causes that it found.

`docs/platform/network.md` and `controlplane.md` say where each was seen in the field."""

import ipaddress
import re

import network
import render
import yaml
from node import Failed, containerd_version, kubeadm_images, minor, split

CONFIG = "/etc/containerd/config.toml"
HOSTS = "/etc/containerd/certs.d/_default/hosts.toml"
VIPS = "/run/kubedos/vips"
CGROUPS = "/sys/fs/cgroup/cgroup.controllers"
# Offset from the seed's clock beyond which certificates and leases of Kubernetes misbehave, in seconds.
CLOCK = 5.0
# Images that Cilium's chart needs and that are forgotten.
CILIUM = ("cilium", "operator-generic", "cilium-envoy", "certgen", "hubble-relay", "hubble-ui", "hubble-ui-backend")


def toml_values(text, key):
    """Every value of a key, in any table: `key = "value"` or a list of strings."""
    found = []
    for match in re.finditer(r'(?m)^\s*%s\s*=\s*(.*)$' % re.escape(key), text):
        found += re.findall(r"""["']([^"']*)["']""", match[1]) or [match[1].strip()]
    return found


def version(node, conf, facts):
    number = minor(facts["kubernetes"])
    if number not in render.TESTED:
        yield "Kubernetes %s is installed; these plays know 1.%s" % (facts["kubernetes"], ", 1.".join(map(str, render.TESTED)))
    if conf.get("version") and facts["kubernetes"] != conf["version"]:
        yield "Kubernetes %s is installed, and kubernetes_version is %s" % (facts["kubernetes"], conf["version"])
    if int(facts["containerd"].split(".")[0]) >= 2 and number < 26:
        yield "Kubernetes 1.%d speaks CRI v1alpha2, which containerd %s does not have" % (number, facts["containerd"])


def pause(node, conf, facts):
    """containerd has an image of its own for sandboxes, whatever kubeadm's list says (kubeadm#2900)."""
    text, wanted = node.read(CONFIG), facts["images"]["pause"]
    found = toml_values(text, "sandbox_image") + toml_values(text, "sandbox")
    if found != [wanted]:
        yield "containerd's sandbox image is %s, kubeadm's list has %s; set containers_sandbox_image" % (
            ", ".join(found) or "its own default", wanted)


def containerd(node, conf, facts):
    """Debian's containerd has other defaults than Kubernetes expects (cilium#23870, nerdctl#315)."""
    text = node.read(CONFIG)
    if not text:
        yield "%s is missing: the role needs the play containers" % CONFIG
        return
    if (toml_values(text, "bin_dir") or toml_values(text, "bin_dirs")) != ["/usr/lib/cni"]:
        yield "containerd looks for CNI plugins elsewhere than in /usr/lib/cni"
    if toml_values(text, "SystemdCgroup") != ["true"]:
        yield "containerd's SystemdCgroup is not true"
    if conf["cni"] == "wireguard":
        missing = [p for p in ("bridge", "host-local", "portmap", "loopback") if not node.exists("/usr/lib/cni/" + p)]
        if missing:
            yield "CNI plugins are missing in /usr/lib/cni: %s" % ", ".join(missing)
    elif network.values(conf, facts)["cni"].get("binPath") != "/usr/lib/cni":
        yield "cilium_values: cni.binPath has to be /usr/lib/cni, where containerd looks for plugins"


def registry(node, conf, facts):
    """Mirrors in containerd's own file are ignored, and hosts.toml has to resolve tags (containerd docs/hosts.md)."""
    text, hosts, seed = node.read(CONFIG), node.read(HOSTS), "http://" + conf["registry"]
    if "registry.mirrors" in text:
        yield "%s has registry.mirrors, which containerd ignores; images come by %s" % (CONFIG, HOSTS)
    if toml_values(text, "config_path") != ["/etc/containerd/certs.d"]:
        yield "containerd's config_path is not /etc/containerd/certs.d"
    if toml_values(hosts, "server") != [seed] or '[host."%s"]' % seed not in hosts:
        yield "%s does not name the seed %s alone" % (HOSTS, seed)
    if not {"pull", "resolve"} <= set(toml_values(hosts, "capabilities")):
        yield "%s: the seed's capabilities have to be pull and resolve" % HOSTS
    others = [n for n in node.names("/etc/containerd/certs.d") if n != "_default"]
    if others:
        yield "/etc/containerd/certs.d has other registries: %s" % ", ".join(others)


def wanted_images(conf, facts):
    names = ["pause"]
    if conf["control_plane"]:
        names += ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    names += (["kube-proxy"] if conf["proxy"] else []) + (["coredns"] if conf["coredns"] else [])
    return [facts["images"][name] for name in names]


def absent(node, conf, wanted):
    for image in wanted:
        try:
            if node.manifest(conf["registry"], image) is None:
                yield image
        except Failed as failed:
            yield "%s (%s)" % (image, failed)


def images(node, conf, facts):
    """The list is kubeadm's own, for the installed version, with names as the kubelet will ask for them (kubeadm#2751, #742)."""
    for image in absent(node, conf, wanted_images(conf, facts)):
        yield "the seed has no image %s; add it to the extras" % image


def cilium_images(node, conf, facts):
    """Every image of the chart, by its digest: operator-generic, envoy and certgen are forgotten (cilium#28178, kubespray#12534)."""
    if conf["cni"] != "cilium" or not conf["control_plane"]:
        return
    text = node.read("/etc/kubedos-kubernetes/cilium.yaml")
    found = sorted(set(images_of(text)))
    if not found:
        yield "Cilium's chart was not rendered: cilium_version, and the chart and the program helm among the extras"
        return
    bases = {split(image)[0].rpartition("/")[2] for image in found}
    lacks = [name for name in CILIUM if name not in bases]
    if lacks:
        yield "the rendered chart has no image %s" % ", ".join(lacks)
    for image in found:
        if "@sha256:" not in image:
            yield "%s has no digest: keep useDigest of the chart" % image
    for image in absent(node, conf, found):
        yield "the seed has no image %s; add its archive to the extras without pushing it again" % image


def images_of(text):
    """Images of rendered manifests, wherever they are; also those in a command of a job."""
    return [m[1] for m in re.finditer(r"""(?m)^\s*(?:-\s*)?"?image"?:\s*["']?([^\s"']+)""", text)]


def planes(node, conf, facts):
    """The network of pods is on the plane, and no tunnel goes through it (cilium#36491, calico#4326)."""
    if not conf.get("range"):
        yield "this node has no range of pods: its number is beyond networking.kubernetes.pods (%s)" % (conf.get("pods") or "none")
    code, out, _ = node.run("ip", "-o", "-4", "address", "show", "dev", conf["plane"])
    if code or not re.search(r"\binet %s/" % re.escape(conf["address"]), out):
        yield "%s does not have the address %s, which is the node's in Kubernetes" % (conf["plane"], conf["address"])
    inside = [ipaddress.ip_network(net) for net in conf["networks"]]
    _, ends, _ = node.run("wg", "show", conf["plane"], "endpoints")
    for line in ends.splitlines():
        address = line.partition("\t")[2].rpartition(":")[0]
        if re.fullmatch(r"[0-9.]+", address) and any(ipaddress.ip_address(address) in net for net in inside):
            yield "a peer's endpoint on %s is %s, which is inside a plane, of pods or of services" % (conf["plane"], address)
    _, held, _ = node.run("wg", "show", conf["plane"], "allowed-ips")
    if conf.get("range") and conf["range"] in held.split():
        yield "a peer on %s has this node's range of pods, %s" % (conf["plane"], conf["range"])
    if conf["cni"] == "cilium":
        wanted, mtu = network.values(conf, facts), facts["mtu"]
        if not wanted.get("devices"):
            yield "cilium_values: devices has to be a list of interfaces; Cilium would take the planes by itself"
        if wanted.get("routingMode") == "tunnel" and int(wanted.get("mtu") or mtu) > mtu - 50:
            yield "cilium_values: mtu has to be at most %d with routingMode tunnel" % (mtu - 50)


def hubble(node, conf, facts):
    """Certificates of the method helm end after a year (home-ops#2849)."""
    if conf["cni"] != "cilium":
        return
    held = network.values(conf, facts).get("hubble") or {}
    method = ((held.get("tls") or {}).get("auto") or {}).get("method")
    if held.get("enabled", True) and method not in ("cronJob", "certmanager"):
        yield "cilium_values: hubble.tls.auto.method is %s; its certificates end after a year, use cronJob" % method


def vip(node, conf, facts):
    """HAProxy and keepalived hold the address; kube-vip needs super-admin.conf, and an image before there is a cluster."""
    for name in node.names(render.MANIFESTS):
        if "kube-vip" in node.read("%s/%s" % (render.MANIFESTS, name)):
            yield "%s/%s is kube-vip: the virtual address is held by the play loadbalancer" % (render.MANIFESTS, name)
    if not conf.get("vip"):
        yield "lb_vip_wg3 is not set: nodes reach the API by the virtual address"
        return
    if ipaddress.ip_address(conf["vip"]) not in ipaddress.ip_network(conf["plane_cidr"]):
        yield "lb_vip_wg3 (%s) is not an address of %s (%s)" % (conf["vip"], conf["plane"], conf["plane_cidr"])
    holders = [line.split()[1] for line in node.read(VIPS).splitlines() if len(line.split()) == 3]
    _, own, _ = node.run("ip", "-o", "-4", "address", "show", "to", conf["vip"])
    if conf["vip"] not in holders and not own.strip():
        yield "no load balancer has announced the virtual address %s" % conf["vip"]


def kubeadm(node, conf, facts):
    """The shape of kubeadm's configuration changed, and etcd's client certificates were forgotten (kubernetes 1.31 notes)."""
    if not conf["control_plane"]:
        return
    wanted = "kubeadm.k8s.io/" + render.kubeadm_api(facts["kubernetes"])
    for document in yaml.safe_load_all(render.kubeadm_config(conf, facts)):
        if document["apiVersion"].startswith("kubeadm.k8s.io/") and document["apiVersion"] != wanted:
            yield "kubeadm %s reads %s" % (facts["kubernetes"], wanted)
        for part in (document.get("apiServer"), document.get("nodeRegistration"), document.get("controllerManager")):
            extra = (part or {}).get("extraArgs", (part or {}).get("kubeletExtraArgs", []))
            if isinstance(extra, dict) == (wanted >= "kubeadm.k8s.io/v1beta4"):
                yield "extraArgs has the wrong shape for %s" % wanted
    if not conf["etcd"]:
        yield "no node has the play etcd in a role that this one comes after"


def certificates(node, conf, facts):
    """All certificates of the vault are here, and no two authorities are the same."""
    missing = [source for source, _, _ in render.certificates(conf) if not node.exists(source)]
    for source in missing:
        yield "%s is missing: the seed has not issued it" % source
    held = {name: node.read("%s/%s/ca.pem" % (conf["pki"], name)) for name in ("etcd", "kubernetes", "front-proxy")}
    held = {name: text for name, text in held.items() if text}
    if len(set(held.values())) != len(held):
        yield "two of the authorities %s are the same" % ", ".join(held)


def kept(node, conf, facts):
    """What runs is still to be had: a node that is installed again pulls it, and so does an upgrade (talos#11983, #10212)."""
    running = set()
    for name in node.names(render.MANIFESTS):
        running.update(images_of(node.read("%s/%s" % (render.MANIFESTS, name))))
    for image in absent(node, conf, sorted(running - set(wanted_images(conf, facts)))):
        yield "the seed no longer has %s, which this node runs; keep it among the extras until every node is upgraded" % image


def host(node, conf, facts):
    """Swap, modules, forwarding, the clock, the name, the firewall."""
    swaps = [line.split()[0] for line in node.read("/proc/swaps").splitlines()[1:] if line.split()]
    if swaps and (conf.get("kubelet") or {}).get("failSwapOn", True):
        yield "swap is on: %s" % ", ".join(swaps)
    if not node.exists(CGROUPS):
        yield "the kernel has no cgroup v2"
    for name in ("net/bridge/bridge-nf-call-iptables", "net/ipv4/ip_forward"):
        if node.read("/proc/sys/" + name).strip() != "1":
            yield "%s is not 1%s" % (name.replace("/", "."), "; br_netfilter is not loaded" if "bridge" in name else "")
    if node.read("/proc/sys/kernel/hostname").strip().lower() != conf["name"]:
        yield "the host's name is not %s, which its certificate has" % conf["name"]
    code, out, _ = node.run("chronyc", "-n", "-c", "tracking")
    fields = out.strip().split(",")
    if code or len(fields) < 14 or fields[-1] != "Normal" or abs(float(fields[4])) > CLOCK:
        yield "the clock does not follow the seed's"
    _, rules, _ = node.run("nft", "list", "chain", "inet", "kubedos", "forward")
    if rules and node.exists(network.FIREWALL) and 'oifname "%s"' % conf["plane"] not in rules:
        yield "the firewall drops what pods send over %s: %s is not loaded" % (conf["plane"], network.FIREWALL)


# In the order of docs/platform/controlplane.md.
CHECKS = (
    ("version", version), ("pause-image", pause), ("containerd", containerd), ("registry", registry), ("images", images),
    ("cilium-images", cilium_images), ("planes", planes), ("hubble-certificates", hubble), ("vip", vip),
    ("kubeadm", kubeadm), ("certificates", certificates), ("images-kept", kept), ("host", host))


def causes(node, conf, facts, only=()):
    """(check, cause) of everything that is wrong."""
    found = []
    for name, check in CHECKS:
        if only and name not in only:
            continue
        try:
            found += [(name, cause) for cause in check(node, conf, facts)]
        except Failed as failed:
            found.append((name, str(failed)))
    return found


def collected(node, conf):
    """Facts for the checks, even if what is installed contradicts itself."""
    kubeadm_version = node.ask("kubeadm", "version", "-o", "short").strip().lstrip("v")
    return {"kubernetes": kubeadm_version, "images": kubeadm_images(node, kubeadm_version, conf.get("images") or ""),
            "containerd": containerd_version(node),
            "mtu": int(node.read("/sys/class/net/%s/mtu" % conf["plane"]).strip() or 1420), "certificates": ""}
