//! The mock's users, sessions and API tokens.

use std::net::IpAddr;

use cluster_seed::enrollment::EnrollmentState;
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::people::{ApiTokenId, Permission, Permissions, Rights};

use serde_json::{Value, json};

use super::{Mock, PASSWORD, data};
use crate::api::{
    Actor, ApiError, ApiTokenView, ChangePassword, CreatedToken, EnrollmentView, FirstYes, NewToken, NewUser, Origin, PasskeyApi,
    PasskeyView, PeopleApi, PeopleView, SessionView, SetUser, UserView,
};

/// What the mock shows once.
pub const NEW_TOKEN: &str = "kbd_0a1b2c3d_abcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdef";
/// A session with the rights of the word that follows.
pub const RIGHTS: &str = "rights-";
/// The same, but its password was typed long ago.
pub const STALE: &str = "stale-";
/// An API token of an administrator with the scope that follows.
pub const SCOPE: &str = "scope-";

/// Whose token it is, by its words.
pub fn actor_of(token: &str) -> Option<Actor> {
    if let Some(rights) = token.strip_prefix(RIGHTS) {
        return Some(Actor::session("ada", rights.parse().ok()?, true));
    }
    if let Some(rights) = token.strip_prefix(STALE) {
        return Some(Actor::session("ada", rights.parse().ok()?, false));
    }
    let scope: Permission = token.strip_prefix(SCOPE)?.parse().ok()?;
    Some(Actor::token("ada", Rights::Administrator, Permissions::of(&[scope])))
}

/// What bob has said yes to.
pub fn first_yes(spice: &str) -> FirstYes {
    FirstYes {
        user: format!("bob{spice}"),
        hostname: format!("n-9.lab.lan{spice}"),
        role: format!("base{spice}"),
        disk: format!("nvme0n1{spice}"),
        replace: true,
        decision: Digest([7; 32]),
    }
}

fn token(spice: &str) -> ApiTokenView {
    ApiTokenView {
        id: "0a1b2c3d".parse().unwrap_or_else(|e| unreachable!("{e}")),
        user: format!("bob{spice}"),
        name: format!("backup{spice}"),
        scopes: vec![Permission::Read, Permission::Power],
        created: data::CLOCK - 500,
        expires: data::CLOCK + 86_400,
        used: None,
    }
}

fn passkey(spice: &str) -> PasskeyView {
    let (id, user) = ("00ff00ff00ff00ff".to_owned(), "ada".to_owned());
    PasskeyView { id, user, name: format!("laptop{spice}"), created: data::CLOCK - 700, used: Some(data::CLOCK - 60) }
}

fn user(name: &str, rights: Rights, spice: &str) -> UserView {
    UserView { user: format!("{name}{spice}"), rights, created: data::CLOCK - 9_000, disabled: None }
}

impl PeopleApi for Mock {
    fn agree(&self, actor: &Actor, id: EnrollmentId, decision: &str) -> Result<EnrollmentView, ApiError> {
        self.note("agree");
        actor.must(Permission::Approve)?;
        self.enrollment(id, |e| {
            let first = e.first_yes.take().ok_or_else(|| ApiError::conflict("nobody has approved this machine yet", ""))?;
            if first.decision.to_string() != decision {
                return Err(ApiError::conflict("the decision was changed in the meantime", "reload the page"));
            }
            e.state = EnrollmentState::Confirming;
            Ok(())
        })
    }

    fn people(&self, actor: &Actor, own: &str) -> Result<PeopleView, ApiError> {
        drop(self.open()?);
        let all = actor.may.contain(Permission::Audit);
        let login = |n: u64, user: &str| SessionView {
            id: format!("{n:016x}"),
            user: user.to_owned(),
            begun: data::CLOCK - 900 * n,
            used: data::CLOCK - 60 * n,
            expires: data::CLOCK + 900,
            address: format!("10.44.0.9{}", self.spice),
            browser: format!("Mozilla/5.0 (X11; Linux x86_64){}", self.spice),
            own: n == 1 && !own.is_empty(),
        };
        let mut view = PeopleView {
            user: actor.user.clone(),
            rights: actor.rights,
            may: actor.may.iter().collect(),
            fresh: actor.fresh,
            users: vec![user("ada", Rights::Administrator, "")],
            sessions: vec![login(1, "ada"), login(2, "ada")],
            tokens: Vec::new(),
            passkeys: vec![passkey(&self.spice)],
        };
        if all {
            view.users.push(UserView { disabled: Some(data::CLOCK), ..user("bob", Rights::Operator, &self.spice) });
            view.sessions.push(login(3, &format!("bob{}", self.spice)));
            view.tokens.push(token(&self.spice));
        }
        Ok(view)
    }

    fn authenticate_again(&self, _: IpAddr, _: &Actor, _: &str, password: &str) -> Result<(), ApiError> {
        self.note("authenticate_again");
        if password == PASSWORD { Ok(()) } else { Err(ApiError::forbidden("wrong password")) }
    }

    fn change_password(&self, _: IpAddr, _: &Actor, _: &str, change: &ChangePassword) -> Result<(), ApiError> {
        self.note("change_password");
        if change.old == PASSWORD { Ok(()) } else { Err(ApiError::forbidden("wrong password")) }
    }

    fn add_user(&self, _: &Actor, new: &NewUser) -> Result<UserView, ApiError> {
        self.note("add_user");
        if new.user.contains(' ') {
            return Err(ApiError::bad("a user name has no spaces", ""));
        }
        Ok(user(&new.user, new.rights, ""))
    }

    fn set_user(&self, _: &Actor, name: &str, set: &SetUser) -> Result<UserView, ApiError> {
        self.note("set_user");
        if name == "ada" {
            return Err(ApiError::conflict("ada is the last administrator", "make another one first"));
        }
        Ok(user(name, set.rights.unwrap_or(Rights::Viewer), ""))
    }

    fn reset_password(&self, _: &Actor, _: &str, _: &str) -> Result<(), ApiError> {
        self.note("reset_password");
        Ok(())
    }

    fn remove_user(&self, _: &Actor, _: &str) -> Result<(), ApiError> {
        self.note("remove_user");
        Ok(())
    }

    fn end_session(&self, _: &Actor, _: &str) -> Result<(), ApiError> {
        self.note("end_session");
        Ok(())
    }

    fn end_other_sessions(&self, _: &Actor, _: &str) -> Result<usize, ApiError> {
        self.note("end_other_sessions");
        Ok(2)
    }

    fn create_token(&self, _: &Actor, new: &NewToken) -> Result<CreatedToken, ApiError> {
        self.note("create_token");
        if new.scopes.is_empty() {
            return Err(ApiError::bad("a token needs a scope", "choose one"));
        }
        let view = ApiTokenView { name: new.name.clone(), scopes: new.scopes.clone(), ..token("") };
        Ok(CreatedToken { token: NEW_TOKEN.to_owned(), view })
    }

    fn revoke_token(&self, _: &Actor, _: ApiTokenId) -> Result<(), ApiError> {
        self.note("revoke_token");
        Ok(())
    }
}

impl PasskeyApi for Mock {
    fn begin_passkey(&self, _: &Actor) -> Result<Value, ApiError> {
        self.note("begin_passkey");
        Ok(json!({ "challenge": "AAAA", "rp": { "id": format!("seed.lab.lan{}", self.spice) } }))
    }

    fn finish_passkey(&self, _: &Actor, name: &str, _: &Value) -> Result<PasskeyView, ApiError> {
        self.note("finish_passkey");
        Ok(PasskeyView { name: name.to_owned(), ..passkey("") })
    }

    fn remove_passkey(&self, _: &Actor, _: &str) -> Result<(), ApiError> {
        self.note("remove_passkey");
        Ok(())
    }

    fn begin_passkey_login(&self, from: IpAddr) -> Result<Value, ApiError> {
        self.note("begin_passkey_login");
        self.state().callers.push(from);
        Ok(json!({ "challenge": "AAAA", "rpId": "seed.lab.lan" }))
    }

    fn passkey_login(&self, _: &Origin, answer: &Value) -> Result<String, ApiError> {
        self.note("passkey_login");
        if answer["id"] == "right" {
            Ok("session-by-passkey".to_owned())
        } else {
            Err(ApiError::forbidden("the passkey was not accepted"))
        }
    }
}
