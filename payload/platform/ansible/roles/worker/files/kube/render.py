"""The files of a Kubernetes node, from its settings and what is installed. Pure: path to (text, mode)."""

import network
import yaml
from node import Failed, minor

# Versions whose files are tested: 1.20 by runs, the others by comparison with files that were reviewed.
TESTED = (20, 34, 35, 36, 37)
CONFIG = "/etc/kubedos-kubernetes"
PKI = "/etc/kubernetes/pki"
# A folder that does not exist. Where kubeadm finds ca.crt without its key, each of its phases first wants kubeconfigs as it writes
# them itself: with the authority inside (kubeadm#2739), and since 1.29 super-admin.conf too. None of them is needed here.
NO_AUTHORITY = CONFIG + "/no-authority"
KUBELET_PKI = "/var/lib/kubelet/pki"
SOCKET = "unix:///run/containerd/containerd.sock"
MANIFESTS = "/etc/kubernetes/manifests"
API_PORT = 6443
# Certificates of kubedos-node, and where the parts of the control plane read them.
CONTROL = {
    "kubernetes/ca": "ca", "kubernetes/apiserver": "apiserver", "kubernetes/service-accounts": "sa",
    "kubernetes/apiserver-kubelet-client": "apiserver-kubelet-client", "kubernetes/controller-manager": "controller-manager",
    "kubernetes/scheduler": "scheduler", "kubernetes/admin": "admin", "front-proxy/ca": "front-proxy-ca",
    "front-proxy/front-proxy-client": "front-proxy-client", "etcd/ca": "etcd/ca",
    "etcd/apiserver-etcd-client": "apiserver-etcd-client",
}


def text_of(*documents):
    parts = [yaml.safe_dump(d, sort_keys=False, default_flow_style=False, width=10000) for d in documents]
    return "# Written by the plays of Kubedos.\n" + "---\n".join(parts)


def kubeadm_api(version):
    """The version of kubeadm's configuration: 1.37 refuses v1beta3, and 1.20 knows nothing later than v1beta2."""
    number = minor(version)
    return "v1beta4" if number >= 31 else "v1beta3" if number >= 22 else "v1beta2"


def arguments(version, pairs):
    """A map up to v1beta3, a list of pairs since v1beta4."""
    if kubeadm_api(version) < "v1beta4":
        return dict(pairs)
    return [{"name": name, "value": value} for name, value in pairs]


def certificates(conf):
    """(source, target, mode) of every certificate and key."""
    copies = []
    if conf["control_plane"]:
        for name, target in CONTROL.items():
            copies.append(("%s/%s.pem" % (conf["pki"], name), "%s/%s.crt" % (PKI, target), 0o644))
            if not name.endswith("/ca"):
                copies.append(("%s/%s.key" % (conf["pki"], name), "%s/%s.key" % (PKI, target), 0o600))
    else:
        copies.append((conf["pki"] + "/kubernetes/ca.pem", PKI + "/ca.crt", 0o644))
    for name in ("kubelet-client", "kubelet-server"):
        copies.append(("%s/kubernetes/%s.pem" % (conf["pki"], name), "%s/%s.crt" % (KUBELET_PKI, name), 0o644))
        copies.append(("%s/kubernetes/%s.key" % (conf["pki"], name), "%s/%s.key" % (KUBELET_PKI, name), 0o600))
    return copies


def endpoint(conf):
    """A control plane asks its own API server: it does not depend on the virtual address."""
    host = conf["address"] if conf["control_plane"] else conf["vip"]
    return "https://%s:%d" % (host, API_PORT)


def kubeconfig(server, user, certificate):
    return text_of({
        "apiVersion": "v1", "kind": "Config", "current-context": "kubedos",
        "clusters": [{"name": "kubedos", "cluster": {"certificate-authority": PKI + "/ca.crt", "server": server}}],
        "users": [{"name": user, "user": {"client-certificate": certificate + ".crt", "client-key": certificate + ".key"}}],
        "contexts": [{"name": "kubedos", "context": {"cluster": "kubedos", "user": user}}]})


# The kubelet.

def taint(version):
    return {"key": "node-role.kubernetes.io/" + ("control-plane" if minor(version) >= 24 else "master"), "effect": "NoSchedule"}


def taints(conf, version):
    return [taint(version)] if conf["control_plane"] and not conf["schedule"] else []


def kubelet_config(conf, version):
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        # Nothing but the plane reaches it.
        "address": conf["address"], "port": 10250, "readOnlyPort": 0, "healthzBindAddress": "127.0.0.1", "healthzPort": 10248,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                           "x509": {"clientCAFile": PKI + "/ca.crt"}},
        "authorization": {"mode": "Webhook"}, "cgroupDriver": "systemd", "failSwapOn": True,
        "clusterDNS": [conf["dns"]], "clusterDomain": conf["domain"], "resolvConf": CONFIG + "/resolv.conf",
        "staticPodPath": MANIFESTS, "rotateCertificates": False, "serverTLSBootstrap": False,
        "tlsCertFile": KUBELET_PKI + "/kubelet-server.crt", "tlsPrivateKeyFile": KUBELET_PKI + "/kubelet-server.key",
    }
    if minor(version) >= 27:
        config["containerRuntimeEndpoint"] = SOCKET
    if minor(version) >= 23 and taints(conf, version):
        config["registerWithTaints"] = taints(conf, version)
    config.update(conf.get("kubelet") or {})
    return config


def kubelet_flags(conf, version):
    """What is not a field of KubeletConfiguration in this version."""
    flags = ["--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=/var/lib/kubelet/config.yaml",
             "--hostname-override=" + conf["name"], "--node-ip=" + conf["address"]]
    if minor(version) < 27:
        # The flag of the kind of runtime went with dockershim, in 1.24; it may still be given until 1.26.
        flags += ["--container-runtime=remote"] if minor(version) < 24 else []
        flags += ["--container-runtime-endpoint=" + SOCKET]
    if minor(version) < 23:
        flags += ["--register-with-taints=%s=:%s" % (t["key"], t["effect"]) for t in taints(conf, version)]
    return flags


def kubelet_unit(conf, version):
    lines = ["# Written by the plays of Kubedos: the kubelet has certificates of the site, and no token to get one with.",
             "[Unit]", "After=containerd.service", "Wants=containerd.service", "StartLimitIntervalSec=0",
             "[Service]", "ExecStart=", "ExecStart=/usr/bin/kubelet " + " ".join(kubelet_flags(conf, version)),
             "Restart=always", "RestartSec=5"]
    return "\n".join(lines) + "\n"


# The control plane.

def api_flags(conf, version):
    etcd = [("etcd-cafile", PKI + "/etcd/ca.crt"), ("etcd-certfile", PKI + "/apiserver-etcd-client.crt"),
            ("etcd-keyfile", PKI + "/apiserver-etcd-client.key"), ("etcd-servers", ",".join(conf["etcd"]))]
    flags = [
        ("advertise-address", conf["address"]), ("allow-privileged", "true"), ("authorization-mode", "Node,RBAC"),
        # The virtual address is HAProxy's, maybe on this node.
        ("bind-address", conf["address"]), ("client-ca-file", PKI + "/ca.crt"),
        ("enable-admission-plugins", "NodeRestriction"), *etcd,
        ("kubelet-certificate-authority", PKI + "/ca.crt"),
        ("kubelet-client-certificate", PKI + "/apiserver-kubelet-client.crt"),
        ("kubelet-client-key", PKI + "/apiserver-kubelet-client.key"),
        ("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname"),
        ("proxy-client-cert-file", PKI + "/front-proxy-client.crt"), ("proxy-client-key-file", PKI + "/front-proxy-client.key"),
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-client-ca-file", PKI + "/front-proxy-ca.crt"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"), ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-username-headers", "X-Remote-User"), ("secure-port", str(API_PORT)),
        ("service-account-issuer", "https://kubernetes.default.svc." + conf["domain"]),
        ("service-account-key-file", PKI + "/sa.crt"), ("service-account-signing-key-file", PKI + "/sa.key"),
        ("service-cluster-ip-range", conf["services"]),
        ("tls-cert-file", PKI + "/apiserver.crt"), ("tls-private-key-file", PKI + "/apiserver.key")]
    # Open without it until 1.20; unknown since 1.24.
    return flags + ([("insecure-port", "0")] if minor(version) <= 20 else [])


def plain_port(version):
    """The port without TLS, on every address: open by default in 1.20, unknown since 1.24."""
    return [("port", "0")] if minor(version) <= 20 else []


def lease(conf):
    """How long a leader may be silent. Kubernetes' own values are 15, 10 and 2 seconds; each has to be clearly less than the one
    before it."""
    seconds = max(5, int(conf.get("lease") or 15))
    if seconds == 15:
        return []
    parts = (("lease-duration", seconds), ("renew-deadline", seconds * 2 // 3), ("retry-period", max(1, seconds // 6)))
    return [("leader-elect-" + name, "%ds" % value) for name, value in parts]


def controller_flags(conf, version):
    own = "/etc/kubernetes/controller-manager.conf"
    return [("authentication-kubeconfig", own), ("authorization-kubeconfig", own), ("bind-address", "127.0.0.1"),
            ("client-ca-file", PKI + "/ca.crt"), ("cluster-name", "kubernetes"),
            # The authority's key is in the vault only, so nothing here signs. Ranges of pods follow the numbers of nodes.
            ("controllers", "*,-csrsigning"), ("allocate-node-cidrs", "false"), ("kubeconfig", own), ("leader-elect", "true"),
            ("requestheader-client-ca-file", PKI + "/front-proxy-ca.crt"), ("root-ca-file", PKI + "/ca.crt"),
            ("service-account-private-key-file", PKI + "/sa.key"), ("use-service-account-credentials", "true"),
            *lease(conf), *plain_port(version)]


def scheduler_flags(conf, version):
    own = "/etc/kubernetes/scheduler.conf"
    return [("authentication-kubeconfig", own), ("authorization-kubeconfig", own), ("bind-address", "127.0.0.1"),
            ("kubeconfig", own), ("leader-elect", "true"), *lease(conf), *plain_port(version)]


def probe(host, port, path, **more):
    return dict({"httpGet": {"host": host, "path": path, "port": port, "scheme": "HTTPS"}, "timeoutSeconds": 15}, **more)


def static_pod(name, facts, flags, health, cpu, mounts):
    """A pod that the kubelet runs from a file (kubeadm writes the same kind, with other mounts)."""
    host, port, live, ready = health
    container = {
        "name": name, "image": facts["images"][name], "imagePullPolicy": "IfNotPresent",
        "command": [name] + ["--%s=%s" % flag for flag in flags],
        "livenessProbe": probe(host, port, live, failureThreshold=8, initialDelaySeconds=10, periodSeconds=10),
        # An emulated machine needs minutes.
        "startupProbe": probe(host, port, live, failureThreshold=120, initialDelaySeconds=10, periodSeconds=10),
        "resources": {"requests": {"cpu": cpu}},
        "volumeMounts": [{"name": n, "mountPath": path, "readOnly": True} for n, path, _ in mounts]}
    if ready:
        container["readinessProbe"] = probe(host, port, ready, failureThreshold=3, periodSeconds=1)
    metadata = {"name": name, "namespace": "kube-system", "labels": {"component": name, "tier": "control-plane"},
                # Not everything reads renewed certificates by itself; another value starts the pod again.
                "annotations": {"kubedos/certificates": facts["certificates"]}}
    spec = {"containers": [container], "hostNetwork": True, "priorityClassName": "system-node-critical",
            "volumes": [{"name": n, "hostPath": {"path": path, "type": kind}} for n, path, kind in mounts]}
    if minor(facts["kubernetes"]) >= 22:
        spec["securityContext"] = {"seccompProfile": {"type": "RuntimeDefault"}}
    return text_of({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def static_pods(conf, facts):
    version, pki = facts["kubernetes"], ("pki", PKI, "Directory")
    local = "127.0.0.1"

    def config(name):
        return "kubeconfig", "/etc/kubernetes/%s.conf" % name, "File"

    return {
        "kube-apiserver": static_pod("kube-apiserver", facts, api_flags(conf, version),
                                     (conf["address"], API_PORT, "/livez", "/readyz"), "250m", [pki]),
        "kube-controller-manager": static_pod("kube-controller-manager", facts, controller_flags(conf, version),
                                              (local, 10257, "/healthz", None), "200m", [pki, config("controller-manager")]),
        "kube-scheduler": static_pod("kube-scheduler", facts, scheduler_flags(conf, version),
                                     (local, 10259, "/healthz", None), "100m", [pki, config("scheduler")])}


def kubeadm_config(conf, facts):
    """For kubeadm's phases that write to the API: its own record, CoreDNS, kube-proxy, labels."""
    version = facts["kubernetes"]
    api = "kubeadm.k8s.io/" + kubeadm_api(version)
    registration = {"name": conf["name"], "criSocket": SOCKET, "taints": taints(conf, version),
                    "kubeletExtraArgs": arguments(version, [("node-ip", conf["address"])])}
    init = {"apiVersion": api, "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": conf["address"], "bindPort": API_PORT}, "nodeRegistration": registration}
    if kubeadm_api(version) >= "v1beta3":
        registration["imagePullPolicy"] = "IfNotPresent"
        skip = [] if conf["proxy"] else ["addon/kube-proxy"]
        init["skipPhases"] = skip + ([] if conf["coredns"] else ["addon/coredns"]) or None
        if not init["skipPhases"]:
            del init["skipPhases"]
    cluster = {
        "apiVersion": api, "kind": "ClusterConfiguration", "clusterName": "kubernetes", "kubernetesVersion": "v" + version,
        "certificatesDir": NO_AUTHORITY, "controlPlaneEndpoint": "%s:%d" % (conf["vip"], API_PORT),
        "networking": {"dnsDomain": conf["domain"], "podSubnet": conf["pods"], "serviceSubnet": conf["services"]},
        "etcd": {"external": {"endpoints": conf["etcd"], "caFile": PKI + "/etcd/ca.crt",
                              "certFile": PKI + "/apiserver-etcd-client.crt", "keyFile": PKI + "/apiserver-etcd-client.key"}},
        "apiServer": {"certSANs": [conf["vip"]],
                      "extraArgs": arguments(version, [("bind-address", conf["address"]),
                                                       ("kubelet-certificate-authority", PKI + "/ca.crt")])},
        "controllerManager": {"extraArgs": arguments(version, [("allocate-node-cidrs", "false")])}}
    if conf.get("images"):
        cluster["imageRepository"] = conf["images"]
    proxy = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables",
             "clusterCIDR": conf["pods"], "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
             # Ports of services are open on the plane only.
             "nodePortAddresses": [conf["plane_cidr"]]}
    kubelet = {k: v for k, v in kubelet_config(conf, version).items() if k not in ("address", "registerWithTaints")}
    return text_of(init, cluster, kubelet, proxy)


# What the API server's client certificate may do on kubelets: no more than that.
KUBELET_ADMIN = {
    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "kubedos:kubelet-api-admin"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kube-apiserver-kubelet-client"}]}

# A node that has another range deletes its own object, to register again. Kubernetes gives that right to nobody but admins since
# 1.14; the admission plugin NodeRestriction confines it to the node's own object.
OWN_NODE = [
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "kubedos:own-node"},
     "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"]}]},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "kubedos:own-node"},
     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubedos:own-node"},
     "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}]}]


def files(conf, facts):
    """Every file of the node but its certificates."""
    version, server = facts["kubernetes"], endpoint(conf)
    if minor(version) not in TESTED:
        raise Failed("Kubernetes %s is not one of 1.%s" % (version, ", 1.".join(map(str, TESTED))))
    found = {
        "/etc/kubernetes/kubelet.conf": (kubeconfig(server, "system:node:" + conf["name"], KUBELET_PKI + "/kubelet-client"), 0o600),
        "/var/lib/kubelet/config.yaml": (text_of(kubelet_config(conf, version)), 0o644),
        "/etc/systemd/system/kubelet.service.d/20-kubedos.conf": (kubelet_unit(conf, version), 0o644),
        # The kubelet is started again when it changes.
        CONFIG + "/version": (version + "\n", 0o644),
        CONFIG + "/resolv.conf": ("# For names outside of the cluster.\nnameserver %s\n" % conf["resolver"], 0o644),
        **network.files(conf, facts)}
    if conf["control_plane"]:
        users = {"admin": "kubernetes-admin", "controller-manager": "system:kube-controller-manager",
                 "scheduler": "system:kube-scheduler"}
        for name, user in users.items():
            found["/etc/kubernetes/%s.conf" % name] = (kubeconfig(server, user, "%s/%s" % (PKI, name)), 0o600)
        for name, text in static_pods(conf, facts).items():
            found["%s/%s.yaml" % (MANIFESTS, name)] = (text, 0o600)
        found[CONFIG + "/kubeadm.yaml"] = (kubeadm_config(conf, facts), 0o600)
        found[CONFIG + "/rbac.yaml"] = (text_of(KUBELET_ADMIN, *OWN_NODE), 0o644)
    return found

