//! The scripts of a netboot bundle, and examples of how other servers serve it.

use anyhow::Result;
use cluster_seed::cluster::ClusterSpec;
use image::foundry::PXE_SCRIPT;
use pxe::dhcp::loader::GRUB_CONFIGS;

use crate::kernel_line::parameters;

const IPXE: &str = include_str!("bundle/boot.ipxe");
const GRUB: &str = include_str!("bundle/grub.cfg");
const DNSMASQ: &str = include_str!("bundle/dnsmasq.conf");
const NGINX: &str = include_str!("bundle/nginx.conf");
const README: &str = include_str!("bundle/README.txt");

/// The texts of the bundle, by path. `seed` is the base URL of the seed that machines enroll at.
pub fn files(spec: &ClusterSpec, seed: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let line = format!("kubedos.seed={seed} {} panic=30", parameters(spec)?);
    let line = line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    // GRUB's name of it has no scheme.
    let address = seed.strip_prefix("http://").unwrap_or(seed).trim_end_matches('/');
    let fill = |text: &str| {
        text.replace("@SEED@", seed)
            .replace("@ADDRESS@", address)
            .replace("@LINE@", &line)
            .replace("@SITE@", spec.metadata.name.as_str())
    };
    let grub = GRUB_CONFIGS.iter().map(|name| ((*name).to_owned(), GRUB));
    let others = [(PXE_SCRIPT, IPXE), ("examples/dnsmasq.conf", DNSMASQ), ("examples/nginx.conf", NGINX), ("README.txt", README)];
    let others = others.into_iter().map(|(name, text)| (name.to_owned(), text));
    Ok(grub.chain(others).map(|(name, text)| (name, fill(text).into_bytes())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_the_seed_and_nothing_is_left_to_fill_in() {
        let spec = ClusterSpec::parse(&site::default_cluster_yaml("north")).unwrap();
        let files = files(&spec, "http://10.44.0.1:8080").unwrap();
        for (name, bytes) in &files {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(!text.contains('@'), "{name}: {text}");
            let script = name.ends_with(".cfg") || name == PXE_SCRIPT;
            assert_eq!(text.contains("kubedos.seed=http://10.44.0.1:8080 "), script, "{name}");
        }
        let text = |wanted: &str| {
            let (_, bytes) = files.iter().find(|(name, _)| name == wanted).unwrap();
            String::from_utf8(bytes.clone()).unwrap()
        };
        assert!(text(PXE_SCRIPT).contains("http://10.44.0.1:8080/boot/ipxe?mac=${netX/mac}&only=installed ||"));
        let (source, linux) =
            ("\"(http,10.44.0.1:8080)/boot/ipxe?format=grub&only=installed&mac=$net_default_mac\"", "linux /vmlinuz");
        let grub = text(GRUB_CONFIGS[0]);
        assert!(grub.find(source).unwrap() < grub.find(linux).unwrap());
        assert_eq!(files.iter().filter(|(name, _)| name.ends_with("grub.cfg")).count(), GRUB_CONFIGS.len());
    }
}
