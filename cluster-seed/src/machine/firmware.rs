//! Texts that firmware reports: dates in vendors' forms, and placeholders that vendors forgot to fill in.

/// Year, month, day.
pub type Date = (u16, u16, u16);

/// Texts of SMBIOS fields that say nothing, in lower case without punctuation and spaces. From vendors' tables.
const PLACEHOLDERS: [&str; 33] = [
    "assettag",
    "baseboardserialnumber",
    "chassisserialnumber",
    "customer",
    "default",
    "defaultstring",
    "empty",
    "invalid",
    "na",
    "no",
    "none",
    "noserial",
    "notapplicable",
    "notavailable",
    "notspecified",
    "null",
    "oem",
    "oemstring",
    "other",
    "outofspec",
    "productname",
    "serial",
    "serialnumber",
    "system",
    "systemmanufacturer",
    "systemname",
    "systemproductname",
    "systemserialnumber",
    "systemversion",
    "tobefilledbyoem",
    "undefined",
    "unknown",
    "badindex",
];
/// The first digits of a counted-up number that stands for a missing one.
const COUNTED: [&str; 2] = ["0123456789", "123456789"];
/// UUIDs that many machines share: examples of the SMBIOS specification and of firmware kits.
const SHARED_UUIDS: [&str; 5] = [
    "03000200-0400-0500-0006-000700080009",
    "03020100-0504-0706-0809-0a0b0c0d0e0f",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "12345678-1234-1234-1234-123456789abc",
];

/// True if a text from SMBIOS is a placeholder, for example `To be filled by O.E.M.`, `Default string` or `0123456789`.
pub fn is_placeholder(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let mut chars = plain.chars();
    let same = chars.next().is_none_or(|first| plain.len() > 1 && chars.all(|c| c == first));
    same || PLACEHOLDERS.contains(&plain.as_str())
        || COUNTED.iter().any(|c| c.starts_with(&plain) && plain.len() > 5 || plain == format!("{c}0"))
}

/// True if a UUID is one that says nothing about the machine: one digit repeated, or shared by a vendor's machines.
pub fn is_shared_uuid(uuid: &str) -> bool {
    let lower = uuid.to_lowercase();
    let mut digits = lower.chars().filter(char::is_ascii_hexdigit);
    let first = digits.next();
    first.is_none_or(|f| digits.all(|d| d == f)) || SHARED_UUIDS.contains(&lower.as_str())
}

/// The date in a form that vendors write: MM/DD/YYYY (SMBIOS 3.7 section 7.1), MM/DD/YY, DD/MM/YYYY where the first number
/// cannot be a month, YYYY-MM-DD, YYYY/MM/DD or YYYYMMDD, with `/`, `-` or `.` between. Two-digit years before 80 are of this
/// century.
pub fn parse_date(text: &str) -> Option<Date> {
    let text = text.split([' ', 'T']).next().unwrap_or("");
    let number =
        |t: &str| (1..=4).contains(&t.len()).then(|| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse().ok()))??;
    if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
        return valid((number(&text[..4])?, number(&text[4..6])?, number(&text[6..])?));
    }
    let parts: Vec<&str> = text.split(['/', '-', '.']).collect();
    let [a, b, c] = parts[..] else { return None };
    let (x, y, z) = (number(a)?, number(b)?, number(c)?);
    if a.len() == 4 {
        return valid((x, y, z));
    }
    let year = match c.len() {
        4 => z,
        2 if z >= 80 => 1900 + z,
        2 => 2000 + z,
        _ => return None,
    };
    valid((year, x, y)).or_else(|| valid((year, y, x)))
}

fn valid(date: Date) -> Option<Date> {
    let (year, month, day) = date;
    ((1980..=2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_the_forms_that_vendors_write() {
        for (text, date) in [
            ("01/15/2024", Some((2024, 1, 15))),
            ("1/5/2024", Some((2024, 1, 5))),
            ("09/01/99", Some((1999, 9, 1))),
            ("04/01/14", Some((2014, 4, 1))),
            ("2019-01-31", Some((2019, 1, 31))),
            ("2019/01/31", Some((2019, 1, 31))),
            ("2019.01.31", Some((2019, 1, 31))),
            ("2019-01-31T10:00:00Z", Some((2019, 1, 31))),
            ("20190131", Some((2019, 1, 31))),
            ("01-31-2019", Some((2019, 1, 31))),
            ("31/01/2019", Some((2019, 1, 31))),
            ("31.01.2019", Some((2019, 1, 31))),
            ("01/31/2019 10:00", Some((2019, 1, 31))),
            ("", None),
            ("1/2", None),
            ("+1/01/2019", None),
            ("999/01/2019", None),
            ("13/13/2019", None),
            ("00/00/0000", None),
            ("01/01/1", None),
            ("2019-13-01", None),
            ("20191301", None),
            ("\u{662}019-01-01", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse_date(text), date, "{text}");
        }
    }

    #[test]
    fn placeholders_are_not_values() {
        for text in [
            "To be filled by O.E.M.",
            "To Be Filled By O.E.M. ",
            "Default string",
            "System Serial Number",
            "System manufacturer",
            "Not Specified",
            "Not Applicable",
            "N/A",
            "None",
            "0123456789",
            "1234567890",
            "123456789",
            "00000000",
            "xxxxxxxxxx",
            "FFFFFFFF",
            "........",
            "",
            " ",
            "<BAD INDEX>",
            "OEM",
            "Chassis Serial Number",
        ] {
            assert!(is_placeholder(text), "{text:?}");
        }
        for text in
            ["Dell Inc.", "7XKJ3M2", "1234", "PowerEdge R640", "HPE", "0", "QEMU", "VMware-42 1d", "111-222", "Supermicro", "Z"]
        {
            assert!(!is_placeholder(text), "{text:?}");
        }
    }

    #[test]
    fn shared_uuids_say_nothing() {
        for uuid in [
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "00000000-0000-0000-0000-000000000000",
            "03000200-0400-0500-0006-000700080009",
            "",
        ] {
            assert!(is_shared_uuid(uuid), "{uuid}");
        }
        assert!(
            !is_shared_uuid("4c4c4544-0058-4b10-8033-b7c04f4d3232") && !is_shared_uuid("11111111-1111-1111-1111-111111111112")
        );
    }
}
