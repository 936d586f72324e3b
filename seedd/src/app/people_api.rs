//! [`web::api::PeopleApi`], implemented. What changes something asks for the permission once more.

use std::net::IpAddr;

use cluster_seed::ids::EnrollmentId;
use cluster_seed::people::{ApiTokenId, Permission};
use web::api::{
    Actor, ApiError, ChangePassword, CreatedToken, EnrollmentView, NewToken, NewUser, PeopleApi, PeopleView, SetUser, UserView,
};

use super::Seed;
use super::people::{self, user_view};

impl PeopleApi for Seed {
    fn agree(&self, actor: &Actor, id: EnrollmentId, decision: &str) -> Result<EnrollmentView, ApiError> {
        self.0.agree_by(actor.must(Permission::Approve)?, id, decision)
    }

    fn people(&self, actor: &Actor, token: &str) -> Result<PeopleView, ApiError> {
        self.0.view_people(actor, token)
    }

    fn authenticate_again(&self, from: IpAddr, actor: &Actor, token: &str, password: &str) -> Result<(), ApiError> {
        self.0.prove_again(from, actor.must(Permission::Account)?, token, password)
    }

    fn change_password(&self, from: IpAddr, actor: &Actor, token: &str, change: &ChangePassword) -> Result<(), ApiError> {
        self.0.change_own_password(from, actor.must(Permission::Account)?, token, change)
    }

    fn add_user(&self, actor: &Actor, new: &NewUser) -> Result<UserView, ApiError> {
        self.0.add_user_by(actor.must(Permission::Administer)?, new)
    }

    fn set_user(&self, actor: &Actor, user: &str, set: &SetUser) -> Result<UserView, ApiError> {
        let actor = actor.must(Permission::Administer)?;
        self.0.write(|tx| people::set(tx, &actor.user, user, set)).map(user_view)
    }

    fn reset_password(&self, actor: &Actor, user: &str, password: &str) -> Result<(), ApiError> {
        self.0.reset_password_by(actor.must(Permission::Administer)?, user, password)
    }

    fn remove_user(&self, actor: &Actor, user: &str) -> Result<(), ApiError> {
        let actor = actor.must(Permission::Administer)?;
        self.0.write(|tx| people::remove(tx, &actor.user, user))
    }

    fn end_session(&self, actor: &Actor, id: &str) -> Result<(), ApiError> {
        self.0.end_session_by(actor.must(Permission::Account)?, id)
    }

    fn end_other_sessions(&self, actor: &Actor, token: &str) -> Result<usize, ApiError> {
        self.0.end_others_of(actor.must(Permission::Account)?, token)
    }

    fn create_token(&self, actor: &Actor, new: &NewToken) -> Result<CreatedToken, ApiError> {
        self.0.create_token_by(actor.must(Permission::Account)?, new)
    }

    fn revoke_token(&self, actor: &Actor, id: ApiTokenId) -> Result<(), ApiError> {
        self.0.revoke_token_by(actor.must(Permission::Account)?, id)
    }
}
