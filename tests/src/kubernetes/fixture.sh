#!/bin/sh
# Builds Kubernetes 1.20.2 from Debian 12's source package with Debian's Go 1.19: programs for tests, never a part of the product.
# Usage: fixture.sh CACHE. Prints the directory with the programs and the file `version`; what is there is not built again.
#
# The package is the whole tree of upstream with its dependencies, but its kubeadm panics with Go 1.18 and later: reflect2 1.0.1
# among the dependencies knows the maps of older versions of Go only. Debian has 1.0.2. The API server's OpenAPI code is generated,
# by the tree's own Makefile, which wants rsync.
set -eu
cache=$1
suite=bookworm
version=1.20.2
# Changed when this script makes something else from the same sources.
recipe=1
programs="kube-apiserver kube-controller-manager kube-scheduler kubelet kubeadm kube-proxy kubectl"
base=$cache/kubernetes-fixture
mkdir -p "$base"

# A state of apt's own, for the mirror that this machine uses.
apt() {
    tool=$1
    shift
    "$tool" -q -o Dir::Etc::SourceList="$base/apt/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State::Lists="$base/apt/lists" -o Dir::State::Status="$base/apt/status" \
        -o Dir::Cache="$base/apt/cache" -o APT::Sandbox::User= -o Acquire::Languages=none -o APT::Architecture=amd64 \
        -o APT::Update::Error-Mode=any "$@"
}

prepare_apt() {
    mkdir -p "$base/apt/lists/partial" "$base/apt/cache/archives/partial"
    : >"$base/apt/status"
    mirror=$(apt-get indextargets --format '$(ORIGIN)|$(COMPONENT)|$(REPO_URI)|$(CODENAME)' 'Created-By: Packages' |
        sed -n 's/^Debian|main|\(.*\)|[a-z]*$/\1/p' | grep -v security | head -1)
    [ -n "$mirror" ] || { echo "apt has no mirror of Debian" >&2; exit 1; }
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    printf 'deb [signed-by=%s] %s %s main\ndeb-src [signed-by=%s] %s %s main\n' \
        "$keyring" "$mirror" "$suite" "$keyring" "$mirror" "$suite" >"$base/apt/sources.list"
    apt apt-get update >&2
}

# The source is named by the digest of its description, which lists the digests of its parts.
source_digest() {
    mkdir -p "$base/source"
    (cd "$base/source" && apt apt-get source --download-only kubernetes >&2)
    sha256sum "$base"/source/kubernetes_*.dsc | cut -c1-16
}

# Debian's packages as a tree of tools, without installing them.
tools() {
    [ -e "$base/tools/.complete" ] && return
    rm -rf "$base/tools" "$base/debs"
    mkdir -p "$base/debs"
    # The mode of iptables in an image is chosen by a link; the libraries are those of the package's dependencies.
    (cd "$base/debs" && apt apt-get download golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev rsync libpopt0 \
        libxxhash0 >&2)
    for deb in "$base"/debs/*.deb; do
        dpkg-deb -x "$deb" "$base/tools"
    done
    touch "$base/tools/.complete"
}

# What kube-proxy calls, with its libraries, for its image.
proxy_root() {
    [ -e "$out/proxy/.complete" ] && return
    rm -rf "$out/proxy" "$base/proxy-debs"
    mkdir -p "$base/proxy-debs"
    (cd "$base/proxy-debs" && apt apt-get download iptables conntrack libxtables12 libip4tc2 libip6tc2 libmnl0 libnftnl11 \
        libnetfilter-conntrack3 libnfnetlink0 libc6 libgcc-s1 libedit2 libbsd0 libmd0 libtinfo6 libgmp10 kmod libkmod2 libzstd1 \
        liblzma5 libssl3 libnftables1 libjansson4 >&2)
    for deb in "$base"/proxy-debs/*.deb; do
        dpkg-deb -x "$deb" "$out/proxy"
    done
    rm -rf "$out/proxy/usr/share/doc" "$out/proxy/usr/share/man" "$out/proxy/usr/share/locale" "$out/proxy/usr/lib/x86_64-linux-gnu/gconv"
    for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
        ln -sf xtables-nft-multi "$out/proxy/usr/sbin/$name"
    done
    touch "$out/proxy/.complete"
}

unpack() {
    [ -e "$base/go/.complete" ] && return
    rm -rf "$base/go"
    mkdir -p "$base/go/src/k8s.io"
    dpkg-source -q --no-check -x "$base"/source/kubernetes_*.dsc "$base/go/src/k8s.io/kubernetes" >&2
    reflect=$base/go/src/k8s.io/kubernetes/vendor/github.com/modern-go/reflect2
    rm -rf "$reflect"
    cp -rL "$base/tools/usr/share/gocode/src/github.com/modern-go/reflect2" "$reflect"
    cat >"$base/git-version" <<END
KUBE_GIT_COMMIT='faecb196815e248d3ecfb03c680a4507229c2a56'
KUBE_GIT_TREE_STATE='clean'
KUBE_GIT_VERSION='v$version'
KUBE_GIT_MAJOR='1'
KUBE_GIT_MINOR='20'
END
    touch "$base/go/.complete"
}

build() {
    tree=$base/go/src/k8s.io/kubernetes
    export GOROOT="$base/tools/usr/lib/go-1.19" GOPATH="$base/go" GOCACHE="$base/cache" GO111MODULE=off CGO_ENABLED=0 GOFLAGS=-p=1
    export PATH="$GOROOT/bin:$base/tools/usr/bin:$PATH" KUBE_GIT_VERSION_FILE="$base/git-version" GOTOOLCHAIN=local
    export LD_LIBRARY_PATH="$base/tools/usr/lib/x86_64-linux-gnu"
    if [ ! -e "$out/bin/kube-apiserver" ]; then
        # It generates what the others are built without.
        (cd "$tree" && make all WHAT=cmd/kube-apiserver GOLDFLAGS='-s -w' >&2)
        cp "$tree/_output/local/go/bin/kube-apiserver" "$out/bin/kube-apiserver.new"
        mv "$out/bin/kube-apiserver.new" "$out/bin/kube-apiserver"
    fi
    flags="-s -w"
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        package=k8s.io/kubernetes/vendor/$package
        flags="$flags -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=20 -X $package.gitTreeState=clean"
    done
    for program in $programs; do
        [ -e "$out/bin/$program" ] && continue
        echo "building $program" >&2
        (cd "$tree" && go build -ldflags "$flags" -o "$out/bin/$program.new" "k8s.io/kubernetes/cmd/$program")
        mv "$out/bin/$program.new" "$out/bin/$program"
    done
    [ -e "$out/bin/pause" ] || gcc -Os -Wall -static -DVERSION=fixture -o "$out/bin/pause" "$tree"/build/pause/linux/pause.c ||
        gcc -Os -Wall -static -DVERSION=fixture -o "$out/bin/pause" "$tree"/build/pause/pause.c
}

prepare_apt
out=$base/$(source_digest)-$recipe
mkdir -p "$out/bin"
if [ ! -e "$out/version" ]; then
    tools
    proxy_root
    unpack
    build
    # What was needed to build is large.
    rm -rf "$base/go" "$base/cache"
    echo "$version" >"$out/version"
fi
echo "$out"
