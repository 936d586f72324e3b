use crate::Error;

/// Most bytes of a name: with an extension it fits into the field of a tar header (100 bytes).
const MAX_NAME: usize = 80;

/// A name that needs no quoting, in the descriptor, in XML or in a manifest.
pub(crate) fn check_name<'a>(what: &'static str, name: &'a str) -> Result<&'a str, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let why = match name {
        "" => "it is empty",
        name if name.starts_with(['.', '-']) => "it begins with a dot or a hyphen",
        name if name.len() > MAX_NAME => "it is longer than 80 characters",
        name if !name.chars().all(plain) => "only letters, digits, dots, hyphens and underscores are allowed",
        _ => return Ok(name),
    };
    Err(Error::Value { what, value: name.to_owned(), why })
}
