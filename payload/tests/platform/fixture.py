"""The variables of a site of five nodes, as kubedos-node writes them, and the plays rendered from them by Ansible."""

import copy
import json
import os
import subprocess

import pki

ANSIBLE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../platform/ansible"))
PLAYS = ["etcd", "loadbalancer", "containers", "podman", "exporters", "flow", "monitoring", "logs", "log-collector",
         "storage"]


def member(label, role, number):
    addresses = {"wg%d" % plane: "10.%d.0.%d" % (77 + plane, number) for plane in (1, 2, 3)}
    underlay = "10.44.0.%d" % (100 + number)
    return {"name": label + ".kubedos.lan", "label": label, "role": role, "addresses": addresses, "underlay": underlay}


MEMBERS = [member("e1", "etcd", 2), member("e2", "etcd", 3), member("e3", "etcd", 4), member("lb1", "lb", 5),
           member("lb2", "lb", 6)]


def group(*labels):
    return [{k: v for k, v in m.items() if k != "role"} for m in MEMBERS if m["label"] in labels]


def variables(label="e1", **more):
    own = next(m for m in MEMBERS if m["label"] == label)
    planes = {p: {"address": a, "cidr": "10.%d.0.0/16" % (77 + n), "port": 51820 + n}
              for n, (p, a) in enumerate(sorted(own["addresses"].items()), 1)}
    kubedos = {
        "name": own["name"], "label": label, "domain": "kubedos.lan", "site": "site-a", "role": own["role"], "plays": PLAYS,
        "addresses": own["addresses"], "planes": planes, "underlay": own["underlay"],
        "control_plane": "wg1", "metrics_plane": "wg2", "backend_plane": "wg3",
        "seed": {"name": "seed.kubedos.lan", "label": "seed", "url": "http://10.44.0.1:8080",
                 "addresses": {"wg1": "10.78.0.1", "wg2": "10.79.0.1", "wg3": "10.80.0.1"}},
        "registry": "10.44.0.1:8080", "kubernetes": None, "members": MEMBERS, "pki": "/etc/kubedos/pki", "mode": "apply", "certificates": 1764454579,
        "groups": {"etcd": group("e1", "e2", "e3"), "loadbalancer": group("e1", "lb2"), "monitoring": group("e1", "e2"),
                   "log-collector": group("lb1")},
    }
    return dict({"lb_vip_wg3": "10.80.255.1", "kubedos": kubedos}, **copy.deepcopy(more))


def ansible(folder, plays, values, *argv, **env):
    """Runs the plays as the agent does; exit code and output."""
    site, held = os.path.join(folder, "kubedos-site.yml"), os.path.join(folder, "vars.json")
    with open(site, "w", encoding="utf-8") as file:
        local = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        json.dump([dict(local, name=p, roles=[p]) for p in plays], file)
    with open(held, "w", encoding="utf-8") as file:
        json.dump(values, file)
    env = dict(os.environ, LC_ALL="C.UTF-8", ANSIBLE_ROLES_PATH=ANSIBLE + "/roles", ANSIBLE_LIBRARY=ANSIBLE + "/library",
               ANSIBLE_LOCAL_TEMP=folder + "/tmp", ANSIBLE_REMOTE_TEMP=folder + "/tmp", ANSIBLE_HOME=folder + "/home",
               ANSIBLE_NOCOWS="1", **env)
    done = subprocess.run(["ansible-playbook", "-i", "localhost,", "-e", "@" + held, *argv, site], env=env, cwd=folder,
                          capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def render(folder, plays, values):
    """Files of the plays below `folder/out`."""
    out, ca = os.path.join(folder, "out"), os.path.join(folder, "ca")
    if not os.path.isdir(ca):
        pki.authority(ca)
    sans = ["DNS:" + values["kubedos"]["label"], "IP:127.0.0.1"]
    for name in ("peer", "server", "client"):
        pki.leaf(ca, out + "/etc/kubedos/pki/etcd", name, sans)
    code, text = ansible(folder, plays, values, KUBEDOS_SERVICE_RENDER=out)
    if code:
        raise AssertionError(text)
    return out
