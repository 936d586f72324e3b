//! GRUB's menu of a seed medium.

use cluster_seed::ids::Digest;
use cluster_seed::medium::PARAMETER;

use crate::iso::boot::{MENU_END, MENU_HEAD};

/// `boot/grub/grub.cfg` of the medium. `key` is the key of the site that built it, in hex. The kernel prints to every console
/// named on its command line; the last one is also /dev/console.
pub(crate) fn menu(key: &str, version: &str, id: Digest) -> String {
    let entry = |title: &str, parameters: &str| {
        format!(
            "menuentry '{title}' {{
    linux /boot/vmlinuz {PARAMETER}={key} panic=30 systemd.gpt_auto=no {parameters}
    initrd /boot/initrd.img
}}
"
        )
    };
    let both = "console=tty0 console=ttyS0,115200n8";
    let mut text = MENU_HEAD.to_owned();
    text.push_str(&format!("echo 'Kubedos seed {version}, medium {}'\n", id.short()));
    text.push_str(&entry("Kubedos seed", both));
    text.push_str(&entry("Kubedos seed (serial console only)", "console=ttyS0,115200n8"));
    text.push_str(&entry("Kubedos seed (screen only)", "console=tty0"));
    text.push_str(&entry("Kubedos seed (state in memory, lost at power-off)", &format!("{both} kubedos.state=ram")));
    text.push_str(MENU_END);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_trusts_the_site_and_the_first_uses_both_consoles() {
        let key = "ab".repeat(32);
        let text = menu(&key, "1.2.3", Digest::of(b"x"));
        let lines: Vec<&str> = text.lines().filter(|l| l.trim_start().starts_with("linux ")).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|l| l.contains(&format!(" kubedos.medium={key} "))));
        assert!(lines[0].ends_with("console=tty0 console=ttyS0,115200n8"));
        assert!(!lines[1].contains("tty0") && !lines[2].contains("ttyS0"));
        assert!(lines[3].ends_with(" kubedos.state=ram"));
        assert!(text.contains("set timeout=5\nset default=0\n"));
        // A quote would end a title.
        assert!(text.lines().all(|l| l.matches('\'').count().is_multiple_of(2)));
    }
}
