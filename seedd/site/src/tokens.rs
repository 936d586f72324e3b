//! Join tokens of this site: what each allows, how often it was used, and its secret as ciphertext to the vault.
//!
//! Kept as settings, so that a capsule and a change of the vault key include them.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use cluster_seed::ids::EnrollmentId;
use cluster_seed::join::pattern::NamePattern;
use cluster_seed::join::token::{JoinToken, TOKEN_RANDOM, TokenId};
use cluster_seed::secret::{AgeKey, seal_to};
use host::random;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::setting;
use crate::store::{StoreError, Tx};

/// Most tokens kept. When there are more, the oldest that nobody can use any more is dropped.
pub const MAX_TOKENS: usize = 200;
/// Most uses of a token.
pub const MAX_USES: u32 = 10_000;
/// Longest validity, in seconds: a year.
pub const MAX_SECONDS: u64 = 365 * 86_400;

/// Which disk is written on a machine that installs itself. A machine that joins in place keeps the disk it runs from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskRule {
    /// The only one that fits; a machine with several is refused.
    #[default]
    Only,
    Smallest,
    Largest,
}

/// Why a token cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("is not known")]
    Unknown,
    #[error("was revoked")]
    Revoked,
    #[error("has expired")]
    Expired,
    #[error("is used up")]
    UsedUp,
}

/// What an operator allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    pub role: String,
    pub name: NamePattern,
    pub uses: u32,
    /// Unix seconds, by the seed's clock.
    pub expires: u64,
    pub disk: DiskRule,
}

/// As kept in the database ([`setting::TOKEN`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    pub grant: Grant,
    /// Unix seconds.
    pub created: u64,
    pub creator: String,
    /// Identities that were claimed with it.
    pub used: u32,
    /// Machines that named it and were refused, or did not have its secret.
    pub refused: u64,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    /// The user who agreed to it, where two users have to approve a machine of its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<String>,
    /// Name of the output that was made with it, for one named node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The token as text: age ciphertext, base64. The name of the field is that of every setting sealed to the vault.
    password: String,
}

impl Grant {
    /// Whether a token may be made of it now.
    ///
    /// # Errors
    /// If it has no uses or more than [`MAX_USES`], several for one name, or has expired or lasts longer than [`MAX_SECONDS`].
    pub fn check(&self, now: u64) -> Result<()> {
        ensure!((1..=MAX_USES).contains(&self.uses), "a token has 1 to {MAX_USES} uses");
        ensure!(self.uses == 1 || self.name.counts(), "the name {} has no {{n}}, so the token can have one use only", self.name);
        ensure!(self.expires > now && self.expires - now <= MAX_SECONDS, "a token is valid for at most a year");
        Ok(())
    }
}

impl Token {
    /// Draws a token, for the owner of the key `vault` belongs to.
    pub fn draw(grant: Grant, creator: &str, now: u64, vault: &str) -> Result<(Self, JoinToken)> {
        grant.check(now)?;
        let random = Zeroizing::new(random::bytes::<TOKEN_RANDOM>()?);
        let secret = JoinToken::from_random(&random);
        let sealed = seal_to(vault, secret.to_text().as_bytes()).context("sealing the join token")?;
        let (creator, password) = (creator.to_owned(), B64.encode(sealed));
        Ok((
            Token { grant, created: now, creator, used: 0, refused: 0, revoked: None, agreed: None, image: None, password },
            secret,
        ))
    }

    /// The token with its secret.
    pub fn open(&self, vault: &AgeKey) -> Result<JoinToken> {
        let sealed = B64.decode(&self.password).context("reading a join token")?;
        let secret = vault.open(&sealed).context("opening a join token")?;
        let text = std::str::from_utf8(secret.expose()).context("reading a join token")?;
        text.parse().context("reading a join token")
    }

    /// Whether another machine may use it now, while `held` machines have been approved with it and have not claimed yet.
    pub fn may_serve(&self, held: u32, now: u64) -> Result<(), Refusal> {
        match self {
            Token { revoked: Some(_), .. } => Err(Refusal::Revoked),
            _ if now >= self.grant.expires => Err(Refusal::Expired),
            _ if self.used.saturating_add(held) >= self.grant.uses => Err(Refusal::UsedUp),
            _ => Ok(()),
        }
    }
}

fn key(id: TokenId) -> String {
    format!("{}{id}", setting::TOKEN)
}

fn corrupt<E>(_: E) -> StoreError {
    StoreError::Corrupt { what: "a join token" }
}

/// The token with this id.
pub fn get(tx: &Tx<'_>, id: TokenId) -> Result<Option<Token>, StoreError> {
    tx.setting(&key(id))?.map(|text| serde_json::from_str(&text).map_err(corrupt)).transpose()
}

/// All tokens, the oldest first.
pub fn all(tx: &Tx<'_>) -> Result<Vec<(TokenId, Token)>, StoreError> {
    let rows = tx.settings_under(setting::TOKEN)?;
    let read = |(key, text): (String, String)| {
        let id = key.trim_start_matches(setting::TOKEN).parse().map_err(corrupt)?;
        Ok((id, serde_json::from_str(&text).map_err(corrupt)?))
    };
    let mut all = rows.into_iter().map(read).collect::<Result<Vec<(TokenId, Token)>, StoreError>>()?;
    all.sort_by_key(|(id, token)| (token.created, *id));
    Ok(all)
}

fn put(tx: &Tx<'_>, id: TokenId, token: &Token) -> Result<(), StoreError> {
    tx.set(&key(id), &serde_json::to_string(token).map_err(corrupt)?)
}

/// Adds a token. False if there are too many that can still be used, or one has this id.
pub fn add(tx: &Tx<'_>, id: TokenId, token: &Token, now: u64) -> Result<bool, StoreError> {
    let held = all(tx)?;
    if held.len() >= MAX_TOKENS {
        let Some((ended, _)) = held.iter().find(|(_, t)| t.may_serve(0, now).is_err()) else { return Ok(false) };
        tx.unset(&key(*ended))?;
    }
    if get(tx, id)?.is_some() {
        return Ok(false);
    }
    put(tx, id, token)?;
    Ok(true)
}

/// Adds the token of an image for a named node, and revokes those of earlier images for it: only the newest image can be used.
/// Returns the revoked ones; none if the token could not be added, see [`add`].
pub fn add_of_image(tx: &Tx<'_>, id: TokenId, token: &Token, now: u64) -> Result<Option<Vec<TokenId>>, StoreError> {
    let of_node = |t: &Token| t.image.is_some() && t.grant.name == token.grant.name && t.may_serve(0, now).is_ok();
    let earlier: Vec<TokenId> = all(tx)?.into_iter().filter(|(_, t)| of_node(t)).map(|(id, _)| id).collect();
    for old in &earlier {
        revoke(tx, *old, now)?;
    }
    Ok(add(tx, id, token, now)?.then_some(earlier))
}

/// Whether another machine may use the token now.
pub fn may_serve(tx: &Tx<'_>, id: TokenId, now: u64) -> Result<Result<Token, Refusal>, StoreError> {
    let Some(token) = get(tx, id)? else { return Ok(Err(Refusal::Unknown)) };
    let held = tx.unclaimed_by(id)?;
    Ok(token.may_serve(held, now).map(|()| token))
}

/// Counts a use, for the enrollment whose identity is handed out in the same transaction. Its own approval is the one held.
pub fn spend(tx: &Tx<'_>, id: TokenId, of: EnrollmentId, now: u64) -> Result<Result<Token, Refusal>, StoreError> {
    let Some(mut token) = get(tx, id)? else { return Ok(Err(Refusal::Unknown)) };
    if let Err(refusal) = token.may_serve(0, now) {
        return Ok(Err(refusal));
    }
    token.used += 1;
    put(tx, id, &token)?;
    tracing::debug!(token = %id, enrollment = %of, used = token.used, "join token used");
    Ok(Ok(token))
}

/// Counts a machine that was refused; an unknown token has no counter.
pub fn count_refusal(tx: &Tx<'_>, id: TokenId) -> Result<(), StoreError> {
    let Some(mut token) = get(tx, id)? else { return Ok(()) };
    token.refused = token.refused.saturating_add(1);
    put(tx, id, &token)
}

/// Keeps who agreed to a token; returns it as it is then, `None` if there is none.
pub fn agree(tx: &Tx<'_>, id: TokenId, user: &str) -> Result<Option<Token>, StoreError> {
    let Some(mut token) = get(tx, id)? else { return Ok(None) };
    token.agreed = Some(user.to_owned());
    put(tx, id, &token)?;
    Ok(Some(token))
}

/// Revokes a token. False if there is none, or it was revoked before.
pub fn revoke(tx: &Tx<'_>, id: TokenId, now: u64) -> Result<bool, StoreError> {
    let Some(mut token) = get(tx, id)?.filter(|t| t.revoked.is_none()) else { return Ok(false) };
    token.revoked = Some(now);
    put(tx, id, &token)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn grant(uses: u32) -> Grant {
        Grant { role: "base".into(), name: "web-{n}".parse().unwrap(), uses, expires: 1_000, disk: DiskRule::Only }
    }

    fn draw(uses: u32) -> (Token, JoinToken, AgeKey) {
        let vault = AgeKey::generate();
        let (token, secret) = Token::draw(grant(uses), "ada", 10, &vault.recipient()).unwrap();
        (token, secret, vault)
    }

    #[test]
    fn only_the_vault_opens_a_token_and_nothing_else_shows_it() {
        let (token, secret, vault) = draw(1);
        let (text, json) = (secret.to_text(), serde_json::to_string(&token).unwrap());
        let hidden = &text[text.len() - 32..];
        assert!(!json.contains(hidden) && !format!("{token:?}").contains(hidden));
        assert_eq!(token.open(&vault).unwrap().to_text(), text);
        assert!(token.open(&AgeKey::generate()).is_err());
        assert_eq!(serde_json::from_str::<Token>(&json).unwrap(), token);
    }

    #[test]
    fn limits_of_a_token_are_checked_when_it_is_made() {
        let vault = AgeKey::generate().recipient();
        let made = |grant: Grant| Token::draw(grant, "ada", 10, &vault).is_ok();
        for (uses, good) in [(0, false), (1, true), (MAX_USES, true), (MAX_USES + 1, false)] {
            assert_eq!(made(grant(uses)), good, "{uses}");
        }
        for (expires, good) in [(10, false), (11, true), (10 + MAX_SECONDS, true), (11 + MAX_SECONDS, false)] {
            assert_eq!(made(Grant { expires, ..grant(1) }), good, "{expires}");
        }
        assert!(made(Grant { name: "edge".parse().unwrap(), ..grant(1) }));
        assert!(!made(Grant { name: "edge".parse().unwrap(), ..grant(2) }));
    }

    #[test]
    fn a_token_ends_by_its_uses_by_time_and_by_revocation() {
        let (mut token, ..) = draw(3);
        assert_eq!((token.may_serve(2, 999), token.may_serve(3, 999)), (Ok(()), Err(Refusal::UsedUp)));
        token.used = 2;
        assert_eq!((token.may_serve(0, 999), token.may_serve(1, 999)), (Ok(()), Err(Refusal::UsedUp)));
        assert_eq!(token.may_serve(0, 1_000), Err(Refusal::Expired));
        token.revoked = Some(1);
        assert_eq!(token.may_serve(0, 0), Err(Refusal::Revoked));
    }

    #[test]
    fn a_new_image_of_a_node_ends_the_tokens_of_its_earlier_ones_and_of_nothing_else() {
        let store = Store::in_memory().unwrap();
        let vault = AgeKey::generate().recipient();
        let of = |name: &str, image: Option<&str>| {
            let (mut token, secret) = Token::draw(Grant { name: name.parse().unwrap(), ..grant(1) }, "ada", 10, &vault).unwrap();
            token.image = image.map(str::to_owned);
            (secret.id, token)
        };
        let ended = |tx: &Tx<'_>, id| Ok::<_, StoreError>(get(tx, id)?.unwrap().may_serve(0, 20).err());
        let done: Result<(), StoreError> = store.write(|tx| {
            let ((first, a), (other, b), (typed, c), (second, d)) =
                (of("edge", Some("a")), of("core", Some("b")), of("edge", None), of("edge", Some("d")));
            assert_eq!(add_of_image(tx, first, &a, 10)?, Some(vec![]));
            assert_eq!(add_of_image(tx, other, &b, 10)?, Some(vec![]));
            assert!(add(tx, typed, &c, 10)?);
            assert_eq!(add_of_image(tx, second, &d, 20)?, Some(vec![first]));
            assert_eq!(ended(tx, first)?, Some(Refusal::Revoked));
            for valid in [other, typed, second] {
                assert_eq!(ended(tx, valid)?, None, "{valid}");
            }
            assert_eq!(add_of_image(tx, second, &d, 20)?, None, "the id is taken");
            Ok(())
        });
        done.unwrap();
    }

    #[test]
    fn tokens_are_counted_and_bounded_in_the_database() {
        let store = Store::in_memory().unwrap();
        let done: Result<(), StoreError> = store.write(|tx| {
            let (first, secret, _) = draw(1);
            assert!(add(tx, secret.id, &first, 10)? && !add(tx, secret.id, &first, 10)?);
            assert!(spend(tx, secret.id, EnrollmentId([1; 16]), 999)?.is_ok());
            assert_eq!(spend(tx, secret.id, EnrollmentId([2; 16]), 999)?, Err(Refusal::UsedUp));
            count_refusal(tx, secret.id)?;
            let held = get(tx, secret.id)?.unwrap();
            assert_eq!((held.used, held.refused), (1, 1));
            let vault = AgeKey::generate().recipient();
            let more = || Token::draw(grant(2), "ada", 20, &vault).map(|(t, s)| (s.id, t)).unwrap();
            while all(tx)?.len() < MAX_TOKENS {
                let (id, token) = more();
                add(tx, id, &token, 20)?;
            }
            let (id, token) = more();
            assert!(add(tx, id, &token, 20)? && get(tx, secret.id)?.is_none(), "the used one makes room");
            let (other, token) = more();
            assert!(!add(tx, other, &token, 20)?, "all can still be used");
            assert!(revoke(tx, id, 21)? && !revoke(tx, id, 22)? && !revoke(tx, other, 22)?);
            assert!(add(tx, other, &token, 22)?);
            assert_eq!((all(tx)?.len(), tx.vaulted()?.len()), (MAX_TOKENS, MAX_TOKENS));
            Ok(())
        });
        done.unwrap();
    }
}
