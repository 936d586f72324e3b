//! Whether the programs that the seed starts are installed.

use camino::Utf8Path;
use cluster_seed::substrate::SubstrateKind;
use host::programs::find_program;
use site::setting;
use web::api::BmcKind;

use super::checks::Subject;
use super::{Check, Health};
use crate::power::controller::Controller;

/// Directories of Debian that the PATH of an ordinary user lacks, and that of a service has.
const MORE: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A program, its package in Debian, and what does not work without it.
struct Needed {
    program: &'static str,
    package: &'static str,
    without: &'static str,
}

const fn needed(program: &'static str, package: &'static str, without: &'static str) -> Needed {
    Needed { program, package, without }
}

const ALWAYS: [Needed; 3] = [
    needed("ip", "iproute2", "the seed gets no addresses on the planes"),
    needed("wg", "wireguard-tools", "nodes cannot pass the fabric gate"),
    needed("chronyc", "chrony", "nodes cannot follow the seed's clock"),
];

const IPMI: Needed = needed("ipmitool", "ipmitool", "controllers cannot be reached by IPMI");

const PROXMOX: [Needed; 3] = [
    needed("ssh", "openssh-client", "virtual machines cannot be created"),
    needed("sftp", "openssh-client", "virtual machines cannot be created"),
    needed("ssh-keyscan", "openssh-client", "virtual machines cannot be created"),
];

/// Those that every seed needs, and those for the controllers and the hypervisors of this site.
pub fn programs(s: &Subject<'_>) -> Check {
    let mut all = Vec::from(ALWAYS);
    if has_ipmi(s) {
        all.push(IPMI);
    }
    let spec = s.site.spec().ok();
    if spec.and_then(|spec| spec.spec.substrate).is_some_and(|substrate| substrate.kind == SubstrateKind::Proxmox) {
        all.extend(PROXMOX);
    }
    judge(&all, &|program| find_program(program).is_some() || MORE.iter().any(|dir| Utf8Path::new(dir).join(program).is_file()))
}

/// Whether the controller of a machine is reached by IPMI.
fn has_ipmi(s: &Subject<'_>) -> bool {
    let kept = s.store.read(|tx| tx.settings_under(setting::CONTROLLER)).unwrap_or_default();
    kept.iter().filter_map(|(_, text)| serde_json::from_str::<Controller>(text).ok()).any(|c| c.kind == BmcKind::Ipmi)
}

fn judge(all: &[Needed], installed: &dyn Fn(&str) -> bool) -> Check {
    let name = "programs";
    let missing: Vec<&Needed> = all.iter().filter(|needed| !installed(needed.program)).collect();
    if missing.is_empty() {
        let names: Vec<&str> = all.iter().map(|needed| needed.program).collect();
        return Check::ok(name, format!("{} are installed", names.join(", ")));
    }
    let texts: Vec<String> = missing.iter().map(|n| format!("{} is not installed: {}", n.program, n.without)).collect();
    let mut packages: Vec<&str> = missing.iter().map(|n| n.package).collect();
    packages.dedup();
    Check::new(name, Health::Warn, texts.join("; "), format!("run `apt install {}`", packages.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named_with_its_package_and_what_fails_without_it() {
        let all = || Vec::from(ALWAYS).into_iter().chain(PROXMOX).collect::<Vec<_>>();
        let check = judge(&all(), &|_| true);
        assert_eq!((check.health, check.advice.as_str()), (Health::Ok, ""));
        let check = judge(&all(), &|program| program != "wg");
        assert_eq!(check.text, "wg is not installed: nodes cannot pass the fabric gate");
        assert_eq!((check.health, check.advice.as_str()), (Health::Warn, "run `apt install wireguard-tools`"));
        let check = judge(&all(), &|program| !program.starts_with("ss") && program != "sftp" && program != "ip");
        assert_eq!(check.advice, "run `apt install iproute2 openssh-client`", "each package once");
    }

    #[test]
    fn ipmitool_is_needed_only_where_a_controller_is_reached_by_ipmi() {
        let dir = tempfile::tempdir().unwrap();
        let site = site::Site::new(Utf8Path::from_path(dir.path()).unwrap());
        site.make_folders().unwrap();
        std::fs::write(site.cluster_file(), site::default_cluster_yaml("site-a")).unwrap();
        drop(site::store::Store::open(&site.database()).unwrap());
        let s = Subject::new(&site, None).unwrap();
        let keep = |mac: &str, kind: &str| {
            let text = format!(r#"{{"kind":"{kind}","host":"10.44.9.1","port":623,"user":"admin","password":"","pin":null}}"#);
            s.store.set(&format!("{}{mac}", setting::CONTROLLER), &text).unwrap();
        };
        keep("52:54:00:ab:00:01", "redfish");
        assert!(!has_ipmi(&s));
        keep("52:54:00:ab:00:02", "ipmi");
        assert!(has_ipmi(&s));
    }
}
