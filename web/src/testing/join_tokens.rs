//! The mock's join tokens.

use cluster_seed::join::token::TokenId;

use super::{Mock, data};
use crate::api::{Actor, ApiError, CreatedJoinToken, JoinTokenApi, JoinTokenState, JoinTokenView, NewJoinToken};

/// The token that waits for a second user.
pub const WAITING: &str = "0a1b2c3d";
/// What the mock shows once.
const NEW_TOKEN: &str = "kjt-0a1b2c3d-00000000000000000000000000000000";

fn token(spice: &str) -> Result<JoinTokenView, ApiError> {
    Ok(JoinTokenView {
        id: WAITING.parse().map_err(|_| ApiError::Internal("the mock's join token".into()))?,
        role: format!("base{spice}"),
        name: format!("web-{{n}}{spice}"),
        uses: 20,
        used: 1,
        created: data::CLOCK - 60,
        creator: format!("command line{spice}"),
        expires: data::CLOCK + 86_400,
        state: JoinTokenState::Waiting,
        why: None,
        agreed: None,
        image: Some(format!("web{spice}")),
    })
}

impl JoinTokenApi for Mock {
    fn join_tokens(&self) -> Result<Vec<JoinTokenView>, ApiError> {
        drop(self.open()?);
        let waiting = token(&self.spice)?;
        let (why, agreed) = (Some(format!("is used up{}", self.spice)), Some(format!("bob{}", self.spice)));
        Ok(vec![JoinTokenView { state: JoinTokenState::Ended, why, agreed, ..waiting.clone() }, waiting])
    }

    fn agree_to_token(&self, actor: &Actor, id: TokenId) -> Result<JoinTokenView, ApiError> {
        self.note("agree_to_token");
        let token = token(&self.spice)?;
        if token.id != id {
            return Err(ApiError::NotFound { what: "join token" });
        }
        Ok(JoinTokenView { state: JoinTokenState::Valid, agreed: Some(actor.user.clone()), ..token })
    }

    fn create_join_token(&self, actor: &Actor, new: &NewJoinToken) -> Result<CreatedJoinToken, ApiError> {
        self.note("create_join_token");
        if new.role != "base" {
            return Err(ApiError::bad("there is no such role", "roles are in cluster.yaml"));
        }
        let view = JoinTokenView { creator: actor.user.clone(), used: 0, image: None, ..token(&self.spice)? };
        Ok(CreatedJoinToken { token: NEW_TOKEN.to_owned(), view })
    }

    fn revoke_join_token(&self, _: &Actor, id: TokenId) -> Result<(), ApiError> {
        self.note("revoke_join_token");
        if token(&self.spice)?.id == id { Ok(()) } else { Err(ApiError::NotFound { what: "join token" }) }
    }
}
