use std::fs;

use super::*;

fn machine() -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    for (path, text) in [
        ("sys/class/net/eth0/type", "1\n"),
        ("sys/class/net/eth0/address", "52:54:00:00:00:01\n"),
        ("sys/class/net/eth0/carrier", "1\n"),
        ("sys/class/net/eth1/type", "1\n"),
        ("sys/class/net/lo/type", "772\n"),
        ("sys/class/net/wg1/type", "65534\n"),
        ("sys/block/vda/size", "8192\n"),
        ("sys/block/loop0/size", "8192\n"),
        ("state/empty", ""),
        ("run/empty", ""),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let place = Place { state: root.join("state"), run: root.join("run") };
    (dir, Host { root, appliance: Some(place), state: "memory".to_owned() })
}

#[test]
fn only_ethernet_is_shown() {
    let (_dir, host) = machine();
    let addresses = BTreeMap::from([("eth0".to_owned(), vec!["10.0.0.2/24".to_owned()])]);
    let seen = interfaces(&host.root, &addresses);
    let short: Vec<_> = seen.iter().map(|i| (i.name.as_str(), i.up, i.addresses.len())).collect();
    assert_eq!(short, [("eth0", true, 1), ("eth1", false, 0)]);
    assert_eq!(disks(&host.root).iter().map(|d| (d.name.as_str(), d.size)).collect::<Vec<_>>(), [("vda", 4 << 20)]);
}

#[test]
fn settings_are_judged() {
    let (interfaces, disks) = (["eth0".to_owned()], ["vda".to_owned()]);
    let judged = |settings: &Settings| check(settings, &interfaces, &disks).err().map(|e| e.to_string());
    assert_eq!(judged(&Settings::default()), None);
    let iface = |name: &str| Settings { iface: Some(name.to_owned()), ..Settings::default() };
    assert_eq!(judged(&iface("eth0")), None);
    for bad in ["eth1", "", "../eth0", "eth0\n"] {
        assert!(judged(&iface(bad)).is_some(), "{bad:?}");
    }
    let state = |path: &str| Settings { state: Some(StatePlace::Disk(path.to_owned())), ..Settings::default() };
    assert_eq!(judged(&state("/dev/vda")), None);
    for bad in ["vda", "/dev/vdb", "/dev/", "/dev/../dev/vda", "/etc/passwd"] {
        assert!(judged(&state(bad)).is_some(), "{bad:?}");
    }
    for (net, good) in [
        ("10.1.2.3/24", true),
        ("10.1.2.3/8", true),
        ("10.1.2.3/7", false),
        ("10.1.2.1/30", true),
        ("10.1.2.1/31", false),
        ("10.1.2.0/24", false),
        ("10.1.2.255/24", false),
        ("127.0.0.2/8", false),
        ("0.1.2.3/16", false),
        ("224.0.0.5/24", false),
        ("250.0.0.5/24", false),
        ("169.254.7.7/16", false),
        ("192.168.0.1/16", true),
    ] {
        let settings = Settings { address: Some(Address::Static(net.parse().unwrap())), ..Settings::default() };
        assert_eq!(judged(&settings).is_none(), good, "{net}");
    }
}

#[test]
fn settings_are_stored_whole_or_not_at_all() {
    let (_dir, host) = machine();
    assert_eq!(host.settings().unwrap(), Settings::default());
    let good = Settings { iface: Some("eth1".to_owned()), address: Some(Address::Dhcp), ..Settings::default() };
    host.store_settings(&good).unwrap();
    assert_eq!(host.settings().unwrap(), good);
    let bad = Settings { iface: Some("eth7".to_owned()), ..Settings::default() };
    assert!(host.store_settings(&bad).is_err());
    assert_eq!(host.settings().unwrap(), good);
    let place = host.appliance.clone().unwrap();
    fs::write(place.state.join(FILE), "{\"iface\":\"eth1\",\"surprise\":1}").unwrap();
    assert!(host.settings().is_err(), "unknown fields are refused");
    fs::write(place.state.join(FILE), vec![b' '; MAX_SETTINGS as usize + 1]).unwrap();
    assert!(host.settings().is_err(), "too large");
}

#[test]
fn power_leaves_a_word_and_a_server_refuses() {
    let (_dir, host) = machine();
    let run = host.appliance.clone().unwrap().run;
    host.power(Wish::Reboot).unwrap();
    assert!(run.join("reboot").exists() && !run.join("poweroff").exists());
    host.power(Wish::PowerOff).unwrap();
    assert!(run.join("poweroff").exists());
    let server = Host { appliance: None, ..host };
    assert!(server.power(Wish::PowerOff).is_err() && server.store_settings(&Settings::default()).is_err());
    assert_eq!(server.settings().unwrap(), Settings::default());
}

#[test]
fn the_pages_have_addresses_a_browser_can_open() {
    let eth0 = InterfaceView { addresses: vec!["10.0.0.2/24".to_owned(), "2001:db8::2/64".to_owned()], ..Default::default() };
    let urls = |scheme, at: &str| page_urls(scheme, at.parse().unwrap(), std::slice::from_ref(&eth0));
    assert_eq!(urls("http", "127.0.0.1:8080"), ["http://127.0.0.1:8080"]);
    assert_eq!(urls("https", "10.0.0.2:443"), ["https://10.0.0.2"]);
    assert_eq!(urls("https", "0.0.0.0:443"), ["https://10.0.0.2"]);
    assert_eq!(urls("https", "[::]:8443"), ["https://10.0.0.2:8443", "https://[2001:db8::2]:8443"]);
}
