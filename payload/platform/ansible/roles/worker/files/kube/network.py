"""The network of pods: CNI, the firewall, Cilium's values. Pure."""

import copy
import json

import yaml

CNI = "/etc/cni/net.d"
FIREWALL = "/etc/nftables.d/kubedos-kubernetes.nft"
VALUES = "/etc/kubedos-kubernetes/cilium-values.yaml"
# Interfaces that packets of pods come from.
INTERFACES = {"wireguard": ["cni0"], "cilium": ["lxc*", "cilium_host", "cilium_net"]}


def bridge(conf, facts):
    """One bridge per node, with the node's range: the plane routes to the others (cni-plugins: bridge, host-local, portmap)."""
    # Addresses are forgotten with the pods, when the node starts.
    ipam = {"type": "host-local", "dataDir": "/run/kubedos/cni", "ranges": [[{"subnet": conf["range"]}]]}
    plugins = [{"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "hairpinMode": True, "ipMasq": False,
                "mtu": facts["mtu"], "ipam": ipam},
               {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}]
    return json.dumps({"cniVersion": "1.0.0", "name": "kubedos", "plugins": plugins}, indent=2) + "\n"


def firewall(conf):
    """Pods reach pods, the plane, the API and kubelets. Nothing of theirs is forwarded to another network."""
    plane, ports = conf["plane"], "6443, 10250" if conf["control_plane"] else "10250"
    lines = ["# Written by the plays of Kubedos."]
    for name in INTERFACES[conf["cni"]]:
        # Before the rule that keeps addresses of planes to their planes; what is inserted last comes first.
        lines += ['insert rule inet kubedos input iifname "%s" ip saddr %s ip daddr %s tcp dport { %s } accept' % (
                      name, conf["pods"], conf["address"], ports),
                  # Answers to the node itself, which asked by the address of a service.
                  'insert rule inet kubedos input iifname "%s" ct state established,related accept' % name]
    lines.append("add rule inet kubedos forward ct state established,related accept")
    for name in INTERFACES[conf["cni"]]:
        lines += ['add rule inet kubedos forward iifname "%s" ip saddr != %s drop' % (name, conf["pods"]),
                  'add rule inet kubedos forward iifname "%s" oifname "%s" accept' % (name, plane),
                  'add rule inet kubedos forward iifname "%s" ip daddr %s accept' % (name, conf["range"]),
                  'add rule inet kubedos forward iifname "%s" oifname "%s" ip saddr { %s, %s } accept' % (
                      plane, name, conf["pods"], conf["plane_cidr"])]
    # A port of a service, whose pod is on another node.
    lines.append('add rule inet kubedos forward iifname "%s" oifname "%s" ct status dnat accept' % (plane, plane))
    # Pods learn at once that there is no way out.
    lines += ['add rule inet kubedos forward iifname "%s" reject with icmpx admin-prohibited' % name
              for name in INTERFACES[conf["cni"]]]
    return "\n".join(lines) + "\n"


def merged(base, more):
    """`more` over `base`: maps by key, everything else whole."""
    found = copy.deepcopy(base)
    for key, value in (more or {}).items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if both else copy.deepcopy(value)
    return found


def cilium_values(conf, facts):
    """Values of Cilium's chart, 1.18 and 1.19. Images keep the digests of the chart: archives of the extras are not pushed again."""
    return {
        "kubeProxyReplacement": True, "k8sServiceHost": conf["vip"], "k8sServicePort": 6443,
        # Packets go from node to node by the plane, whose peers have the ranges of pods.
        "routingMode": "native", "ipv4NativeRoutingCIDR": conf["pods"], "autoDirectNodeRoutes": False,
        "devices": [conf["plane"]], "mtu": facts["mtu"], "enableIPv4Masquerade": True,
        "ipam": {"mode": "kubernetes"}, "k8s": {"requireIPv4PodCIDR": True},
        "cni": {"binPath": "/usr/lib/cni", "confPath": CNI, "exclusive": True},
        "encryption": {"enabled": False},
        "hubble": {"enabled": True, "relay": {"enabled": True}, "ui": {"enabled": True},
                   # Certificates of the method helm end after a year without a word.
                   "tls": {"auto": {"enabled": True, "method": "cronJob"}}},
        "prometheus": {"enabled": True}, "operator": {"replicas": min(2, max(1, conf.get("control_planes", 1)))}}


def values(conf, facts):
    return merged(cilium_values(conf, facts), (conf.get("cilium") or {}).get("values"))


def files(conf, facts):
    found = {FIREWALL: (firewall(conf), 0o600)}
    if conf["cni"] == "wireguard":
        found[CNI + "/10-kubedos.conflist"] = (bridge(conf, facts), 0o644)
    elif conf["control_plane"]:
        text = yaml.safe_dump(values(conf, facts), sort_keys=False, default_flow_style=False)
        found[VALUES] = ("# Written by the plays of Kubedos.\n" + text, 0o644)
    return found


def stale(conf):
    """Files of the other network."""
    return [VALUES] if conf["cni"] == "wireguard" else [CNI + "/10-kubedos.conflist"]
