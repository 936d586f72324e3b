//! The check `egress`: a node of a site without upstream has no way to the outside.

use std::time::Duration;

use cluster_seed::repo::RepoMode;
use host::tool::Tool;

use crate::http::chain;

const LIMIT: Duration = Duration::from_secs(20);

/// Looks for default routes of both families, in every table.
pub fn check(mode: RepoMode) -> Result<String, String> {
    let routes = |family: &str| {
        let output = Tool::new("ip").args([family, "-o", "route", "show", "table", "all"]).timeout(LIMIT).run();
        output.map(|o| o.text()).map_err(|e| chain(&e))
    };
    judge(mode, &format!("{}\n{}", routes("-4")?, routes("-6")?))
}

/// `text`: what `ip route show table all` prints.
fn judge(mode: RepoMode, text: &str) -> Result<String, String> {
    // The kernel has "unreachable default" in IPv6 by itself.
    let outward = text.lines().map(str::trim).filter(|l| l.starts_with("default ") || l.starts_with("0.0.0.0/1 "));
    let found: Vec<&str> = outward.collect();
    match found.first() {
        None => Ok("no default route".to_owned()),
        Some(route) if mode == RepoMode::Darksite => Err(format!("there is a default route: {route}")),
        Some(route) => Ok(format!("darksite.mode is {}, so a default route is allowed: {route}", mode.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_for_sites_with_upstream() {
        let inside = "10.44.0.0/24 dev ens3 proto kernel scope link src 10.44.0.101\nlocal 127.0.0.1 dev lo table local\n\
                      unreachable default dev lo metric 4294967295 error -101 pref medium\n10.78.0.0/16 dev wg1\n";
        assert!(judge(RepoMode::Darksite, inside).is_ok());
        for route in ["default via 10.44.0.254 dev ens3", "default dev wg1 table 51820", "0.0.0.0/1 via 10.44.0.254 dev ens3"] {
            let text = format!("{inside}{route}\n");
            assert!(judge(RepoMode::Darksite, &text).unwrap_err().contains(route));
            assert!(judge(RepoMode::Both, &text).is_ok() && judge(RepoMode::Connected, &text).is_ok());
        }
    }
}
