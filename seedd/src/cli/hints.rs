//! What to do about an error, from the errors that know it themselves and from the hints that were attached on the way.

use std::error::Error;

use darksite::audit::verify::VerifyError;
use darksite::extras::ExtrasError;
use darksite::upstream::fetch::FetchError;
use darksite::upstream::pool::PoolError;
use darksite::upstream::trust::TrustError;
use host::files::FileError;
use pxe::server::bind::BindError;
use site::hint;
use web::api::ApiError;

use crate::remote::Refused;

/// Every hint of the chain once, that of the cause first.
pub fn of(error: &anyhow::Error) -> Vec<String> {
    hint::all(error, &own)
}

fn own(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(e) = error.downcast_ref::<image::Error>() {
        return e.hint().map(str::to_owned);
    }
    if let Some(e) = error.downcast_ref::<image::ChunkError>() {
        return e.hint().map(str::to_owned);
    }
    if let Some(e) = error.downcast_ref::<darksite::Error>() {
        return e.hint().map(str::to_owned);
    }
    if let Some(e) = error.downcast_ref::<ExtrasError>() {
        return e.hint().map(str::to_owned);
    }
    if let Some(e) = error.downcast_ref::<VerifyError>() {
        return Some(e.hint().to_owned());
    }
    if let Some(e) = error.downcast_ref::<PoolError>() {
        return Some(e.hint().to_owned());
    }
    if let Some(e) = error.downcast_ref::<FetchError>() {
        return Some(e.hint().to_owned());
    }
    if let Some(e) = error.downcast_ref::<TrustError>() {
        return Some(e.hint().to_owned());
    }
    if let Some(e) = error.downcast_ref::<BindError>() {
        return Some(e.hint());
    }
    if let Some(e) = error.downcast_ref::<Refused>() {
        return e.hint();
    }
    match (error.downcast_ref::<FileError>(), error.downcast_ref::<ApiError>()) {
        // Its other hints are about the data directory, and this may be any file that the operator named.
        (Some(e @ FileError::Full { .. }), _) => Some(e.hint().to_owned()),
        (_, Some(ApiError::Sealed)) => Some("unseal it first: `seedd unseal`".to_owned()),
        (_, Some(e)) => e.hint().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use site::hint::Hint as _;

    use super::*;

    fn full() -> FileError {
        FileError::Full { action: "writing", path: "/data/x".into() }
    }

    #[test]
    fn an_error_that_knows_a_way_out_says_so_however_deep_it_is() {
        let cases: [(anyhow::Error, &str); 8] = [
            (image::Error::Changed { path: "/p".into() }.into(), "darksite verify"),
            (image::Error::from(full()).into(), "free some disk space"),
            (darksite::Error::Cancelled.into(), "run it again"),
            (VerifyError::OtherVersion.into(), "build it again"),
            (FetchError::Scheme("ftp".to_owned()).into(), "http://"),
            (TrustError::TooLarge(1).into(), "Debian archive"),
            (BindError::NoSuchInterface { iface: "x".into() }.into(), "ip -brief link"),
            (ApiError::bad("no", "do it otherwise").into(), "do it otherwise"),
        ];
        for (error, way) in cases {
            let text = format!("{error:#}");
            let hints = of(&error.context("building").context("outer"));
            assert!(hints.len() == 1 && hints[0].contains(way), "{text}: {hints:?}");
        }
    }

    #[test]
    fn every_hint_of_the_chain_is_said_once_and_the_causes_first() {
        let inner: anyhow::Result<()> = Err(image::Error::from(full())).hint("attached below").context("building");
        let error = inner.hint("attached above").hint("attached above").unwrap_err();
        assert_eq!(of(&error), [full().hint(), "attached below", "attached above"]);
        assert_eq!(format!("{error:#}"), "building: the disk is full while writing /data/x");
        assert_eq!(of(&anyhow!("no way out").context("outer")), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_the_operator_named_is_not_blamed_on_the_data_directory() {
        let error = host::files::read_limited("/nonesuch/passphrase".into(), 10).unwrap_err();
        assert_eq!(of(&error.into()), Vec::<String>::new());
    }
}
