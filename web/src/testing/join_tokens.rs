//! The mock's join tokens.

use cluster_seed::join::token::TokenId;

use super::{Mock, data};
use crate::api::{Actor, ApiError, JoinTokenApi, JoinTokenState, JoinTokenView};

/// The token that waits for a second user.
pub const WAITING: &str = "0a1b2c3d";

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
}
