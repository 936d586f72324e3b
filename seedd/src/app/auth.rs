//! Authentication: the first administrator, passwords, sessions, unsealing.

use std::net::IpAddr;
use std::sync::PoisonError;

use anyhow::Result;
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use cluster_seed::secret::{AgeKey, SecretError};
use host::clock::{now, now_ms, steady};
use host::random;
use site::Site;
use site::store::events::NewEvent;
use site::store::{Store, Tx};
use subtle::ConstantTimeEq as _;
use web::api::{Actor, ApiError, Login, Setup};

use super::throttle::{Attempt, Purpose};
use super::{App, unexpected};

/// Lifetime of a session, in seconds.
const SESSION_SECONDS: u64 = 12 * 3600;
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
        new_session(tx, user)
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

fn token_hash(token: &str) -> String {
    Digest::of(format!("kubedos:session:v1\0{token}").as_bytes()).to_string()
}

impl App {
    fn may_try(&self, attempt: &Attempt<'_>) -> Result<(), ApiError> {
        match self.throttle.wait(attempt, steady()) {
            0 => Ok(()),
            seconds => Err(ApiError::TooMany { seconds }),
        }
    }

    pub fn first_administrator(&self, from: IpAddr, setup: &Setup) -> Result<String, ApiError> {
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
            new_session(tx, &setup.user)
        })?;
        *self.setup_code.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.throttle.succeeded(&attempt, steady());
        Ok(token)
    }

    pub fn log_in(&self, from: IpAddr, login: &Login) -> Result<String, ApiError> {
        let attempt = Attempt { purpose: Purpose::Login, from, account: &login.user };
        self.may_try(&attempt)?;
        let slot = self.slots.hash(self.throttle.knows(&attempt)).ok_or(BUSY)?;
        let known = self.store.read(|tx| tx.password_hash(&login.user))?;
        // An unknown name takes as much time as a known one.
        let fits = match (&known, login.password.len() <= MAX_PASSWORD) {
            (Some(hash), true) => password_fits(&login.password, hash),
            _ => {
                hash_password("no such user")?;
                false
            }
        };
        drop(slot);
        if !fits {
            self.throttle.failed(&attempt, steady());
            let name = cluster_seed::machine::tame(&login.user);
            let text = format!("failed login as {name:?} from {from}");
            self.note(from, EventKind::LoginFailed, &text, None);
            return Err(ApiError::Forbidden { why: "wrong user name or password".to_owned() });
        }
        self.throttle.succeeded(&attempt, steady());
        self.write(|tx| {
            let text = format!("{} logged in from {from}", login.user);
            let event = NewEvent { actor: Some(&login.user), ..NewEvent::new(EventKind::Login, &text) };
            tx.event(now_ms(), &event)?;
            new_session(tx, &login.user)
        })
    }

    pub fn session_of(&self, token: &str) -> Result<Option<Actor>, ApiError> {
        if token.len() != 64 {
            return Ok(None);
        }
        let user = self.store.read(|tx| tx.session_user(&token_hash(token), steady(), SESSION_SECONDS))?;
        Ok(user.map(|user| Actor { user }))
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

fn new_session(tx: &Tx<'_>, user: &str) -> Result<String, ApiError> {
    let token = hex::encode(random::bytes::<32>().map_err(unexpected)?);
    tx.add_session(&token_hash(&token), user, steady() + SESSION_SECONDS, steady())?;
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
    fn codes_are_readable_and_differ() {
        let (a, b) = (new_setup_code().unwrap(), new_setup_code().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 9);
        assert!(a.bytes().all(|c| c == b'-' || ALPHABET.contains(&c)));
    }
}
