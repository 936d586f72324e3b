//! The seed on every plane, as host number 1: by kernel WireGuard, or by wireguard-go if the kernel has none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use cluster_seed::addressing::{SEED_HOST, address};
use cluster_seed::peers::PeersFile;
use cluster_seed::wireguard::{WgPublicKey, handshakes_to_forget, live, mtu_of, setconf};
use host::clock::now;
use host::files::{PRIVATE, Start, open};
use host::interfaces::{mtu_to, set_address6};
use host::tool::{Running, Tool};
use site::hint::Hint as _;
use site::mode::Mode;
use web::api::ApiError;

use crate::app::App;
use crate::app::settings::KEYLESS_HINT;

/// Time limit of an `ip` or `wg` call.
const LIMIT: Duration = Duration::from_secs(20);
/// Seconds between two looks at the interfaces.
const ROUND: u32 = 60;
const SECOND: Duration = Duration::from_secs(1);
/// How often to check whether a new wireguard-go is ready, a tenth of a second apart.
const READY_TRIES: u32 = 100;

/// The wireguard-go processes of this daemon. One that outlived a killed daemon is found by its interface and kept.
#[derive(Default)]
pub struct Userspace(Mutex<Vec<Running>>);

/// How the interfaces are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum WireGuard {
    /// The kernel's, else wireguard-go
    Auto,
    /// The kernel's only
    Kernel,
    /// wireguard-go only
    Userspace,
    /// None: nodes cannot pass the fabric gate
    Off,
}

fn run(program: &str, args: &[&str]) -> Result<String> {
    let output =
        Tool::new(program).args(args).timeout(LIMIT).run().with_context(|| format!("running {program} {}", args.join(" ")))?;
    Ok(output.text())
}

/// Creates missing interfaces, and sets keys and peers. Idempotent: existing interfaces are kept.
pub fn bring_up(app: &App, how: WireGuard, userspace: &Userspace) -> Result<()> {
    if how == WireGuard::Off {
        return Ok(());
    }
    let peers: PeersFile = match app.signed_peers() {
        Ok(sealed) => sealed.open(&app.site_key).context("checking the peer list")?,
        Err(ApiError::Unavailable { .. }) => return Ok(()),
        Err(e) => return Err(anyhow!("reading the peer list: {e}")),
    };
    let configs = app
        .with_keys(|keys| {
            let mut texts = BTreeMap::new();
            for (name, plane) in &app.spec.spec.networking.planes {
                let Some(key) = keys.planes.get(name) else { continue };
                // Without the interface there is no session either.
                let shown = run("wg", &["show", name, "latest-handshakes"]).unwrap_or_default();
                let peers = peers.peers_at(name, &app.seed_name, &shown);
                texts.insert(name.clone(), setconf(key, plane.value.port, &peers, &live(&shown, now())));
            }
            Ok(texts)
        })
        .map_err(|e| anyhow!("reading the plane keys: {e}"))?;
    let room = underlay_mtu(app);
    let mut keyless = Vec::new();
    for (name, plane) in &app.spec.spec.networking.planes {
        let Some(config) = configs.get(name) else {
            keyless.push(name.as_str());
            continue;
        };
        let own = address(name, plane.value.cidr, SEED_HOST)?;
        if !exists(name) {
            make(app, name, how, userspace)?;
        }
        forget(name)?;
        Tool::new("wg")
            .args(["syncconf", name, "/dev/stdin"])
            .stdin(config.as_bytes())
            .timeout(LIMIT)
            .run()
            .with_context(|| format!("configuring {name}"))?;
        run("ip", &["address", "replace", &format!("{own}/{}", plane.value.cidr.prefix_len()), "dev", name])?;
        let mtu = mtu_of(plane.value.mtu.as_ref().map(|mtu| mtu.value), room);
        run("ip", &["link", "set", name, "mtu", &mtu.to_string(), "up"])?;
        let second = plane.value.range6().and_then(|range| Some((plane.value.address6(own)?, range.prefix_len())));
        // The plane itself works without it, and so do the others.
        if let Err(error) = set_address6("/".into(), name, mtu, second) {
            let error = format!("{:#}", anyhow!(error));
            tracing::warn!(error, plane = name, "the seed has no IPv6 on the plane");
        }
    }
    // The planes that have a key are configured nevertheless.
    if keyless.is_empty() {
        return Ok(());
    }
    Err(anyhow!("the seed has no key for the planes {}", keyless.join(", "))).hint(KEYLESS_HINT)
}

/// MTU of the boot network: that of its interface, or the one that DHCP announces, if that is less. `None` if neither is known.
fn underlay_mtu(app: &App) -> Option<u32> {
    let underlay = &app.spec.spec.networking.underlay;
    // The way to this machine's own address would be the loopback interface.
    let last = Ipv4Addr::from(u32::from(underlay.subnet.broadcast()).saturating_sub(1));
    let other = if last == underlay.seed.value { underlay.subnet.network() } else { last };
    let announced = underlay.dhcp.mtu.map(u32::from);
    mtu_to("/".into(), other).into_iter().chain(announced).min()
}

/// Removes peers that would not be heard any more; they are added again.
fn forget(name: &str) -> Result<()> {
    for key in handshakes_to_forget(&run("wg", &["show", name, "latest-handshakes"])?, now()) {
        run("wg", &["set", name, "peer", &key.to_string(), "remove"])?;
    }
    Ok(())
}

fn exists(name: &str) -> bool {
    // A wireguard-go that was killed leaves no interface behind: its tun device goes with it.
    camino::Utf8Path::new("/sys/class/net").join(name).exists() && run("wg", &["show", name, "listen-port"]).is_ok()
}

fn make(app: &App, name: &str, how: WireGuard, userspace: &Userspace) -> Result<()> {
    let kernel = run("ip", &["link", "add", name, "type", "wireguard"]);
    match (kernel, how) {
        (Ok(_), WireGuard::Auto | WireGuard::Kernel) => return Ok(()),
        (Ok(_), _) => {
            run("ip", &["link", "delete", name])?;
        }
        (Err(e), WireGuard::Kernel) => return Err(e).hint("this kernel has no WireGuard; use --wireguard auto"),
        (Err(error), _) => {
            tracing::debug!(error = format!("{error:#}"), plane = name, "no kernel WireGuard here; using wireguard-go");
        }
    }
    let path = app.site.join("tmp/wireguard-go.log");
    let log = open(&path, Start::End, PRIVATE).with_context(|| format!("opening {path}"))?;
    let mut running = Tool::new("wireguard-go")
        .args(["--foreground", name])
        .env("LOG_LEVEL", "error")
        .spawn(log)
        .with_context(|| format!("starting wireguard-go for {name}"))
        .hint("install wireguard-go, or use a kernel with WireGuard")?;
    for _ in 0..READY_TRIES {
        if exists(name) {
            userspace.0.lock().unwrap_or_else(PoisonError::into_inner).push(running);
            return Ok(());
        }
        if let Some(status) = running.ended() {
            return Err(anyhow!("wireguard-go for {name} ended with {status}")).hint(format!("see its log: {path}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(anyhow!("wireguard-go for {name} did not become ready")).hint(format!("see its log: {path}"))
}

/// Removes the interfaces at an orderly stop, and with them wireguard-go and its keys.
pub fn take_down(app: &App, how: WireGuard, userspace: &Userspace) {
    // Ends those that this daemon started.
    userspace.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    if how == WireGuard::Off || app.is_sealed() {
        return;
    }
    for name in app.spec.spec.networking.planes.keys().filter(|n| exists(n)) {
        if let Err(error) = run("ip", &["link", "delete", name]) {
            tracing::warn!(error = format!("{error:#}"), plane = name, "removing a plane");
        }
    }
}

/// The keys that have the addresses of nodes whose keys are being replaced. `None` if there are no such nodes.
fn moving(app: &App) -> Option<BTreeSet<WgPublicKey>> {
    let list = app.signed_peers().ok()?.open(&app.site_key).ok()?;
    let planes: BTreeSet<&String> = list.rotating.values().flat_map(BTreeMap::keys).collect();
    if planes.is_empty() {
        return None;
    }
    let shown = |plane: &str| run("wg", &["show", plane, "latest-handshakes"]).unwrap_or_default();
    let all = planes.into_iter().flat_map(|plane| list.peers_at(plane, &app.seed_name, &shown(plane)));
    Some(all.filter(|peer| !peer.idle).map(|peer| peer.key).collect())
}

/// Keeps the planes as in the signed list, until the daemon ends. While keys of nodes are replaced, it follows them within a second.
pub async fn keep(app: Arc<App>, how: WireGuard, userspace: Arc<Userspace>) {
    let mut changed = app.planes_changed.subscribe();
    let mut used = None;
    loop {
        changed.borrow_and_update();
        let active = how != WireGuard::Off && !app.is_sealed() && app.mode().is_ok_and(|m| m == Mode::Active);
        if active {
            let (work, processes) = (app.clone(), userspace.clone());
            let brought = tokio::task::spawn_blocking(move || {
                // First: a node that changes over while the planes are set is seen in the next look.
                let now = moving(&work);
                bring_up(&work, how, &processes).map(|()| now)
            });
            match brought.await {
                Ok(Ok(now)) => {
                    used = now;
                    tracing::info!("planes are up to date");
                }
                Ok(Err(error)) => tracing::error!(error = format!("{error:#}"), "bringing the planes up"),
                Err(error) => tracing::error!(%error, "bringing the planes up"),
            }
        }
        // Also now and then without a change: an interface may have been removed.
        for _ in 0..ROUND {
            let pause = if used.is_some() { SECOND } else { SECOND * ROUND };
            match tokio::time::timeout(pause, changed.changed()).await {
                Ok(Err(_)) => return,
                Ok(Ok(())) => break,
                Err(_) if used.is_none() => break,
                Err(_) => {}
            }
            let work = app.clone();
            let now = tokio::task::spawn_blocking(move || moving(&work)).await.ok().flatten();
            if now != used {
                break;
            }
        }
    }
}
