//! Join tokens: created and revoked, by the API and by `seedd token`. Where two users have to approve a machine (`approvals: 2`), a
//! second user has to agree to the token, since it approves machines that nobody looks at. Until then, machines with it wait, and join
//! by themselves afterwards.

use cluster_seed::events::EventKind;
use cluster_seed::join::pattern::{NamePattern, PatternError};
use cluster_seed::join::token::TokenId;
use cluster_seed::machine::tame;
use cluster_seed::people::{Approvals, Permission};
use host::clock::{now, now_ms};
use site::store::Tx;
use site::store::events::NewEvent;
use site::tokens::{self, DiskRule, Grant, MAX_TOKENS, Token};
use web::api::{Actor, ApiError, CreatedJoinToken, JoinDisk, JoinTokenApi, JoinTokenState, JoinTokenView, NewJoinToken};

use super::agree::{able, person};
use super::{App, Seed, unexpected};

/// Validity of a token if nobody says otherwise, in seconds.
const VALIDITY: u64 = 86_400;

impl JoinTokenApi for Seed {
    fn join_tokens(&self) -> Result<Vec<JoinTokenView>, ApiError> {
        self.0.store.read(|tx| tokens::all(tx)?.iter().map(|(id, token)| self.0.token_view(tx, *id, token)).collect())
    }

    fn agree_to_token(&self, actor: &Actor, id: TokenId) -> Result<JoinTokenView, ApiError> {
        self.0.agree_to_token(actor.must(Permission::Approve)?, id)
    }

    fn create_join_token(&self, actor: &Actor, new: &NewJoinToken) -> Result<CreatedJoinToken, ApiError> {
        self.0.create_join_token(actor.must(Permission::Administer)?, new)
    }

    fn revoke_join_token(&self, actor: &Actor, id: TokenId) -> Result<(), ApiError> {
        let actor = actor.must(Permission::Approve)?;
        self.0.write(|tx| revoke(tx, &actor.user, id))
    }
}

/// Keeps a token that was drawn. Refused while there are too many that can still be used.
pub(crate) fn add(tx: &Tx<'_>, actor: &str, id: TokenId, token: &Token) -> Result<(), ApiError> {
    if !tokens::add(tx, id, token, now())? {
        return Err(too_many());
    }
    let text = created(id, &token.grant);
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(EventKind::TokenCreated, &text) })?;
    Ok(())
}

/// Keeps the token of an image for one node; those of earlier images of the node end. Refused as [`add`] is.
pub(crate) fn add_of_image(tx: &Tx<'_>, actor: &str, id: TokenId, token: &Token) -> Result<(), ApiError> {
    let earlier = tokens::add_of_image(tx, id, token, now())?.ok_or_else(too_many)?;
    for old in earlier {
        let text = format!("join token {old} revoked: there is a newer image of {}", token.grant.name);
        tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(EventKind::TokenRevoked, &text) })?;
    }
    let image = token.image.as_deref().unwrap_or_default();
    let text = format!("{}, in image {image}", created_for_node(id, &token.grant));
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(EventKind::TokenCreated, &text) })?;
    Ok(())
}

fn too_many() -> ApiError {
    ApiError::conflict(format!("there are {MAX_TOKENS} join tokens already"), "revoke one: `seedd token revoke ID`")
}

/// Revokes a token; refused if there is none, or it was revoked before.
pub(crate) fn revoke(tx: &Tx<'_>, actor: &str, id: TokenId) -> Result<(), ApiError> {
    if !tokens::revoke(tx, id, now())? {
        return Err(ApiError::conflict(format!("there is no join token {id} that could be revoked"), ""));
    }
    let text = format!("join token {id} revoked");
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(EventKind::TokenRevoked, &text) })?;
    Ok(())
}

/// What is said of a new token, without its secret.
pub(crate) fn created(id: TokenId, grant: &Grant) -> String {
    let Grant { role, name, uses, expires, .. } = grant;
    let s = if *uses == 1 { "" } else { "s" };
    format!("join token {id} created: role {role}, name {name}, {uses} use{s}, until {}", time(*expires))
}

/// The same of the token of an image for one node.
pub(crate) fn created_for_node(id: TokenId, grant: &Grant) -> String {
    let Grant { role, name, expires, .. } = grant;
    format!("join token {id} created: node {name}, role {role}, one use, until {}", time(*expires))
}

/// The moment of so many Unix seconds; nothing beyond the year 9999.
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn disk_rule(disk: JoinDisk) -> DiskRule {
    match disk {
        JoinDisk::Only => DiskRule::Only,
        JoinDisk::Smallest => DiskRule::Smallest,
        JoinDisk::Largest => DiskRule::Largest,
    }
}

impl App {
    /// True if the token approves nobody before a second user has agreed to it. Whoever created it on the seed is the first one.
    pub(super) fn waits_for_second(&self, tx: &Tx<'_>, token: &Token) -> Result<bool, ApiError> {
        if self.approvals_of(&token.grant.role) != Approvals::Two {
            return Ok(false);
        }
        // A user who lost the right since then does not count any more.
        Ok(token.agreed.as_deref().map(|name| able(tx, name)).transpose()?.flatten().is_none())
    }

    /// The same for a token by its id; an unknown one waits for nobody.
    pub(super) fn token_waits(&self, id: TokenId) -> Result<bool, ApiError> {
        self.store.read(|tx| tokens::get(tx, id)?.map_or(Ok(false), |token| self.waits_for_second(tx, &token)))
    }

    fn token_view(&self, tx: &Tx<'_>, id: TokenId, token: &Token) -> Result<JoinTokenView, ApiError> {
        let why = token.may_serve(0, now()).err();
        let state = match why {
            Some(_) => JoinTokenState::Ended,
            None if self.waits_for_second(tx, token)? => JoinTokenState::Waiting,
            None => JoinTokenState::Valid,
        };
        let Token { grant: Grant { role, name, uses, expires, .. }, created, creator, used, agreed, image, .. } = token.clone();
        let (name, why) = (name.to_string(), why.map(|w| w.to_string()));
        Ok(JoinTokenView { id, role, name, uses, used, created, creator, expires, state, why, agreed, image })
    }

    fn create_join_token(&self, actor: &Actor, new: &NewJoinToken) -> Result<CreatedJoinToken, ApiError> {
        let NewJoinToken { role, name, uses, seconds, disk } = new;
        if !self.spec.spec.roles.contains_key(role) {
            return Err(ApiError::bad(format!("there is no role {:?}", tame(role)), "roles are in cluster.yaml"));
        }
        let name: NamePattern = name.parse().map_err(|e: PatternError| ApiError::bad(e.to_string(), ""))?;
        let at = now();
        let grant = Grant {
            role: role.clone(),
            name,
            uses: uses.unwrap_or(1),
            expires: at.saturating_add(seconds.unwrap_or(VALIDITY)),
            disk: disk_rule(disk.unwrap_or_default()),
        };
        grant.check(at).map_err(|e| ApiError::bad(e.to_string(), ""))?;
        let (token, secret) = Token::draw(grant, &actor.user, at, &self.public.vault).map_err(unexpected)?;
        let view = self.write(|tx| {
            add(tx, &actor.user, secret.id, &token)?;
            self.token_view(tx, secret.id, &token)
        })?;
        Ok(CreatedJoinToken { token: secret.to_text().to_string(), view })
    }

    fn agree_to_token(&self, actor: &Actor, id: TokenId) -> Result<JoinTokenView, ApiError> {
        person(actor)?;
        self.write(|tx| {
            let token = tokens::get(tx, id)?.ok_or(ApiError::NotFound { what: "join token" })?;
            if let Err(why) = token.may_serve(0, now()) {
                return Err(ApiError::conflict(format!("join token {id} {why}"), "create another one"));
            }
            if !self.waits_for_second(tx, &token)? {
                return Err(ApiError::conflict(format!("join token {id} needs no second user"), "reload the page"));
            }
            if token.creator == actor.user {
                return Err(ApiError::conflict("you created this join token yourself", "another user has to agree"));
            }
            let token = tokens::agree(tx, id, &actor.user)?.ok_or(ApiError::NotFound { what: "join token" })?;
            let Grant { role, name, uses, .. } = &token.grant;
            let text = format!("agreed to join token {id} of {}: role {role}, name {name}, uses {uses}", token.creator);
            tx.event(now_ms(), &NewEvent { actor: Some(&actor.user), ..NewEvent::new(EventKind::TokenAgreed, &text) })?;
            self.token_view(tx, id, &token)
        })
    }
}
