#!/usr/bin/env -S python3 -I -S
"""A Proxmox VE host of the tests: qm, pvesh and a few programs with faults, by the name it is called with.

Options are checked against OPTIONS, a table of ours after qm(1) and qm.conf(5) of Proxmox VE 9.1; an option or a property that
is not in it is an error, as there. State is in $PVE_STATE, a folder for each host; $PVE_STATE/../clustered makes them a cluster.
Faults are entries of faults.json: {"match": first words, "kind": KIND, "times": N}.
"""
import base64, fcntl, json, os, re, resource, signal, sys

STATE, NODE = os.environ["PVE_STATE"], os.environ["PVE_NODE"]
BOOL, INT, ANY = "[01]", r"\d+", ".+"
# storage:size allocates a volume, storage:name is one (pve-volume-id).
VOLUME = r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]:(\d+|[A-Za-z0-9/._-]+)"
SIZE = r"\d+(\.\d+)?[KMGT]?"
DRIVE = {
    "file": VOLUME, "aio": "native|threads|io_uring", "backup": BOOL, "cache": "none|writethrough|writeback|unsafe|directsync",
    "detect_zeroes": BOOL, "discard": "ignore|on", "format": "raw|qcow2|vmdk", "import-from": r"/.+|" + VOLUME, "iothread": BOOL,
    "media": "cdrom|disk", "product": ".{1,16}", "queues": INT, "replicate": BOOL, "ro": BOOL, "serial": ".{1,60}", "shared": BOOL,
    "size": SIZE, "ssd": BOOL, "vendor": ".{1,8}", "wwn": "0x[0-9a-fA-F]{16}",
}
MAC = "([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"
TAG = "[A-Za-z0-9_][A-Za-z0-9_+.-]*"
NET = {"bridge": "[A-Za-z0-9._-]{1,15}", "firewall": BOOL, "link_down": BOOL, "macaddr": MAC, "model": "virtio|e1000|vmxnet3",
       "mtu": INT, "queues": INT, "rate": ANY, "tag": r"\d{1,4}", "trunks": ANY, "virtio": MAC, "e1000": MAC, "vmxnet3": MAC}
B64 = "[A-Za-z0-9+/]+={0,2}"
# name: (default key, properties) or a pattern; [n] is a number below the limit.
OPTIONS = {
    "agent": ("enabled", {"enabled": BOOL, "freeze-fs-on-backup": BOOL, "fstrim_cloned_disks": BOOL, "type": "virtio|isa"}),
    "balloon": INT, "bios": "seabios|ovmf", "boot": (None, {"order": "[a-z]+[0-9]+(;[a-z]+[0-9]+)*"}),
    "cores": "[1-9][0-9]*", "cpu": ("cputype", {"cputype": ANY, "flags": ANY, "hidden": BOOL}), "description": ANY,
    "efidisk0": ("file", {"file": VOLUME, "efitype": "2m|4m", "format": "raw|qcow2|vmdk", "import-from": ANY,
                          "ms-cert": "2011|2023|2023w|2023k", "pre-enrolled-keys": BOOL, "size": SIZE}),
    "machine": ("type", {"type": r"pc|q35|pc-(q35|i440fx)-\d+(\.\d+)+", "viommu": "intel|virtio"}),
    "memory": ("current", {"current": INT}), "name": r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9-]+)*",
    "net[32]": (None, NET), "onboot": BOOL, "ostype": "l26|l24|other|win11|win10", "protection": BOOL,
    "rng0": ("source", {"source": "/dev/(u?random|hwrng)", "max_bytes": INT, "period": INT}),
    "scsi[31]": ("file", DRIVE), "scsihw": "lsi|lsi53c810|megasas|pvscsi|virtio-scsi-pci|virtio-scsi-single",
    "serial[4]": "/dev/.+|socket",
    "smbios1": (None, {"base64": BOOL, "family": B64, "manufacturer": B64, "product": B64, "serial": B64, "sku": B64,
                       "uuid": "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "version": B64}),
    "sockets": "[1-9][0-9]*", "tags": f"{TAG}([;, ]{TAG})*",
    "tpmstate0": ("file", {"file": VOLUME, "format": "raw|qcow2|vmdk", "size": SIZE, "version": r"v1\.2|v2\.0"}),
    "vga": ("type", {"type": "std|serial0|virtio|none", "memory": INT}),
}


def die(text, code=255):
    print(text, file=sys.stderr)
    sys.exit(code)


def known(option):
    if option in OPTIONS:
        return OPTIONS[option]
    found = re.fullmatch(r"([a-z]+)(\d+)", option)
    for name, rule in OPTIONS.items():
        limit = re.fullmatch(r"([a-z]+)\[(\d+)\]", name)
        if limit and found and limit[1] == found[1] and int(found[2]) < int(limit[2]):
            return rule
    die(f"Unknown option: {option}\n400 unable to parse option")


def properties(option, value, default, rules):
    found = {}
    for part in value.split(","):
        key, eq, text = part.partition("=")
        key, text = (key, text) if eq else (default, part)
        if key is None or key not in rules or key in found:
            die(f"400 Parameter verification failed.\n{option}: invalid format - property '{key}' is not defined in schema")
        if not re.fullmatch(rules[key], text):
            die(f"400 Parameter verification failed.\n{option}: invalid format - {key}: value '{text}' does not match")
        found[key] = text
    if found.get("base64") == "1":
        for key in set(found) - {"base64", "uuid"}:
            base64.b64decode(found[key], validate=True)
    return found


def check(option, value):
    rule = known(option)
    if isinstance(rule, str):
        if not re.fullmatch(rule, value):
            die(f"400 Parameter verification failed.\n{option}: value '{value}' does not match")
        return None
    return properties(option, value, *rule)


def pairs(args):
    if len(args) % 2 or any(not a.startswith("--") for a in args[::2]):
        die(f"400 not enough arguments: {args}")
    keys = [a[2:] for a in args[::2]]
    if len(set(keys)) != len(keys):
        die("400 an option is given twice")
    return dict(zip(keys, args[1::2]))


class Host:
    """vms.json under a lock."""

    def __enter__(self):
        self.lock = open(f"{STATE}/lock", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.vms = load("vms.json", {})
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            with open(f"{STATE}/vms.json.new", "w") as f:
                json.dump(self.vms, f, indent=1)
            os.rename(f"{STATE}/vms.json.new", f"{STATE}/vms.json")

    def vm(self, vmid):
        if vmid not in self.vms:
            die(f"Configuration file 'nodes/{NODE}/qemu-server/{vmid}.conf' does not exist")
        return self.vms[vmid]

    def free(self, vmid):
        vm = self.vm(vmid)
        if vm.get("lock"):
            die(f"VM is locked ({vm['lock']})")
        return vm


def load(name, default):
    try:
        with open(f"{STATE}/{name}") as f:
            return json.load(f)
    except FileNotFoundError:
        return default


def hang_up():
    """Ends the connection as a power failure would: kills this session's sshd."""
    pid = os.getpid()
    while pid > 1:
        with open(f"/proc/{pid}/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        pid = int(status["PPid"])
        with open(f"/proc/{pid}/comm") as f:
            if f.read().startswith("sshd"):
                os.kill(pid, signal.SIGKILL)
                break
    sys.exit(1)


def fault(words):
    with open(f"{STATE}/fault-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        faults = load("faults.json", [])
        for entry in faults:
            if entry["times"] > 0 and words.startswith(entry["match"]):
                entry["times"] -= 1
                with open(f"{STATE}/faults.json", "w") as f:
                    json.dump(faults, f)
                return entry["kind"]
    return None


def volume(vmid, option, found, storages):
    """The value as it is in the configuration afterwards."""
    storage, rest = found["file"].split(":", 1)
    entry = storages.get(storage)
    if entry is None:
        die(f"storage '{storage}' does not exist")
    if "images" not in entry["content"]:
        die(f"storage '{storage}' does not support content-type 'images'")
    if not rest.isdigit():
        return found
    size = {"efidisk0": "1M", "tpmstate0": "4M"}.get(option, f"{rest}G")
    source = found.pop("import-from", None)
    if source:
        if rest != "0":
            die(f"{option}: import-from needs a size of 0")
        with open(source, "rb") as f:
            if f.read(4) != b"QFI\xfb":
                die("image is not in the format qcow2")
        size = "4G"
    return {**found, "file": f"{storage}:vm-{vmid}-{option}", "size": size}


def assign(vmid, config, given):
    storages = {s["storage"]: s for s in load("storages.json", [])}
    for option, value in given.items():
        found = check(option, value)
        if found and "file" in found:
            found = volume(vmid, option, dict(found), storages)
            value = ",".join([found.pop("file")] + [f"{k}={v}" for k, v in sorted(found.items())])
        if option == "tags":
            value = ";".join(sorted(set(re.split("[;, ]", value))))
        config[option] = value


def gib(size):
    return float(size[:-1]) * {"M": 1 / 1024, "G": 1, "T": 1024}[size[-1]]


def resize(vm, disk, size):
    parts = dict(p.partition("=")[::2] for p in vm["config"].get(disk, "").split(",")[1:])
    if not re.fullmatch(r"\+?\d+(\.\d+)?[KMGT]?", size) or "size" not in parts:
        die(f"disk '{disk}' does not exist")
    if gib(size) < gib(parts["size"]):
        die("shrinking disks is not supported")
    vm["config"][disk] = vm["config"][disk].replace(f"size={parts['size']}", f"size={size}")


def qm(args, kind):
    if kind in ("full", "lock", "fail"):
        die({"full": "unable to create image: out of space", "lock": "can't lock file '/var/lock/qemu-server/lock-1.conf' - "
             "got timeout", "fail": "something went wrong"}[kind])
    verb, rest = (" ".join(args[:2]), args[2:]) if args[0] == "disk" else (args[0], args[1:])
    vmid, rest = rest[0], rest[1:]
    with Host() as host:
        if verb == "create":
            if not re.fullmatch(r"[1-9]\d{2,8}", vmid) or vmid in host.vms:
                die(f"unable to create VM {vmid} - VM {vmid} already exists on node '{NODE}'")
            config = {}
            assign(vmid, config, pairs(rest))
            host.vms[vmid] = {"running": False, "config": config}
        elif verb == "set":
            assign(vmid, host.free(vmid)["config"], pairs(rest))
        elif verb == "disk resize":
            resize(host.free(vmid), *rest)
        elif verb == "start":
            vm = host.free(vmid)
            vm["running"] = True
            vm["starts"] = vm.get("starts", 0) + 1
        elif verb == "status":
            print("status:", "running" if host.vm(vmid)["running"] else "stopped")
        elif verb == "shutdown":
            if set(pairs(rest)) - {"forceStop", "keepActive", "skiplock", "timeout"}:
                die("400 unknown option")
            host.free(vmid)["running"] = False
        elif verb == "destroy":
            vm = host.free(vmid)
            if set(pairs(rest)) - {"purge", "destroy-unreferenced-disks", "skiplock"}:
                die("400 unknown option")
            if vm["running"]:
                die(f"VM {vmid} is running - destroy failed")
            if vm["config"].get("protection") == "1":
                die(f"can't remove VM {vmid} - protection mode enabled")
            del host.vms[vmid]
        else:
            die(f"ERROR: unknown command 'qm {verb}'")


def members():
    folder = os.path.dirname(STATE)
    clustered = os.path.exists(f"{folder}/clustered")
    return [(n, f"{folder}/{n}") for n in sorted(os.listdir(folder)) if n == NODE or (clustered and os.path.isdir(f"{folder}/{n}"))]


def resources():
    for node, _ in members():
        vms = load(f"../{node}/vms.json", {})
        for vmid, vm in vms.items():
            config = vm["config"]
            entry = {"id": f"qemu/{vmid}", "type": vm.get("type", "qemu"), "vmid": int(vmid), "node": node, "template": 0,
                     "status": "running" if vm["running"] else "stopped"}
            entry.update({k: config[k] for k in ("name", "tags") if k in config})
            if vm.get("lock"):
                entry["lock"] = vm["lock"]
            yield entry


def pvesh(args):
    path, rest = args[1], args[2:]
    if args[0] != "get" or "--output-format" not in rest:
        die(f"ERROR: unknown command 'pvesh {args[0]}'")
    config = re.fullmatch(r"/nodes/([^/]+)/qemu/(\d+)/config", path)
    if path == "/version":
        answer = {"version": "9.1.2", "release": "9.1", "repoid": "0"}
    elif path == "/cluster/resources" and "--type" in rest:
        answer = list(resources())
    elif path == f"/nodes/{NODE}/status":
        answer = {"cpuinfo": {"cpus": 32}, "memory": {"total": 128 << 30}}
    elif path == f"/nodes/{NODE}/storage":
        answer = load("storages.json", [])
    elif path == f"/nodes/{NODE}/network" and "any_bridge" in rest:
        answer = [{"iface": "vmbr0", "type": "bridge"}]
    elif path == "/storage":
        answer = [{"storage": "local", "type": "dir", "path": f"{STATE}/local"}, {"storage": "local-zfs", "type": "zfspool"}]
    elif config:
        folder = dict(members()).get(config[1]) or die(f"hostname lookup '{config[1]}' failed")
        with open(f"{folder}/vms.json") as f:
            vm = json.load(f).get(config[2]) or die(f"Configuration file 'nodes/{config[1]}/{config[2]}.conf' does not exist")
        answer = {**vm["config"], "digest": "0"}
    else:
        die(f"No '{args[0]}' handler defined for '{path}'")
    json.dump(answer, sys.stdout)


def real(name, args):
    os.execv(next(p for p in (f"/usr/bin/{name}", f"/bin/{name}") if os.path.exists(p)), [name] + args)


def main():
    name, args = os.path.basename(sys.argv[0]), sys.argv[1:]
    words = " ".join([name] + args)
    with open(f"{STATE}/log", "a") as log:
        log.write(words + "\n")
    kind = fault(words)
    if kind == "drop-before":
        hang_up()
    if name == "sftp-server":
        if kind == "cut":
            # A connection that ends in the middle of a file: the server is killed when it has written so much.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        os.execv(os.environ["PVE_SFTP"], ["sftp-server"])
    if name == "hostname":
        print(load("hostname.json", NODE))
    elif name == "pvesh":
        pvesh(args)
    elif name == "qm":
        qm(args, kind)
    elif name == "df" and kind == "full":
        print("Filesystem 1-blocks Used Available Capacity Mounted on\n/dev/x 1000 999 1 100% /")
    else:
        if kind == "drop-after":
            pid = os.fork()
            if pid == 0:
                real(name, args)
            os.waitpid(pid, 0)
        else:
            real(name, args)
    sys.stdout.flush()
    if kind == "drop-after":
        hang_up()


main()
