//! A site in a directory, for the tests of use cases.

use camino::Utf8Path;
use cluster_seed::cluster::ClusterSpec;

use super::App;

pub const PASSPHRASE: &str = "a passphrase";

/// The site `site-a` with keys and an empty database; sealed.
pub fn app(dir: &Utf8Path) -> App {
    let site = site::Site::new(dir);
    site.make_folders().unwrap();
    let text = site::default_cluster_yaml("site-a");
    let spec = ClusterSpec::parse(&text).unwrap();
    let planes: Vec<String> = spec.spec.networking.planes.keys().cloned().collect();
    site.keys().create_with(10, PASSPHRASE, "site-a", &planes, 1_760_000_000).unwrap();
    std::fs::write(site.cluster_file(), text).unwrap();
    site::store::Store::open(&site.database()).unwrap().set(site::setting::EPOCH, "1").unwrap();
    App::open(site, "10.44.0.1:80".parse().unwrap()).unwrap()
}
