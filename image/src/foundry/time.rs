//! Times of the snapshot as texts.

use jiff::Timestamp;

use crate::error::Error;

/// The time of seconds since 1970.
pub fn time(epoch: u64) -> Result<Timestamp, Error> {
    let time = i64::try_from(epoch).ok().and_then(|s| Timestamp::from_second(s).ok());
    time.ok_or_else(|| Error::Content("the snapshot's Date is invalid".to_owned()))
}

/// `YYYYMMDDThhmmssZ` of seconds since 1970.
pub fn version(epoch: u64) -> Result<String, Error> {
    Ok(time(epoch)?.strftime("%Y%m%dT%H%M%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_their_dates() {
        assert_eq!(version(0).unwrap(), "19700101T000000Z");
        assert_eq!(version(1_788_012_345).unwrap(), "20260829T140545Z");
        assert!(version(1_788_012_345).unwrap() < version(1_788_012_346).unwrap());
        assert!(version(u64::MAX).is_err());
    }
}
