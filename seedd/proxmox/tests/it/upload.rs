use crate::support::{IMAGE_BYTES, Lab, results};

const ONE: &str = "{name: a, role: base}";

/// Result of the upload as JSON, and whether the run was good.
fn upload(lab: &Lab) -> serde_json::Value {
    let spec = lab.spec(ONE, "");
    let outcome = lab.run(&spec, false).unwrap();
    assert!(outcome.is_good(), "{}", outcome.text());
    serde_json::to_value(&outcome.images[0]).unwrap()
}

#[test]
fn an_interrupted_upload_continues() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec(ONE, "");
    lab.pin(&spec);
    lab.fault("pve1", "sftp-server", "cut");
    let outcome = lab.run(&spec, false).unwrap();
    assert_eq!(results(&outcome)["a"], "failed upload", "{}", outcome.text());
    let part = format!("{}.part", lab.image_on("pve1"));
    let there = std::fs::metadata(&part).unwrap().len();
    assert!(there > 0 && (there as usize) < IMAGE_BYTES, "{there}");
    assert!(lab.vms("pve1").is_empty());
    let sent = upload(&lab);
    assert_eq!((sent["resumed"].as_u64(), sent["bytes"].as_u64()), (Some(there), Some(IMAGE_BYTES as u64 - there)));
    assert!(!std::fs::exists(&part).unwrap());
    assert_eq!(std::fs::read(lab.image_on("pve1")).unwrap(), std::fs::read(&lab.image.file).unwrap());
}

#[test]
fn a_damaged_part_or_image_is_sent_again() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    lab.pin(&lab.spec(ONE, ""));
    let image = lab.image_on("pve1");
    std::fs::create_dir_all(image.parent().unwrap()).unwrap();
    // A part with another content, as a power failure may leave it.
    std::fs::write(format!("{image}.part"), vec![0; IMAGE_BYTES / 2]).unwrap();
    assert_eq!(upload(&lab)["resumed"], IMAGE_BYTES as u64 / 2);
    assert_eq!(std::fs::read(&image).unwrap(), std::fs::read(&lab.image.file).unwrap());
    // One byte of the finished image changed; a machine is to be made of it again.
    let mut content = std::fs::read(&image).unwrap();
    content[1000] ^= 1;
    std::fs::write(&image, &content).unwrap();
    lab.change_vms("pve1", |vms| vms.clear());
    assert_eq!(upload(&lab)["bytes"], IMAGE_BYTES as u64);
    assert_eq!(std::fs::read(&image).unwrap(), std::fs::read(&lab.image.file).unwrap());
    // Complete and unchanged.
    lab.change_vms("pve1", |vms| vms.clear());
    assert_eq!(upload(&lab)["upload"], "present");
}

#[test]
fn an_image_that_changed_here_is_not_used() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec(ONE, "");
    lab.pin(&spec);
    let mut content = std::fs::read(&lab.image.file).unwrap();
    content[1000] ^= 1;
    std::fs::write(&lab.image.file, &content).unwrap();
    let outcome = lab.run(&spec, false).unwrap();
    assert_eq!(results(&outcome)["a"], "failed upload", "{}", outcome.text());
    assert!(outcome.text().contains("does not have the digest"));
    assert!(lab.vms("pve1").is_empty());
    assert_eq!(std::fs::read_dir(lab.image_on("pve1").parent().unwrap()).unwrap().count(), 0);
}

#[test]
fn a_full_file_system_is_noticed_before_the_upload() {
    let Some(lab) = Lab::start(&["pve1"]) else { return };
    let spec = lab.spec(ONE, "");
    lab.pin(&spec);
    lab.fault("pve1", "df", "full");
    let outcome = lab.run(&spec, false).unwrap();
    assert_eq!(results(&outcome)["a"], "failed upload", "{}", outcome.text());
    assert!(outcome.text().contains("no space left") && outcome.text().contains("the storage is full"), "{}", outcome.text());
    assert!(lab.commands("pve1", "sftp-server").is_empty());
}
