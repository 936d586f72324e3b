//! Machines with arm64: what they boot, and what they are installed from.

use cluster_seed::arch::Arch;
use cluster_seed::enrollment::EnrollmentState as S;
use cluster_seed::ids::Digest;
use cluster_seed::seal::Sealed;
use seedd::app::App;
use site::setting;
use web::api::{ApiError, BootQuery};

use crate::enrollment::{Bench, Machine, PASSPHRASE, admin, bench, form, manifest_for};

/// The artifact of role base for each of these architectures, and no other.
fn artifacts_for(app: &App, arches: &[Arch]) {
    let keys = app.site.keys().unseal(PASSPHRASE).unwrap();
    app.store.write(|tx| tx.unset(&format!("{}base", setting::ARTIFACT))).unwrap();
    for arch in arches {
        let manifest = manifest_for(*arch);
        let folder = app.site.join("artifacts").join(manifest.id.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let sealed = Sealed::sign(&manifest, &keys.site).unwrap();
        std::fs::write(folder.join("manifest.json"), serde_json::to_vec(&sealed).unwrap()).unwrap();
        app.store.write(|tx| tx.set_artifact(&arch.artifact_name("base"), manifest.id)).unwrap();
    }
}

#[test]
fn a_machine_gets_the_artifact_of_its_architecture_or_none() {
    use Arch::{Amd64, Arm64};
    for (has, is, fits) in [(&[Amd64][..], Arm64, false), (&[Arm64], Amd64, false), (&[Amd64, Arm64], Arm64, true)] {
        let Bench { app, _dir } = &bench();
        artifacts_for(app, has);
        app.unseal_with(PASSPHRASE, "test").unwrap();
        let m = Machine { arch: is, ..Machine::new(1) };
        let (id, code) = m.enroll(app);
        let typed = app.approve_by(&admin(), id, &form(&code, "n1"));
        if fits {
            assert_eq!(typed.unwrap().state, S::Confirming);
            assert_eq!(app.status_of(id).unwrap().offer.unwrap().order.artifact, manifest_for(is).id);
            continue;
        }
        let Err(ApiError::BadRequest { why, hint: Some(hint) }) = typed else { panic!("{is} of {has:?}: {typed:?}") };
        assert!(why.contains("has no artifact") && hint.contains("seedd image build"), "{why}; {hint}");
        assert_eq!(why.contains("the machine is arm64"), is == Arm64, "{why}");
        assert_eq!(app.view_of(id).unwrap().state, S::Pending, "it can be approved once there is one");
    }
}

#[test]
fn an_arm64_machine_boots_its_kernel_and_waits_while_there_is_none() {
    let Bench { app, _dir } = &bench();
    let set = Digest::of(b"set");
    let folder = app.site.join("netboot").join(set.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("vmlinuz"), "amd64").unwrap();
    app.store.write(|tx| tx.set_netboot(set)).unwrap();
    let script = |arch: &str, format: Option<&str>| {
        let of = |text: &str| Some(text.to_owned());
        let format = format.map(str::to_owned);
        let query = BootQuery { mac: of("02:00:00:00:00:01"), arch: of(arch), uuid: None, format, only: None };
        app.script_for(&query).unwrap()
    };
    for (format, kernel) in [(None, "/boot/vmlinuz "), (Some("grub"), "/boot/vmlinuz ")] {
        let waits = script("efi-arm64", format);
        assert!(waits.contains("no netboot image for arm64") && !waits.contains("vmlinuz"), "{waits}");
        assert!(script("efi-x64", format).contains(kernel), "an amd64 machine has one");
    }
    std::fs::write(folder.join("vmlinuz-arm64"), "arm64").unwrap();
    for (arch, format, wanted) in [
        ("efi-arm64", None, "/boot/vmlinuz-arm64 "),
        ("http-arm64", None, "/boot/initrd-arm64.img "),
        ("efi-arm64", Some("grub"), "/boot/vmlinuz-arm64 "),
        ("efi-x64", None, "/boot/vmlinuz "),
        ("bios", None, "/boot/initrd.img "),
        ("efi-x64", Some("grub"), "/boot/vmlinuz "),
    ] {
        let text = script(arch, format);
        assert!(text.contains(wanted), "{arch} {format:?}: {text}");
        assert_eq!(text.contains("ttyAMA0"), arch.ends_with("arm64"), "{arch} {format:?}: {text}");
    }
}
