//! The seed's own keys are changed: while it runs and while it does not, and its nodes follow.

use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::anyhow;
use appliance::console::host::Host;
use appliance::control::listen;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use camino::Utf8Path;
use cluster_seed::agent::ReportBody;
use cluster_seed::ids::{Digest, Mac};
use cluster_seed::peers::PeersFile;
use cluster_seed::wireguard::setconf;
use payload::http::Http;
use payload::node::applied::ListId;
use payload::node::lists::Lists;
use payload::state::{NodeDir, state_files, write_state_files};
use seedd::app::App;
use seedd::app::console::AtConsole;
use serde_json::Value;
use site::keys::PublicKeys;
use site::rotate::Choice;
use site::store::Store;
use site::{Site, setting};
use web::api::{ApiError, BmcKind, SetPower};

use crate::epoch::{node, serve};
use crate::support::capsules::{export, import};
use crate::support::sites::*;

const CONTROLLER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const SNAPSHOT: Digest = Digest([5; 32]);

fn everything() -> Choice {
    Choice { planes: ["wg1", "wg2", "wg3"].map(str::to_owned).into(), vault: true, release: true }
}

fn current(app: &App) -> PeersFile {
    app.signed_peers().unwrap().open(&app.site_key).unwrap()
}

/// A site with a node, a controller and a signed snapshot; everything that the vault key encrypts.
fn used(t: &Temp) -> Site {
    let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
    std::fs::copy(site.keys().release_keyring_path(), site.snapshot(SNAPSHOT).join("keyring.gpg")).unwrap();
    let app = unsealed(&site, A);
    Machine::new(1).install(&app, "n1", false);
    let id = app.store.write(|tx| tx.see_machine(CONTROLLER, None, 1)).unwrap().unwrap();
    let set = SetPower {
        kind: BmcKind::Redfish,
        address: "https://10.44.9.1".into(),
        user: "root".into(),
        password: "calvin".into(),
        cipher_suite: None,
        privilege: None,
    };
    app.set_controller("test", id, &set).unwrap();
    site
}

/// Everything in the database that is encrypted to the vault, decrypted with the keys on the disk.
fn decrypted(site: &Site, passphrase: &str) -> Vec<(String, Vec<u8>)> {
    let store = site.open_store().unwrap();
    let vault = site.keys().unseal(passphrase).unwrap().vault;
    let all = store.read(|tx| tx.vaulted()).unwrap();
    all.into_iter().map(|(what, sealed)| (what, vault.open(&sealed).unwrap().expose().to_vec())).collect()
}

fn copy(site: &Site, to: &Utf8Path) -> Site {
    assert!(Command::new("cp").args(["-a", site.data.as_str(), to.as_str()]).status().unwrap().success());
    Site::new(to)
}

#[test]
fn the_running_seed_changes_its_keys_and_a_node_follows_over_the_boot_network() {
    let t = temp();
    let site = used(&t);
    let app = unsealed(&site, A);
    let machine = Machine::new(2);
    let identity = node(&machine, &app, "n2");
    let began = ReportBody::InstallBegan { artifact: Digest([1; 32]), disk: "vda".into(), total: 100 };
    machine.report(&app, identity.info.enrollment, 1, began).unwrap();
    machine.report(&app, identity.info.enrollment, 2, ReportBody::InstallDone { seconds: 1 }).unwrap();
    let run = t.path.join("n2");
    std::fs::create_dir(&run).unwrap();
    write_state_files(&run, &state_files(&identity, &machine.key).unwrap()).unwrap();
    let dir = NodeDir::new(&run);
    let lists = Lists { dir: &dir, identity: &identity, key: &machine.key, applied: ListId::NONE };
    assert_eq!(lists.refresh(None, &Http::new(&serve(&app))).unwrap().peers, current(&app));

    let (before, old, password) = (current(&app), app.public.clone(), app.show_grub_password("test").unwrap());
    let keyring = |dir: &NodeDir| B64.decode(dir.identity().unwrap().info.darksite.keyring).unwrap();
    let first = site.keys().release_keyring().unwrap();
    assert_eq!(keyring(&dir), first);
    app.rotate_keys("ada", A, &everything(), &mut |_| Ok(())).unwrap();
    assert!(app.is_sealed(), "the old keys are no longer in memory");
    assert!(matches!(app.show_grub_password("test"), Err(ApiError::Sealed)), "nor used until the site is reloaded");
    assert!(*app.changed.borrow());

    let app = Arc::new(app.reopened().unwrap());
    assert!(!app.is_sealed());
    let list = current(&app);
    assert!(list.version > before.version);
    let seed = |list: &PeersFile| list.nodes[&app.seed_name].keys.clone();
    assert_eq!((seed(&before), seed(&list)), (old.planes.clone(), app.public.planes.clone()));
    assert!(old.planes.iter().all(|(plane, key)| app.public.planes[plane] != *key));
    assert_eq!(app.show_grub_password("test").unwrap(), password);

    // Nobody answers on the plane: there the node still has the seed's old key.
    let nobody = format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let url = serve(&app);
    let refreshed = lists.refresh(Some(&Http::new(&nobody)), &Http::new(&url)).unwrap();
    assert_eq!((&refreshed.peers, refreshed.changed, refreshed.on_plane), (&list, true, false));
    let config = setconf(&identity.keys["wg1"], 51821, &refreshed.peers.plane_peers("wg1", &identity.info.hostname), &[]);
    assert!(config.contains(&app.public.planes["wg1"].to_string()) && !config.contains(&old.planes["wg1"].to_string()));

    // The snapshot in use keeps the old release key; once another one is in use, nodes drop it.
    let second = site.keys().release_keyring().unwrap();
    assert_eq!(keyring(&dir), [first.clone(), second.clone()].concat());
    app.store.write(|tx| tx.set_snapshot(Digest([6; 32]))).unwrap();
    app.watch().unwrap();
    lists.refresh(None, &Http::new(&url)).unwrap();
    assert_eq!(keyring(&dir), second);

    let told = app.store.read(|tx| tx.events_after(0, 1000)).unwrap();
    let rotated: Vec<_> = told.iter().filter(|e| e.kind == "keys.rotated").collect();
    assert_eq!(rotated.len(), 5);
    assert!(rotated.iter().all(|e| e.actor.as_deref() == Some("ada")));
    assert!(rotated[3].text.contains("2 identities and 3 passwords"), "{}", rotated[3].text);
}

#[test]
fn a_node_that_does_not_learn_of_new_keys_is_seen() {
    let t = temp();
    let site = used(&t);
    let app = unsealed(&site, A);
    let planes = Choice { planes: ["wg1".to_owned()].into(), ..Choice::default() };
    app.rotate_keys("ada", A, &planes, &mut |_| Ok(())).unwrap();
    let app = app.reopened().unwrap();
    let text = app.store.setting(setting::PEERS_SIGNED).unwrap().unwrap();
    let mut signed: Value = serde_json::from_str(&text).unwrap();
    for field in ["at", "revokedAt"] {
        signed[field] = (signed[field].as_u64().unwrap() - 1000).into();
    }
    app.store.set(setting::PEERS_SIGNED, &signed.to_string()).unwrap();
    // It was installed and has been heard of before.
    let held = site::store::held::HeldRecord { epoch: 1, version: 1, seq: 1, at: 1 };
    let id = app.store.read(|tx| tx.live_nodes()).unwrap()[0].id;
    assert!(app.store.write(|tx| tx.set_held(id, &held)).unwrap());
    let warnings = app.view_overview().unwrap().warnings.join("\n");
    assert!(warnings.contains("keys of planes were changed: 1 of 1 nodes have not received the new ones yet (n1."), "{warnings}");
}

/// Cut off after every step; then the daemon goes on, or another one starts.
#[test]
fn a_seed_that_is_cut_off_after_any_step_has_the_old_keys_or_the_new_ones() {
    let t = temp();
    let site = used(&t);
    let (old, plain) = (site.keys().public().unwrap(), decrypted(&site, A));
    assert_eq!(plain.len(), 4);
    let is_new = |public: &PublicKeys| {
        let new = [public.vault != old.vault, public.release.is_some(), public.planes["wg2"] != old.planes["wg2"]];
        assert!(new.iter().all(|n| *n == new[0]), "{new:?}");
        new[0]
    };
    let mut kinds = Vec::new();
    for stop in 0.. {
        let live = copy(&site, &t.path.join(format!("live-{stop}")));
        let app = unsealed(&live, A);
        let mut count = 0;
        let done = app.rotate_keys("test", A, &everything(), &mut |_| {
            count += 1;
            if count > stop { Err(anyhow!("cut off")) } else { Ok(()) }
        });
        let crashed = copy(&live, &t.path.join(format!("crashed-{stop}")));
        // The daemon itself.
        let changed = *app.changed.borrow();
        let app = if changed { Arc::new(app.reopened().unwrap()) } else { app };
        assert!(!app.is_sealed() && app.show_grub_password("test").is_ok(), "step {stop}");
        assert_eq!(is_new(&app.public), changed, "step {stop}");
        assert_eq!(current(&app).nodes[&app.seed_name].keys, app.public.planes, "step {stop}");
        // The next one.
        let again = unsealed(&crashed, A);
        assert_eq!(is_new(&again.public), changed, "step {stop}");
        assert_eq!(current(&again).nodes[&again.seed_name].keys, again.public.planes, "step {stop}");
        assert_eq!((decrypted(&live, A), decrypted(&crashed, A)), (plain.clone(), plain.clone()), "step {stop}");
        kinds.push(changed);
        if done.is_ok() {
            break;
        }
    }
    assert!(kinds.first() == Some(&false) && kinds.last() == Some(&true) && kinds.len() > 12, "{kinds:?}");
    assert!(kinds.is_sorted(), "{kinds:?}");
}

#[test]
fn a_wrong_passphrase_or_a_standby_changes_nothing() {
    let t = temp();
    let site = used(&t);
    let app = unsealed(&site, A);
    assert!(app.rotate_keys("test", B, &everything(), &mut |_| Ok(())).unwrap_err().to_string().contains("passphrase is wrong"));
    app.store.set(setting::MODE, "standby").unwrap();
    assert!(app.rotate_keys("test", A, &everything(), &mut |_| Ok(())).unwrap_err().to_string().contains("only the active seed"));
    assert!(!app.is_sealed() && !*app.changed.borrow());
    assert_eq!(site.keys().public().unwrap(), app.public);
}

#[test]
fn a_capsule_restores_the_keys_of_its_time() {
    let t = temp();
    let site = used(&t);
    let plain = decrypted(&site, A);
    let (b, c) = (empty(&t.path.join("b"), "b", B), empty(&t.path.join("c"), "c", B));
    let (early, late) = (t.path.join("early.capsule"), t.path.join("late.capsule"));
    export((&site, A), &b, &early, None, false).unwrap();
    let old = site.keys().public().unwrap();
    let app = unsealed(&site, A);
    app.rotate_keys("test", A, &everything(), &mut |_| Ok(())).unwrap();
    let app = app.reopened().unwrap();
    export((&site, A), &c, &late, None, false).unwrap();
    let pin = old.site_key().unwrap();
    for (there, file, keys) in [(&b, &early, &old), (&c, &late, &app.public)] {
        import((there, B), file, &pin, true).unwrap();
        // The operator's key is that of the place.
        let held = there.keys().public().unwrap();
        assert_eq!(PublicKeys { operator: keys.operator.clone(), ..held }, *keys);
        assert_eq!(decrypted(there, B), plain);
        let store = there.open_store().unwrap();
        let (keyring, _) = there.snapshot_keys(&store, SNAPSHOT).unwrap();
        assert_eq!(keyring, std::fs::read(there.snapshot(SNAPSHOT).join("keyring.gpg")).unwrap());
        assert_eq!(store.setting(setting::ROTATED).unwrap(), None, "of the other installation only");
    }
}

fn seedd(t: &Temp, site: &Site, more: &[&str]) -> Output {
    let file = t.path.join("passphrase");
    std::fs::write(&file, A).unwrap();
    let argv = ["keys", "rotate", "--data", site.data.as_str(), "--passphrase-file", file.as_str()];
    Command::new(env!("CARGO_BIN_EXE_seedd")).args(argv).args(more).output().unwrap()
}

#[test]
fn the_command_line_changes_keys_with_and_without_a_daemon() {
    let t = temp();
    let site = used(&t);
    let told = |out: &Output| (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned());
    let (code, usage) = told(&seedd(&t, &site, &["--yes"]));
    assert!(code == Some(2) && usage.contains("--vault"), "{usage}");
    let (code, asked) = told(&seedd(&t, &site, &["--vault"]));
    assert!(code == Some(1) && asked.contains("4 identities and passwords") && asked.contains("--yes"), "{asked}");

    let old = site.keys().public().unwrap();
    let out = seedd(&t, &site, &["--plane", "wg2", "--vault", "--yes", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", told(&out).1);
    assert!(told(&out).1.contains("No seed is running"));
    let value: Value = serde_json::from_slice(&out.stdout).unwrap();
    let new = site.keys().public().unwrap();
    assert_eq!(value["planes"]["wg2"]["old"], old.planes["wg2"].to_string());
    assert_eq!(value["planes"]["wg2"]["new"], new.planes["wg2"].to_string());
    assert_eq!((&value["vault"]["new"], &value["vault"]["passwords"]), (&new.vault.clone().into(), &3.into()));
    assert_eq!((&value["release"], value["planes"].as_object().unwrap().len()), (&Value::Null, 1));
    assert!(!site.control_socket().exists(), "nobody answers there");

    let app = app(&site);
    let socket = listen(&site.control_socket()).unwrap();
    socket.start(Arc::new(AtConsole { app: app.clone(), host: Host::server(&site.data) }));
    let out = seedd(&t, &site, &["--planes", "--release", "--yes"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(0), "{}", told(&out).1);
    assert!(told(&out).1.contains("is unsealed afterwards"));
    assert!(text.contains("plane wg3: new key") && text.contains("1 snapshots keep") && text.contains("next      "), "{text}");
    assert!(*app.changed.borrow(), "the daemon reloads the site");
    assert!(!app.reopened().unwrap().is_sealed());
    assert_ne!(site.keys().public().unwrap().planes["wg2"], new.planes["wg2"]);
    assert!(Store::open(&site.database()).is_ok());
}
