//! Join tokens where two users have to approve a machine (`approvals: 2`): a token approves machines that nobody looks at, so a
//! second user has to agree to the token instead. Until then, machines with it wait, and join by themselves afterwards.

use cluster_seed::events::EventKind;
use cluster_seed::join::token::TokenId;
use cluster_seed::people::{Approvals, Permission};
use host::clock::{now, now_ms};
use site::store::Tx;
use site::store::events::NewEvent;
use site::tokens::{self, Grant, Token};
use web::api::{Actor, ApiError, JoinTokenApi, JoinTokenState, JoinTokenView};

use super::agree::{able, person};
use super::{App, Seed};

impl JoinTokenApi for Seed {
    fn join_tokens(&self) -> Result<Vec<JoinTokenView>, ApiError> {
        self.0.store.read(|tx| tokens::all(tx)?.iter().map(|(id, token)| self.0.token_view(tx, *id, token)).collect())
    }

    fn agree_to_token(&self, actor: &Actor, id: TokenId) -> Result<JoinTokenView, ApiError> {
        self.0.agree_to_token(actor.must(Permission::Approve)?, id)
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
