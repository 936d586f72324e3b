#!/bin/sh
# Starts a VM from this bundle with Firecracker.
set -eu

usage() {
    cat <<'TEXT'
usage: start.sh [options] NAME

Starts the VM NAME. Its disks are copied to DIR/NAME on the first start and kept.

  --dir DIR        where VMs are kept (default: ./vms)
  --tap DEVICE     TAP device of the host that the VM is connected to (default: tap0)
  --mac ADDRESS    MAC address of the VM (default: derived from NAME)
  --cpus N         virtual CPUs (default: 2)
  --memory MIB     memory in MiB (default: 2048)
  --disk GIB       size of the root disk in GiB (default: as built)
  --jailer UID     start it through the jailer as this user and group id (requires root)
  --dry-run        write the configuration, print the command, and start nothing
  --help           show this text
TEXT
}

fail() {
    echo "start.sh: $1" >&2
    [ $# -lt 2 ] || echo "hint: $2" >&2
    exit 1
}

number() {
    case $2 in '' | *[!0-9]* | 0*) fail "$1 takes a positive number, not \"$2\"" ;; esac
}

here=$(cd "$(dirname "$0")" && pwd)
dir=./vms tap=tap0 mac= cpus=2 memory=2048 disk= jailer= dry= name=
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h) usage && exit 0 ;;
    --dry-run) dry=yes && shift && continue ;;
    --dir | --tap | --mac | --cpus | --memory | --disk | --jailer)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
        --dir) dir=$2 ;;
        --tap) tap=$2 ;;
        --mac) mac=$2 ;;
        --cpus) number "$1" "$2" && cpus=$2 ;;
        --memory) number "$1" "$2" && memory=$2 ;;
        --disk) number "$1" "$2" && disk=$2 ;;
        --jailer) number "$1" "$2" && jailer=$2 ;;
        esac
        shift 2
        continue
        ;;
    -*) fail "unknown option $1" "start.sh --help lists the options" ;;
    esac
    [ -z "$name" ] || fail "more than one name was given"
    name=$1
    shift
done
[ -n "$name" ] || fail "the name of the VM is missing" "start.sh --help shows the usage"
case $name in *[!a-z0-9-]* | -*) fail "the name \"$name\" may contain only a-z, 0-9 and -" ;; esac
case $tap in '' | *[!a-zA-Z0-9._-]*) fail "\"$tap\" is not the name of a network device" ;; esac
# 02: a locally administered address (IEEE 802).
[ -n "$mac" ] || mac=$(printf '%s' "$name" | sha256sum | sed 's/^\(..\)\(..\)\(..\)\(..\)\(..\).*/02:\1:\2:\3:\4:\5/')
case $mac in *[!0-9a-fA-F:]*) fail "\"$mac\" is not a MAC address" ;; esac

if [ -z "$dry" ]; then
    command -v firecracker >/dev/null || fail "the program firecracker was not found" "install it, or use --dry-run"
    [ -r /dev/kvm ] && [ -w /dev/kvm ] || fail "/dev/kvm cannot be used" "Firecracker needs KVM: enable virtualization, or run it as root"
fi

mkdir -p "$dir"
vm=$(cd "$dir" && pwd)/$name
mkdir -p "$vm"
for part in root state; do
    [ -e "$vm/$part.ext4" ] && continue
    # Renamed when complete: an interrupted copy is made again.
    cp --sparse=always --reflink=auto "$here/disks/$part.ext4" "$vm/$part.ext4.part"
    [ "$part" = state ] || [ -z "$disk" ] || truncate -s ">${disk}G" "$vm/$part.ext4.part"
    mv "$vm/$part.ext4.part" "$vm/$part.ext4"
done
for file in vmlinux initrd.img; do
    [ -e "$vm/$file" ] || ln "$here/$file" "$vm/$file" 2>/dev/null || cp "$here/$file" "$vm/$file"
done
sed -e 's#"disks/\(root\|state\)\.ext4"#"\1.ext4"#' \
    -e "s#\"host_dev_name\": *\"[^\"]*\"#\"host_dev_name\": \"$tap\", \"guest_mac\": \"$mac\"#" \
    -e "s#\"vcpu_count\": *[0-9]*#\"vcpu_count\": $cpus#" \
    -e "s#\"mem_size_mib\": *[0-9]*#\"mem_size_mib\": $memory#" "$here/vm.json" >"$vm/vm.json"

cd "$vm"
if [ -n "$jailer" ]; then
    set -- jailer --id "$name" --uid "$jailer" --gid "$jailer" --exec-file "$(command -v firecracker || echo firecracker)" \
        --chroot-base-dir "$vm/jail" -- --config-file vm.json --no-api
    root=$vm/jail/firecracker/$name/root
    if [ -z "$dry" ]; then
        mkdir -p "$root"
        for file in vmlinux initrd.img root.ext4 state.ext4 vm.json; do
            ln -f "$vm/$file" "$root/$file"
            chown "$jailer:$jailer" "$root/$file"
        done
    fi
else
    set -- firecracker --no-api --config-file vm.json
fi
if [ -n "$dry" ]; then
    echo "in $vm: $*"
else
    exec "$@"
fi
