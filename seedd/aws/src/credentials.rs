//! Access keys of an AWS account. They are read once, never shown, and wiped from memory.

use camino::Utf8Path;
use cluster_seed::secret::Secret;
use host::files::read_limited;
use zeroize::Zeroizing;

use crate::error::AwsError;

/// Bytes of a file of credentials.
pub const MAX_FILE: u64 = 256 << 10;
/// Bytes of an access key, of a secret, and of a session token: AWS's are up to 128, 128 and about 2,000 long.
const MAX_VALUE: usize = 8 << 10;

/// An access key. Its `Debug` output names the key (which AWS prints in its logs too), not the secret.
#[derive(Debug)]
pub struct Credentials {
    key_id: String,
    secret: Secret,
    token: Option<Secret>,
}

/// Where a key was found, for a line that tells the operator which one is used.
#[derive(Debug)]
pub struct Found {
    pub credentials: Credentials,
    /// Such as `the environment` or `profile default of /root/.aws/credentials`.
    pub from: String,
}

impl Credentials {
    pub fn explicit(key_id: &str, secret: &str, token: Option<&str>) -> Self {
        let token = token.map(|t| Secret::new(t.as_bytes().to_vec()));
        Credentials { key_id: key_id.to_owned(), secret: Secret::new(secret.as_bytes().to_vec()), token }
    }

    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; `None` unless the first two are there and not empty.
    /// `lookup` reads one variable of the environment.
    pub fn from_environment(lookup: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let value = |name: &str| lookup(name).map(Zeroizing::new).filter(|v| usable(v));
        let (id, secret) = (value("AWS_ACCESS_KEY_ID")?, value("AWS_SECRET_ACCESS_KEY")?);
        Some(Credentials::explicit(&id, &secret, value("AWS_SESSION_TOKEN").as_deref().map(String::as_str)))
    }

    /// A profile of a file in the form of `~/.aws/credentials`: sections `[name]` with lines `key = value`. Profiles that only
    /// say how to get a key (roles, single sign-on, programs) are refused.
    ///
    /// # Errors
    /// If the file cannot be read, a line has another form, or the profile is missing or has no key. No error repeats a value.
    pub fn from_file(path: &Utf8Path, profile: &str) -> Result<Self, AwsError> {
        let bytes = Zeroizing::new(read_limited(path, MAX_FILE)?);
        let wrong = |line, why| AwsError::CredentialsFile { path: path.to_owned(), line, why };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong(1, "it is not UTF-8"))?;
        parse(text, profile).map_err(|bad| match bad {
            Bad::Line(line, why) => wrong(line, why),
            Bad::Profile(why) => AwsError::Profile { path: path.to_owned(), profile: profile.to_owned(), why },
        })
    }

    /// The environment's key, unless a profile is named there or by the caller; else a profile of the file. `home` is the
    /// user's home directory; `AWS_SHARED_CREDENTIALS_FILE` and `AWS_PROFILE` are respected.
    ///
    /// # Errors
    /// If neither has a key, or the file cannot be used.
    pub fn find(
        lookup: &dyn Fn(&str) -> Option<String>,
        home: Option<&Utf8Path>,
        profile: Option<&str>,
    ) -> Result<Found, AwsError> {
        if profile.is_none()
            && let Some(credentials) = Credentials::from_environment(lookup)
        {
            return Ok(Found { credentials, from: "the environment".to_owned() });
        }
        let set = |name: &str| lookup(name).filter(|v| !v.is_empty());
        let path = match set("AWS_SHARED_CREDENTIALS_FILE") {
            Some(path) => path.into(),
            None => home.ok_or(AwsError::NoCredentials)?.join(".aws/credentials"),
        };
        let asked = profile.map(str::to_owned).or_else(|| set("AWS_PROFILE"));
        let name = asked.clone().unwrap_or_else(|| "default".to_owned());
        match Credentials::from_file(&path, &name) {
            Ok(credentials) => Ok(Found { credentials, from: format!("profile {name} of {path}") }),
            Err(AwsError::File(e)) if e.is_not_found() && asked.is_none() => Err(AwsError::NoCredentials),
            Err(e) => Err(e),
        }
    }

    /// The public half.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.secret.expose()
    }

    /// The token of temporary credentials, sent with each request.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_ref().and_then(|t| std::str::from_utf8(t.expose()).ok())
    }
}

/// Goes into a header: printable ASCII without spaces.
fn usable(value: &str) -> bool {
    (1..=MAX_VALUE).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
}

enum Bad {
    Line(usize, &'static str),
    Profile(&'static str),
}

fn parse(text: &str, profile: &str) -> Result<Credentials, Bad> {
    let (mut inside, mut seen, mut indirect) = (false, false, false);
    let (mut id, mut secret, mut token) = (None, None, None);
    for (n, raw) in text.lines().enumerate() {
        let line = raw.trim();
        // An indented line belongs to a key of its own settings (`s3 =`), none of which are needed.
        if line.is_empty() || line.starts_with(['#', ';']) || (inside && raw.starts_with([' ', '\t'])) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.split_once(']').ok_or(Bad::Line(n + 1, "a section has no ]"))?.0.trim();
            inside = name == profile;
            seen |= inside;
            continue;
        }
        let (key, value) = line.split_once('=').ok_or(Bad::Line(n + 1, "neither a section nor key = value"))?;
        if !inside {
            continue;
        }
        let (key, value) = (key.trim(), value.trim());
        let slot = match key {
            "aws_access_key_id" => &mut id,
            "aws_secret_access_key" => &mut secret,
            "aws_session_token" | "aws_security_token" => &mut token,
            "role_arn" | "sso_session" | "sso_start_url" | "credential_process" => {
                indirect = true;
                continue;
            }
            _ => continue,
        };
        if !usable(value) {
            return Err(Bad::Line(n + 1, "the value is empty, too long or contains spaces"));
        }
        *slot = Some(value);
    }
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Credentials::explicit(id, secret, token)),
        _ if indirect => Err(Bad::Profile("says how to get a key and contains none")),
        _ if seen => Err(Bad::Profile("has no access key with its secret")),
        _ => Err(Bad::Profile("does not exist")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key=s3cret/+=\nregion = x\ns3 =\n  \
                        max = 1\n\n[ci]\n; temporary\naws_access_key_id=ASIACI\naws_secret_access_key=other\n\
                        aws_session_token=tok==\n[role]\nrole_arn = arn:aws:iam::1:role/x\n[half]\naws_access_key_id=A\n";

    fn of(profile: &str) -> Result<Credentials, String> {
        parse(FILE, profile).map_err(|bad| match bad {
            Bad::Line(n, why) => format!("{n}: {why}"),
            Bad::Profile(why) => why.to_owned(),
        })
    }

    fn environment(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    }

    #[test]
    fn a_profile_is_read_and_others_are_not() {
        let found = of("default").unwrap();
        assert_eq!((found.key_id(), found.secret(), found.token()), ("AKIADEFAULT", &b"s3cret/+="[..], None));
        let ci = of("ci").unwrap();
        assert_eq!((ci.key_id(), ci.secret(), ci.token()), ("ASIACI", &b"other"[..], Some("tok==")));
        assert!(of("role").unwrap_err().contains("how to get a key"));
        assert!(of("half").unwrap_err().contains("no access key"));
        assert!(of("none").unwrap_err().contains("does not exist"));
    }

    #[test]
    fn a_bad_line_is_named_without_its_text() {
        for (text, line) in
            [("[p]\nhunter2", 2), ("[p\n", 1), ("[p]\naws_secret_access_key = hun ter2", 2), ("[p]\naws_access_key_id=\n", 2)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = Utf8Path::from_path(dir.path()).unwrap().join("credentials");
            std::fs::write(&path, text).unwrap();
            let error = Credentials::from_file(&path, "p").unwrap_err();
            assert!(matches!(error, AwsError::CredentialsFile { line: l, .. } if l == line), "{error}");
            assert!(!error.to_string().contains("ter2"), "{error}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let keys = Credentials::explicit("AKIA", "s3cret", Some("t0ken"));
        let text = format!("{keys:?}");
        assert!(text.contains("AKIA") && !text.contains("s3cret") && !text.contains("t0ken"), "{text}");
    }

    #[test]
    fn the_environment_wins_unless_a_profile_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let home = Utf8Path::from_path(dir.path()).unwrap();
        std::fs::create_dir(home.join(".aws")).unwrap();
        std::fs::write(home.join(".aws/credentials"), FILE).unwrap();
        let both = environment(&[("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "e"), ("AWS_PROFILE", "ci")]);
        let id = |found: Result<Found, AwsError>| found.unwrap().credentials.key_id().to_owned();
        assert_eq!(id(Credentials::find(&both, Some(home), None)), "AKIAENV");
        assert_eq!(id(Credentials::find(&both, Some(home), Some("default"))), "AKIADEFAULT");
        let profile = environment(&[("AWS_ACCESS_KEY_ID", "half"), ("AWS_PROFILE", "ci")]);
        let found = Credentials::find(&profile, Some(home), None).unwrap();
        assert_eq!(found.from, format!("profile ci of {home}/.aws/credentials"));
        let bare = environment(&[]);
        assert_eq!(id(Credentials::find(&bare, Some(home), None)), "AKIADEFAULT");
        for home in [None, Some(Utf8Path::new("/nowhere"))] {
            assert!(matches!(Credentials::find(&bare, home, None), Err(AwsError::NoCredentials)));
        }
        let elsewhere = environment(&[("AWS_SHARED_CREDENTIALS_FILE", "/nowhere"), ("AWS_PROFILE", "x")]);
        assert!(matches!(Credentials::find(&elsewhere, Some(home), None), Err(AwsError::File(_))));
    }

    #[test]
    fn a_value_that_cannot_be_a_header_is_refused() {
        for (value, good) in
            [("a".repeat(MAX_VALUE), true), ("a".repeat(MAX_VALUE + 1), false), (String::new(), false), ("a\nb".into(), false)]
        {
            assert_eq!(usable(&value), good);
        }
    }
}
