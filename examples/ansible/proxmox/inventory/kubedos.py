#!/usr/bin/env python3
"""Inventory of Ansible: the nodes of a Kubedos site, from the API of its seed.

Environment:
  KUBEDOS_URL       the web interface, for example https://10.44.0.1:8443
  KUBEDOS_CA        file with the site's CA certificate (keys/ca.pem, or URL/ca.pem)
  KUBEDOS_USER      an operator
  KUBEDOS_PASSWORD  and the password
  KUBEDOS_PLANE     plane whose addresses are used; default wg1

Groups are role_NAME and state_NAME. Only Python's standard library is used.
"""

import json
import os
import ssl
import sys
import urllib.error
import urllib.request

# Seconds, and bytes of an answer.
PATIENCE = 30
MOST = 64 << 20

# Approved machines; the others are not nodes (yet).
NODES = {"Installed", "FabricReady", "Converged"}


class Seed:
    def __init__(self, url, ca):
        # A password must not travel in clear: plain HTTP is for this machine only, such as the end of an SSH tunnel.
        if not url.startswith("https://") and not url.startswith("http://127.0.0.1:"):
            raise ValueError("KUBEDOS_URL has to begin with https://")
        self.url = url.rstrip("/")
        self.context = ssl.create_default_context(cafile=ca) if url.startswith("https://") else None
        self.token = None

    def ask(self, path, body=None):
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE, context=self.context) as answer:
            text = answer.read(MOST)
        return json.loads(text) if text else None

    def machines(self, user, password):
        self.token = self.ask("/api/v1/login", {"user": user, "password": password})["token"]
        try:
            machines, page, pages = [], 0, 1
            while page < pages:
                page += 1
                answer = self.ask("/api/v1/machines?page=%d" % page)
                machines += answer["machines"]
                pages = answer.get("pages", 1)
            return machines
        finally:
            self.ask("/api/v1/logout", {})


def inventory(machines, plane):
    hosts, groups = {}, {}
    for machine in machines:
        node = machine["enrollment"]
        if not node or node["state"] not in NODES or not node["hostname"]:
            continue
        name, role, state = node["hostname"], node["role"], node["state"]
        planes = dict(node["addresses"])
        hosts[name] = {
            "ansible_host": planes.get(plane) or machine["ip"],
            "kubedos_role": role,
            "kubedos_state": state,
            "kubedos_planes": planes,
            "kubedos_mac": machine["mac"],
        }
        for group in ("role_" + role, "state_" + state):
            groups.setdefault(group.replace("-", "_").lower(), []).append(name)
    found = {group: {"hosts": sorted(names)} for group, names in sorted(groups.items())}
    found["_meta"] = {"hostvars": dict(sorted(hosts.items()))}
    return found


def main():
    if "--host" in sys.argv:
        # Everything is in _meta.
        print("{}")
        return 0
    missing = [name for name in ("KUBEDOS_URL", "KUBEDOS_USER", "KUBEDOS_PASSWORD") if not os.environ.get(name)]
    if missing:
        print("kubedos.py: not set: " + ", ".join(missing), file=sys.stderr)
        return 1
    try:
        seed = Seed(os.environ["KUBEDOS_URL"], os.environ.get("KUBEDOS_CA"))
        machines = seed.machines(os.environ["KUBEDOS_USER"], os.environ["KUBEDOS_PASSWORD"])
    except (OSError, ValueError, KeyError, urllib.error.URLError) as error:
        print(f"kubedos.py: asking the seed: {error}", file=sys.stderr)
        return 1
    print(json.dumps(inventory(machines, os.environ.get("KUBEDOS_PLANE", "wg1")), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
