//! What the forms of several pages have in common.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The fields of a form whose names a table makes.
pub(super) type Fields = BTreeMap<String, String>;

/// A field without the white space around it; empty if it is missing.
pub(super) fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map_or("", |v| v.trim())
}

/// A form that is only a button: the token of the session is read before.
#[derive(Deserialize)]
pub(crate) struct Button {}
