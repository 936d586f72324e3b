# Verbs of the project. `./dev VERB` installs what these need and comes here.

target := "x86_64-unknown-linux-gnu"
lab := "target/debug/kubedos-lab"

# Tests that could not run are appended to this file, and listed at the end of `just test`.
export KUBEDOS_SKIPS := env("KUBEDOS_SKIPS", justfile_directory() / "target/skips")

# this list
default:
    @just --list

# the programs of the host, and the agent
build: agent
    cargo build --workspace

# the static agent that travels inside initramfs and artifact, and the flow agent that travels in payloads
agent:
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --profile agent -p payload -p kubedos-flow --target {{target}}

# the same for arm64, with a compiler of Debian's that is fetched once (root)
agent-arm64:
    payload/arm64/build "${CARGO_TARGET_DIR:-target}/aarch64-unknown-linux-gnu/agent/kubedos-node"

# two blank machines become nodes, until Enter; --auto approves by itself; --machines N adds simulated ones
demo *args: build
    {{lab}} demo {{args}}

# everything CI runs; --all adds the long parts
test *args: forget-skips (timed "rules") (timed "unit") (timed "build") && skips
    {{lab}} test {{args}}

# a step, and how long it took
[private]
timed step:
    @began=$(date +%s) && just {{step}} && echo "step {{step}} took $(($(date +%s) - began)) s"

[private]
forget-skips:
    @mkdir -p target && rm -f "$KUBEDOS_SKIPS"

# the tests that the last `test` skipped, and why
skips:
    @[ ! -s "$KUBEDOS_SKIPS" ] || { echo "$(wc -l <"$KUBEDOS_SKIPS") skipped:"; sort "$KUBEDOS_SKIPS" | sed 's/^skipped: /  /'; }
    @[ -s "$KUBEDOS_SKIPS" ] || echo "no test was skipped"

# format, the rules of tidy (layers, circles, licences, duplicates, unused dependencies), clippy, documentation
lint: rules warnings

# format, and the rules of tidy: what answers within a minute
rules:
    cargo fmt --check
    cargo test --quiet -p kubedos-tidy

# clippy and rustdoc, where a warning is an error
warnings:
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps

# what tidy does not know: security advisories; needs cargo-deny
deny:
    cargo deny check licenses bans sources
    @[ ! -d "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" ] || cargo deny --offline check advisories

version := `sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1`
dist := "target/release-dist"

# static programs, the Debian package of the seed with the agents, and checksums, in target/release-dist
release:
    CARGO_PROFILE_AGENT_LTO=fat CARGO_PROFILE_AGENT_CODEGEN_UNITS=1 just agent
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release -p seedd --target {{target}}
    rm -rf {{dist}} && mkdir -p {{dist}}
    install -m 755 target/{{target}}/release/seedd target/{{target}}/agent/kubedos-node \
        target/{{target}}/agent/kubedos-flow {{dist}}
    seedd/debian/build {{dist}}/seedd {{version}} {{dist}}
    cd {{dist}} && sha256sum seedd kubedos-node kubedos-flow *.deb >SHA256SUMS && cat SHA256SUMS

# installs and purges a package in chroots of Debian 12 and 13 (root)
test-deb *args:
    seedd/debian/test {{args}}

# Many tests wait for clocks and packets. So two lanes of them run side by side, and what only compiles (the agent,
# clippy, rustdoc) has the processors when they wait. The long lane is every test target named `it`.
[doc('every test of the workspace; the agent, clippy and rustdoc beside it')]
unit:
    #!/bin/sh
    set -eu
    mkdir -p target
    cargo test --workspace --no-run
    cargo test --workspace --doc
    idle=
    if chrt -i 0 true 2>/dev/null; then idle='chrt -i 0'; fi
    # Sessions of their own, so that all that they started ends with this step.
    setsid sh -c "$idle just agent && $idle just warnings" >target/beside.log 2>&1 &
    beside=$!
    setsid cargo test --workspace --test it >target/it.log 2>&1 &
    it=$!
    trap 'kill -- "-$beside" "-$it" 2>/dev/null || true' EXIT
    trap 'exit 130' INT TERM
    cargo test --workspace --lib --bins --test '[!i]*'
    wait "$it" || { cat target/it.log >&2; exit 1; }
    cat target/it.log
    wait "$beside" || { cat target/beside.log >&2; exit 1; }

# speed: `demo` (its times as JSON), `http` (files beside nginx), `netboot` (DHCP and TFTP beside their peers), `darksite`
# (snapshots beside aptly, reprepro and apt), `fleet` (pages of a seed with 10,000 machines), `formats` (qcow2 from an artifact
# beside qemu-img), `disk DISK.raw` (the same of any raw disk, by the writer alone)
[doc("measurements: demo, http, netboot, darksite, fleet, formats, disk")]
bench what="demo" *args="": build
    @just bench-{{what}} {{args}}

[private]
bench-demo *args:
    {{lab}} demo --auto --times target/times.json {{args}}

[private]
bench-http *args:
    cargo build --release -p seedd
    {{lab}} bench http --seedd target/release/seedd {{args}}

[private]
bench-netboot *args:
    cargo build --release -p pxe --examples
    {{lab}} bench netboot {{args}}

[private]
bench-fleet *args:
    cargo build --release -p seedd
    cargo build --release -p kubedos-tests --bin kubedos-lab
    target/release/kubedos-lab bench fleet --seedd target/release/seedd {{args}}

[private]
bench-darksite *args:
    cargo build --release -p kubedos-tests --bin kubedos-lab
    target/release/kubedos-lab bench darksite {{args}}

[private]
bench-formats:
    cargo build --release -p seedd
    {{lab}} bench formats

[private]
bench-disk raw folder="target" *args:
    cargo build --release -p formats --example convert
    target/release/examples/convert bench {{raw}} {{folder}} {{args}}

# the pictures of the README and of the pages (docs/img)
screenshots: build
    {{lab}} test --only journey --pictures docs/img
    {{lab}} test --only browse --pictures docs/img

# removes what the lab left behind and what it cached
clean:
    [ ! -x {{lab}} ] || {{lab}} clean
