//! Authentication: the first administrator, passwords, sessions, unsealing.

use std::net::IpAddr;
use std::sync::PoisonError;

use anyhow::Result;
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use cluster_seed::people::{MAX_TOKEN_DAYS, TOKEN_PREFIX, id_of_token};
use cluster_seed::secret::{AgeKey, SecretError};
use host::clock::{now, now_ms, steady};
use host::random;
use site::Site;
use site::store::events::NewEvent;
use site::store::people::{NewSession, SessionLimits};
use site::store::{Store, StoreError, Tx};
use subtle::ConstantTimeEq as _;
use web::api::{Actor, ApiError, Login, Origin, Setup};

use super::throttle::{Attempt, Purpose};
use super::{App, unexpected};

/// A session ends 12 hours after its begin, and one hour after its last use.
pub(super) const LIMITS: SessionLimits = SessionLimits { longest: 12 * 3600, idle: 3600 };
/// For so many seconds after the password was typed, a session may do what cannot be undone.
const FRESH_SECONDS: u64 = 300;
/// The time of the last use is written this often at most, in seconds.
const TOUCH_SECONDS: u64 = 60;
/// All slots for slow work are in use.
const BUSY: ApiError = ApiError::TooMany { seconds: 1 };
const MIN_PASSWORD: usize = 10;
const MAX_PASSWORD: usize = 512;
/// No 0/O, 1/I/L: the code is read off a screen.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";

/// Creates the first administrator of a site that is not served yet; returns the token of a new session.
pub fn first_session(site: &Site, user: &str, password: &str) -> Result<String, ApiError> {
    let hash = hash_password(password)?;
    let store = Store::open(&site.database())?;
    let work = |tx: &Tx<'_>| {
        tx.add_admin(user, &hash, now())?;
        let text = format!("{user} became the first administrator");
        let event = NewEvent { actor: Some(user), ..NewEvent::new(EventKind::SetupDone, &text) };
        tx.event(now_ms(), &event)?;
        new_session(tx, user, &Origin::new([0; 4].into(), "first set-up"))
    };
    store.write(work)
}

/// Eight characters, about 40 bits, as `ABCD-EFGH`.
pub fn new_setup_code() -> Result<String> {
    let random = random::bytes::<32>()?;
    let mut code: String = random.iter().take(8).map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()])).collect();
    code.insert(4, '-');
    Ok(code)
}

pub fn hash_password(password: &str) -> Result<String, ApiError> {
    let random = random::bytes::<32>().map_err(unexpected)?;
    let salt = SaltString::encode_b64(&random[..16]).map_err(|e| ApiError::Internal(e.to_string()))?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|e| ApiError::Internal(e.to_string()))?;
    Ok(hash.to_string())
}

fn password_fits(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|h| Argon2::default().verify_password(password.as_bytes(), &h).is_ok())
}

pub(super) fn token_hash(token: &str) -> String {
    Digest::of(format!("kubedos:session:v1\0{token}").as_bytes()).to_string()
}

/// As it is stored: an API token has 192 random bits, so a plain hash does.
pub fn api_token_hash(token: &str) -> String {
    Digest::of(format!("kubedos:api-token:v1\0{token}").as_bytes()).to_string()
}

/// A password that was right, by the hash that it was checked against.
pub(super) struct Proved {
    user: String,
    hash: String,
}

impl Proved {
    /// Refuses if the password was changed, or the user disabled or removed, after the check began.
    pub(super) fn must_hold(&self, tx: &Tx<'_>) -> Result<(), ApiError> {
        let now = tx.password_hash(&self.user)?;
        if now.as_ref() == Some(&self.hash) { Ok(()) } else { Err(ApiError::Unauthorized) }
    }
}

impl App {
    pub(super) fn may_try(&self, attempt: &Attempt<'_>) -> Result<(), ApiError> {
        match self.throttle.wait(attempt, steady()) {
            0 => Ok(()),
            seconds => Err(ApiError::TooMany { seconds }),
        }
    }

    pub fn first_administrator(&self, origin: &Origin, setup: &Setup) -> Result<String, ApiError> {
        let from = origin.address;
        let attempt = Attempt { purpose: Purpose::SetUp, from, account: "" };
        self.may_try(&attempt)?;
        let given = setup.code.trim().to_ascii_uppercase();
        let Some(code) = self.setup_code() else {
            return Err(ApiError::Conflict {
                why: "there is an administrator already".to_owned(),
                hint: Some("log in".to_owned()),
            });
        };
        if !bool::from(given.as_bytes().ct_eq(code.as_bytes())) {
            self.throttle.failed(&attempt, steady());
            self.note(from, EventKind::SetupRefused, &format!("wrong set-up code from {from}"), None);
            return Err(ApiError::Forbidden { why: "wrong set-up code".to_owned() });
        }
        check_user(&setup.user)?;
        check_password(&setup.password)?;
        let hash = hash_password(&setup.password)?;
        let token = self.write(|tx| {
            if tx.has_admin()? {
                return Err(ApiError::Conflict { why: "there is an administrator already".to_owned(), hint: None });
            }
            tx.add_admin(&setup.user, &hash, now())?;
            let text = format!("{} became the first administrator", setup.user);
            let event = NewEvent { actor: Some(&setup.user), ..NewEvent::new(EventKind::SetupDone, &text) };
            tx.event(now_ms(), &event)?;
            new_session(tx, &setup.user, origin)
        })?;
        *self.setup_code.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.throttle.succeeded(&attempt, steady());
        Ok(token)
    }

    pub fn log_in(&self, origin: &Origin, login: &Login) -> Result<String, ApiError> {
        let from = origin.address;
        let proved = self.check_login(from, &login.user, &login.password, "wrong user name or password")?;
        self.begin_session(origin, &proved)
    }

    fn begin_session(&self, origin: &Origin, proved: &Proved) -> Result<String, ApiError> {
        let user = &proved.user;
        self.write(|tx| {
            proved.must_hold(tx)?;
            let text = format!("{user} logged in from {}", origin.address);
            let event = NewEvent { actor: Some(user), ..NewEvent::new(EventKind::Login, &text) };
            tx.event(now_ms(), &event)?;
            new_session(tx, user, origin)
        })
    }

    /// Checks a password. Wrong ones are counted and slowed down, whatever it is asked for; `wrong` is what the caller reads then.
    /// What follows from it asks in its transaction whether it still holds: a check takes long enough for a change of the password.
    pub(super) fn check_login(&self, from: IpAddr, user: &str, password: &str, wrong: &str) -> Result<Proved, ApiError> {
        let attempt = Attempt { purpose: Purpose::Login, from, account: user };
        self.may_try(&attempt)?;
        let slot = self.slots.hash(self.throttle.knows(&attempt)).ok_or(BUSY)?;
        let known = self.store.read(|tx| tx.password_hash(user))?;
        // An unknown name takes as much time as a known one.
        let proved = match (known, password.len() <= MAX_PASSWORD) {
            (Some(hash), true) => password_fits(password, &hash).then(|| Proved { user: user.to_owned(), hash }),
            _ => {
                hash_password("no such user")?;
                None
            }
        };
        drop(slot);
        let Some(proved) = proved else {
            self.throttle.failed(&attempt, steady());
            let name = cluster_seed::machine::tame(user);
            let text = format!("failed login as {name:?} from {from}");
            self.note(from, EventKind::LoginFailed, &text, None);
            return Err(ApiError::forbidden(wrong));
        };
        self.throttle.succeeded(&attempt, steady());
        Ok(proved)
    }

    /// Who has this session or API token. `used`: somebody asked, and no script of an open page.
    pub fn session_of(&self, token: &str, used: bool) -> Result<Option<Actor>, ApiError> {
        if token.starts_with(TOKEN_PREFIX) {
            return self.actor_of_token(token, used);
        }
        if token.len() != 64 {
            return Ok(None);
        }
        let (hash, at) = (token_hash(token), steady());
        let found = self.store.read(|tx| tx.live_session(&hash, at, LIMITS))?;
        let Some((session, user)) = found else { return Ok(None) };
        if used && at.saturating_sub(session.used) >= TOUCH_SECONDS {
            let touched: Result<(), StoreError> = self.store.write(|tx| tx.touch_session(&hash, at));
            // A full disk locks nobody out.
            touched.unwrap_or_else(|error| tracing::warn!(%error, "writing when a session was used"));
        }
        let fresh = session.authenticated <= at && at - session.authenticated < FRESH_SECONDS;
        Ok(Some(Actor::session(&user.user, user.rights, fresh)))
    }

    fn actor_of_token(&self, token: &str, used: bool) -> Result<Option<Actor>, ApiError> {
        if id_of_token(token).is_none() {
            return Ok(None);
        }
        // A day more, for a clock that was set back since.
        let longest = (u64::from(MAX_TOKEN_DAYS) + 1) * 86_400;
        let found = self.store.read(|tx| tx.live_api_token(&api_token_hash(token), now(), longest))?;
        let Some((held, user)) = found else { return Ok(None) };
        if used {
            self.budgets.take(held.id, steady()).map_err(|seconds| ApiError::TooMany { seconds })?;
        }
        if held.used.is_none_or(|last| now().abs_diff(last) >= TOUCH_SECONDS) {
            let touched: Result<(), StoreError> = self.store.write(|tx| tx.touch_api_token(held.id, now()));
            touched.unwrap_or_else(|error| tracing::warn!(%error, "writing when an API token was used"));
        }
        Ok(Some(Actor::token(&user.user, user.rights, held.scopes)))
    }

    pub fn log_out(&self, token: &str) -> Result<(), ApiError> {
        self.write(|tx| Ok(tx.end_session(&token_hash(token))?))
    }

    /// Unseals from the web interface.
    pub fn unseal_by(&self, from: IpAddr, who: &str, passphrase: &str) -> Result<(), ApiError> {
        self.with_passphrase(from, who, || self.unseal_with(passphrase, who))
    }

    /// The operator's key, for a job on the site that asks for the passphrase.
    pub fn operator_for(&self, from: IpAddr, who: &str, passphrase: &str) -> Result<AgeKey, ApiError> {
        self.with_passphrase(from, who, || self.site.keys().operator(passphrase))
    }

    /// Wrong passphrases are counted and slowed down, whatever the passphrase is for.
    fn with_passphrase<T>(&self, from: IpAddr, who: &str, open: impl FnOnce() -> anyhow::Result<T>) -> Result<T, ApiError> {
        let attempt = Attempt { purpose: Purpose::Passphrase, from, account: who };
        self.may_try(&attempt)?;
        let _slot = self.slots.passphrase().ok_or(BUSY)?;
        match open() {
            Ok(opened) => {
                self.throttle.succeeded(&attempt, steady());
                Ok(opened)
            }
            Err(e) if e.chain().any(|c| c.downcast_ref::<SecretError>().is_some()) || e.to_string().contains("passphrase") => {
                self.throttle.failed(&attempt, steady());
                let event = NewEvent { actor: Some(who), ..NewEvent::new(EventKind::SeedUnsealRefused, "wrong passphrase") };
                self.say(&event);
                Err(ApiError::Forbidden { why: "the passphrase is wrong".to_owned() })
            }
            Err(e) => Err(unexpected(e)),
        }
    }
}

pub fn check_user(user: &str) -> Result<(), ApiError> {
    let good = user.bytes().all(|b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    if good && (1..=32).contains(&user.len()) {
        return Ok(());
    }
    Err(ApiError::bad("a user name has 1 to 32 letters, digits, dots, dashes or underscores", ""))
}

pub fn check_password(password: &str) -> Result<(), ApiError> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(ApiError::bad(
            format!("the password has fewer than {MIN_PASSWORD} characters"),
            "use, for example, four random words",
        ));
    }
    if password.len() > MAX_PASSWORD {
        return Err(ApiError::bad(format!("the password has more than {MAX_PASSWORD} bytes"), ""));
    }
    Ok(())
}

pub(super) fn new_session(tx: &Tx<'_>, user: &str, origin: &Origin) -> Result<String, ApiError> {
    let token = hex::encode(random::bytes::<32>().map_err(unexpected)?);
    let (token_hash, address) = (token_hash(&token), origin.address.to_string());
    let new = NewSession { token_hash: &token_hash, user, address: &address, browser: &origin.browser, lasts: LIMITS.longest };
    tx.add_session(&new, steady())?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_at_their_limits() {
        for (len, ok) in [(MIN_PASSWORD - 1, false), (MIN_PASSWORD, true), (MAX_PASSWORD, true), (MAX_PASSWORD + 1, false)] {
            assert_eq!(check_password(&"x".repeat(len)).is_ok(), ok, "{len}");
        }
        let hash = hash_password("correct horse").unwrap();
        assert!(password_fits("correct horse", &hash) && !password_fits("correct horsf", &hash));
    }

    #[test]
    fn a_session_of_a_password_that_was_changed_during_its_check_does_not_begin() {
        let dir = tempfile::tempdir().unwrap();
        let app = super::super::testing::app(camino::Utf8Path::from_path(dir.path()).unwrap());
        let hash = |password: &str| hash_password(password).unwrap();
        app.write(|tx| Ok(tx.add_admin("ada", &hash("correct horse"), 0)?)).unwrap();
        let origin = Origin::new([10, 44, 0, 9].into(), "Firefox");
        let check = || app.check_login(origin.address, "ada", "correct horse", "wrong");
        let sessions =
            || app.store.read(|tx| tx.sessions(None, steady(), LIMITS)).map_err(|e: StoreError| e.to_string()).unwrap();
        for change in [
            &(|tx: &Tx<'_>| tx.set_password("ada", &hash("battery staple"), None).map(drop))
                as &dyn Fn(&Tx<'_>) -> Result<(), StoreError>,
            // The same password again is a change too: somebody wants all sessions to end.
            &|tx: &Tx<'_>| tx.set_password("ada", &hash("correct horse"), None).map(drop),
            &|tx: &Tx<'_>| tx.set_user("ada", cluster_seed::people::Rights::Administrator, Some(1)).map(drop),
        ] {
            app.write(|tx| Ok(tx.set_password("ada", &hash("correct horse"), None)?)).unwrap();
            let proved = check().unwrap();
            app.write(|tx| Ok(change(tx)?)).unwrap();
            assert!(matches!(app.begin_session(&origin, &proved), Err(ApiError::Unauthorized)));
            assert!(sessions().is_empty());
        }
        app.write(|tx| Ok(tx.set_user("ada", cluster_seed::people::Rights::Administrator, None)?)).unwrap();
        app.begin_session(&origin, &check().unwrap()).unwrap();
        assert_eq!(sessions().len(), 1);
    }

    #[test]
    fn codes_are_readable_and_differ() {
        let (a, b) = (new_setup_code().unwrap(), new_setup_code().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 9);
        assert!(a.bytes().all(|c| c == b'-' || ALPHABET.contains(&c)));
    }
}
