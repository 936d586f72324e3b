use std::collections::BTreeSet;

use cluster_seed::ids::Digest;

use super::*;

fn vm() -> Vm {
    let disk = |size_gib, storage: &str| Disk { size_gib, storage: storage.to_owned() };
    Vm {
        node: "etcd-1".to_owned(),
        role: "etcd".to_owned(),
        vmid: 9004,
        host: "pve1".to_owned(),
        failure_domain: None,
        cpus: 2,
        memory_mib: 4096,
        disks: vec![disk(32, "local-zfs"), disk(100, "tank")],
        nics: vec![Nic { mac: "02:ab:00:00:00:01".parse().unwrap(), bridge: "vmbr0".to_owned(), vlan: Some(20), address: None }],
        image: Digest([7; 32]),
        image_path: "/var/lib/vz/import/kubedos-x.qcow2".to_owned(),
        tags: ["image-0707070707070707", "kubedos", "site-a"].map(str::to_owned).to_vec(),
        serial: "etcd-1.a".to_owned(),
        uuid: "00000000-0000-8000-8000-000000000000".to_owned(),
    }
}

/// What Proxmox VE makes of the options of `create`: volumes with names and sizes, properties in another order.
fn made() -> PresentVm {
    let mut config: BTreeMap<String, String> = create(&vm()).into_iter().collect();
    let mut set = |key: &str, value: &str| config.insert(key.to_owned(), value.to_owned());
    set("efidisk0", "local-zfs:vm-9004-disk-0,efitype=4m,ms-cert=2023k,pre-enrolled-keys=1,size=1M");
    set("tpmstate0", "local-zfs:vm-9004-disk-1,size=4M,version=v2.0");
    set("scsi0", "local-zfs:vm-9004-disk-2,discard=on,iothread=1,size=32G,ssd=1");
    set("scsi1", "tank:vm-9004-disk-0,discard=on,iothread=1,size=100G,ssd=1");
    set("net0", "virtio=02:AB:00:00:00:01,bridge=vmbr0,tag=20");
    set("tags", "image-0707070707070707;kubedos;site-a");
    set("meta", "creation-qemu=9.0.2,ctime=1");
    PresentVm {
        vmid: 9004,
        name: "etcd-1".to_owned(),
        node: "pve1".to_owned(),
        container: false,
        running: true,
        tags: BTreeSet::new(),
        lock: None,
        template: false,
        config,
    }
}

#[test]
fn a_machine_is_created_with_these_options() {
    let options: Vec<String> = create(&vm()).iter().map(|(k, v)| format!("--{k} {v}")).collect();
    assert_eq!(
        options,
        [
            "--name etcd-1",
            "--ostype l26",
            "--machine q35",
            "--bios ovmf",
            "--cpu x86-64-v2-AES",
            "--sockets 1",
            "--cores 2",
            "--memory 4096",
            "--balloon 0",
            "--scsihw virtio-scsi-single",
            "--serial0 socket",
            "--agent enabled=1",
            "--rng0 source=/dev/urandom",
            "--onboot 1",
            "--efidisk0 local-zfs:1,efitype=4m,pre-enrolled-keys=1",
            "--tpmstate0 local-zfs:1,version=v2.0",
            "--scsi0 local-zfs:0,import-from=/var/lib/vz/import/kubedos-x.qcow2,discard=on,iothread=1,ssd=1",
            "--scsi1 tank:100,discard=on,iothread=1,ssd=1",
            "--net0 virtio=02:AB:00:00:00:01,bridge=vmbr0,tag=20",
            "--boot order=scsi0",
            "--smbios1 base64=1,family=a3ViZWRvcw==,serial=ZXRjZC0xLmE=,sku=ZXRjZA==,\
             uuid=00000000-0000-8000-8000-000000000000",
            "--tags image-0707070707070707;kubedos;site-a;kubedos-incomplete",
        ]
    );
}

#[test]
fn what_was_made_differs_in_nothing() {
    assert_eq!(differences(&vm(), &made()), []);
}

#[test]
fn what_an_operator_added_is_no_difference() {
    let mut present = made();
    for (key, value) in [
        ("net0", "virtio=02:AB:00:00:00:01,bridge=vmbr0,firewall=1,tag=20"),
        ("net0", "model=virtio,macaddr=02:AB:00:00:00:01,bridge=vmbr0,tag=20"),
        ("machine", "pc-q35-9.0"),
        ("agent", "1,fstrim_cloned_disks=1"),
        ("tags", "image-0707070707070707;kubedos;mine;site-a"),
        ("hostpci0", "0000:01:00.0"),
        ("scsi0", "local-zfs:vm-9004-disk-2,size=64G"),
        ("scsi0", "local-zfs:vm-9004-disk-2,size=33554432K"),
    ] {
        present.config.insert(key.to_owned(), value.to_owned());
        assert_eq!(differences(&vm(), &present), [], "{key}: {value}");
    }
}

#[test]
fn each_difference_says_what_it_takes() {
    for (key, value, option, to, how) in [
        ("cores", "4", "cores", "2", How::Set),
        ("memory", "current=2048", "memory", "4096", How::Set),
        ("machine", "pc-i440fx-9.0", "machine", "q35", How::Replace),
        ("bios", "", "bios", "ovmf", How::Replace),
        ("efidisk0", "local-zfs:x,size=1M", "efidisk0", EFI, How::Replace),
        ("tpmstate0", "local-zfs:x,version=v1.2", "tpmstate0", TPM, How::Replace),
        ("scsi0", "local-zfs:x,size=31G", "scsi0", "32G", How::Grow),
        ("scsi0", "other:x,size=32G", "scsi0", "local-zfs", How::Replace),
        ("scsi0", "", "scsi0", "local-zfs:32,discard=on,iothread=1,ssd=1", How::Replace),
        ("scsi1", "", "scsi1", "tank:100,discard=on,iothread=1,ssd=1", How::Set),
        ("net0", "virtio=02:AB:00:00:00:01,bridge=vmbr0", "net0", "virtio=02:AB:00:00:00:01,bridge=vmbr0,tag=20", How::Set),
        (
            "net0",
            "e1000=02:AB:00:00:00:01,bridge=vmbr1,firewall=1,tag=20",
            "net0",
            "virtio=02:AB:00:00:00:01,bridge=vmbr0,tag=20,firewall=1",
            How::Set,
        ),
        ("smbios1", "uuid=1", "smbios1", "base64=1", How::Set),
        ("tags", "image-0606060606060606;kubedos;site-a", "image", "image-0707070707070707", How::Replace),
    ] {
        let mut present = made();
        present.config.insert(key.to_owned(), value.to_owned());
        let found = differences(&vm(), &present);
        assert_eq!(found.len(), 1, "{key}: {value}: {found:?}");
        assert_eq!((found[0].option.as_str(), found[0].how), (option, how), "{key}: {value}");
        assert!(found[0].to.starts_with(to), "{key}: {value}: {:?}", found[0].to);
    }
}

#[test]
fn a_missing_tag_is_set_and_others_are_kept() {
    let mut want = vm();
    want.tags.push("lab".to_owned());
    let mut present = made();
    present.config.insert("tags".to_owned(), "image-0707070707070707;kubedos;mine;site-a".to_owned());
    let found = differences(&want, &present);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to, "image-0707070707070707;kubedos;lab;mine;site-a");
}

#[test]
fn a_vlan_that_is_no_longer_wanted_is_removed() {
    let mut want = vm();
    want.nics[0].vlan = None;
    let found = differences(&want, &made());
    assert_eq!(found[0].to, "virtio=02:AB:00:00:00:01,bridge=vmbr0");
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in [("32G", 32 << 30), ("528K", 528 << 10), ("4M", 4 << 20), ("1.5T", 3 << 39), ("512", 512)] {
        assert_eq!(size(text), Some(bytes), "{text}");
    }
    for bad in ["", "G", "32X", "-1G", "1e99T"] {
        assert_eq!(size(bad), None, "{bad}");
    }
}
