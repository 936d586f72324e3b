//! People: what a person or a program may do at the seed, and the names of sessions and API tokens.
//!
//! Somebody's [`Rights`] include a set of [`Permission`]s. An API token has some of the permissions of the user who made it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Secret part of an API token, in bytes.
pub const TOKEN_RANDOM: usize = 28;
/// Bytes of it that name the token; the rest is the secret.
const TOKEN_NAME: usize = 4;
/// With what an API token begins, so that secret scanners recognise it.
pub const TOKEN_PREFIX: &str = "kbd_";
/// Most characters of the name of an API token.
pub const MAX_TOKEN_NAME: usize = 64;
/// Validity of an API token in days: the default, and the most.
pub const TOKEN_DAYS: u32 = 90;
pub const MAX_TOKEN_DAYS: u32 = 365;

/// A word that names no value of a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not one of {of}")]
pub struct UnknownWord {
    word: String,
    of: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $of:literal, $($(#[$about:meta])* $variant:ident $word:literal,)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$about])* $variant,)+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word in the database, on the wire and on pages.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                let found = Self::ALL.iter().find(|one| one.as_str() == word).copied();
                found.ok_or_else(|| UnknownWord { word: word.chars().take(32).collect(), of: $of })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

words! {
    /// What somebody is at this seed.
    Rights, "viewer, auditor, operator, administrator",
    /// Sees everything but people and the audit log.
    Viewer "viewer",
    /// Sees everything, and who did what.
    Auditor "auditor",
    /// Works with machines: approval, power, convergence, images.
    Operator "operator",
    /// May do everything.
    Administrator "administrator",
}

words! {
    /// What a route asks of whoever uses it; also the scope of an API token.
    Permission, "account, read, audit, approve, power, converge, build, administer",
    /// One's own password, sessions and API tokens. No API token has it: a token cannot make another, or outlive its user's password.
    Account "account",
    /// Pages, lists, events.
    Read "read",
    /// Users, everybody's sessions and tokens; the audit log, its verification and its export.
    Audit "audit",
    /// Approve, deny, forget and revoke machines, and label them.
    Approve "approve",
    /// Power, next boot, virtual media, and management controllers.
    Power "power",
    /// Run, check, pause and resume convergence.
    Converge "converge",
    /// Build, verify and download images.
    Build "build",
    /// Users, settings, the site, its keys, sealing, clock, promotion, checkpoints of the log, the support bundle, any job.
    Administer "administer",
}

/// How many people have to agree to a machine: 1 or 2, as cluster.yaml has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Approvals {
    #[default]
    One,
    Two,
}

impl From<Approvals> for u8 {
    fn from(approvals: Approvals) -> u8 {
        match approvals {
            Approvals::One => 1,
            Approvals::Two => 2,
        }
    }
}

impl TryFrom<u8> for Approvals {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Approvals::One),
            2 => Ok(Approvals::Two),
            other => Err(format!("approvals is {other}, but 1 or 2 is possible")),
        }
    }
}

impl Rights {
    /// What is included.
    pub fn permissions(self) -> Permissions {
        use Permission as P;
        match self {
            Rights::Viewer => Permissions::of(&[P::Account, P::Read]),
            Rights::Auditor => Permissions::of(&[P::Account, P::Read, P::Audit]),
            Rights::Operator => Permissions::of(&[P::Account, P::Read, P::Approve, P::Power, P::Converge, P::Build]),
            Rights::Administrator => Permissions::of(P::ALL),
        }
    }
}

impl Permission {
    fn bit(self) -> u8 {
        1 << (self as u8)
    }

    /// The permissions that an API token can have.
    pub fn scopes() -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(|p| *p != Permission::Account)
    }

    /// The least rights that include it, for messages.
    pub fn least(self) -> Rights {
        Rights::ALL.iter().copied().find(|r| r.permissions().contain(self)).unwrap_or(Rights::Administrator)
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u8);

impl Permissions {
    pub fn of(list: &[Permission]) -> Self {
        list.iter().copied().collect()
    }

    pub fn contain(self, one: Permission) -> bool {
        self.0 & one.bit() != 0
    }

    /// All of `other` are in this set.
    pub fn cover(self, other: Permissions) -> bool {
        other.0 & !self.0 == 0
    }

    /// What is in both sets.
    pub fn and(self, other: Permissions) -> Self {
        Permissions(self.0 & other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |p| self.contain(*p))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(all: I) -> Self {
        Permissions(all.into_iter().fold(0, |set, one| set | one.bit()))
    }
}

/// The words, with a space between them: as the database has them.
impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Permission::as_str).collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Permissions {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        text.split_ascii_whitespace().map(str::parse).collect()
    }
}

/// The public part of an API token: the eight hex digits after `kbd_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiTokenId([u8; TOKEN_NAME]);

impl fmt::Display for ApiTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl FromStr for ApiTokenId {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let text = text.strip_prefix(TOKEN_PREFIX).unwrap_or(text);
        let bad = || UnknownWord { word: text.chars().take(32).collect(), of: "the ids of API tokens: eight hex digits" };
        let lower = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        let mut id = [0; TOKEN_NAME];
        if !lower || hex::decode_to_slice(text, &mut id).is_err() {
            return Err(bad());
        }
        Ok(ApiTokenId(id))
    }
}

impl Serialize for ApiTokenId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A new API token: its id, and its text `kbd_<8 hex digits>_<48 hex digits>` with 192 random bits. The caller shows the text once and
/// keeps a hash of it.
pub fn api_token(random: &[u8; TOKEN_RANDOM]) -> (ApiTokenId, zeroize::Zeroizing<String>) {
    let (name, secret) = random.split_at(TOKEN_NAME);
    let mut id = [0; TOKEN_NAME];
    id.copy_from_slice(name);
    let text = format!("{TOKEN_PREFIX}{}_{}", hex::encode(id), hex::encode(secret));
    (ApiTokenId(id), zeroize::Zeroizing::new(text))
}

/// The id in a text that has the form of an API token.
pub fn id_of_token(text: &str) -> Option<ApiTokenId> {
    let (id, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    let hex = secret.len() == 2 * (TOKEN_RANDOM - TOKEN_NAME) && secret.bytes().all(|b| b.is_ascii_hexdigit());
    if hex { id.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_include_what_they_say() {
        use Permission as P;
        for (rights, has, lacks) in [
            (
                Rights::Viewer,
                &[P::Account, P::Read][..],
                &[P::Audit, P::Approve, P::Power, P::Converge, P::Build, P::Administer][..],
            ),
            (Rights::Auditor, &[P::Account, P::Read, P::Audit], &[P::Approve, P::Power, P::Converge, P::Build, P::Administer]),
            (Rights::Operator, &[P::Read, P::Approve, P::Power, P::Converge, P::Build], &[P::Audit, P::Administer]),
            (Rights::Administrator, P::ALL, &[]),
        ] {
            assert!(has.iter().all(|p| rights.permissions().contain(*p)), "{rights}");
            assert!(lacks.iter().all(|p| !rights.permissions().contain(*p)), "{rights}");
        }
        assert_eq!(
            [P::Read, P::Audit, P::Approve, P::Administer].map(P::least),
            [Rights::Viewer, Rights::Auditor, Rights::Operator, Rights::Administrator]
        );
        assert!(P::scopes().all(|p| p != P::Account) && P::scopes().count() == P::ALL.len() - 1);
    }

    #[test]
    fn sets_are_written_and_read() {
        let set = Permissions::of(&[Permission::Power, Permission::Read]);
        assert_eq!((set.to_string().as_str(), "power  read".parse()), ("read power", Ok(set)));
        assert_eq!("".parse(), Ok(Permissions::default()));
        assert!("read everything".parse::<Permissions>().is_err());
        let operator = Rights::Operator.permissions();
        assert!(operator.cover(set) && !set.cover(operator) && !operator.cover(Permissions::of(&[Permission::Audit])));
        assert_eq!(Rights::Viewer.permissions().and(set), Permissions::of(&[Permission::Read]));
        for rights in Rights::ALL {
            assert_eq!(rights.as_str().parse(), Ok(*rights));
            assert_eq!(serde_json::from_str::<Rights>(&serde_json::to_string(rights).unwrap()).unwrap(), *rights);
        }
        assert!("root".parse::<Rights>().is_err() && "Viewer".parse::<Rights>().is_err());
    }

    #[test]
    fn one_person_approves_or_two() {
        for (text, read) in [("1", Some(Approvals::One)), ("2", Some(Approvals::Two)), ("0", None), ("3", None), ("256", None)] {
            assert_eq!(serde_json::from_str::<Approvals>(text).ok(), read, "{text}");
        }
        assert_eq!(serde_json::to_string(&Approvals::Two).unwrap(), "2");
        assert!(Approvals::One.max(Approvals::Two) == Approvals::Two && Approvals::default() == Approvals::One);
    }

    #[test]
    fn tokens_have_an_id_and_a_form() {
        let (id, text) = api_token(&[0xab; TOKEN_RANDOM]);
        assert_eq!(*text, format!("kbd_abababab_{}", "ab".repeat(24)));
        assert_eq!((id_of_token(&text), "abababab".parse(), "kbd_abababab".parse()), (Some(id), Ok(id), Ok(id)));
        let (short, long) = (&text[..text.len() - 1], format!("{}0", *text));
        for bad in ["", "kbd_", "kbd_abababab", "kbd_abababab_", short, &long, &text[1..], &text.replace("ab_", "zz_")] {
            assert_eq!(id_of_token(bad), None, "{bad}");
        }
        for bad in ["", "ABABABAB", "ababab", "ababababab", "abababag"] {
            assert!(bad.parse::<ApiTokenId>().is_err(), "{bad}");
        }
    }
}
