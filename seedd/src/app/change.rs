//! What only the command line of the seed changes, while the seed runs. Whoever reaches the control socket controls the seed.

use anyhow::Result;
use appliance::control::answer::{Accepted, Answer, ApiTokenMade, MetricsTokenMade, Nothing};
use appliance::control::{ChangeRequest, NewApiToken};
use cluster_seed::events::EventKind;
use cluster_seed::ids::Digest;
use host::clock::{now, now_ms};
use site::payloads;
use site::putting::InUse;
use site::store::Tx;
use site::store::events::NewEvent;
use web::api::{ApiError, NewToken};
use zeroize::Zeroizing;

use super::remote::{WHO, hinted};
use super::{App, join_tokens, metrics, notes, people, replace};

impl App {
    pub(super) fn carry_out(&self, ask: ChangeRequest) -> Result<Answer> {
        Ok(match ask {
            ChangeRequest::CreateApiToken(NewApiToken { user, name, scopes, days }) => {
                let new = NewToken { name, scopes, days: Some(days) };
                let made = self.write(|tx| {
                    let user = people::known(tx, &user)?;
                    people::create(tx, WHO, &user.user, user.rights.permissions(), &new)
                });
                let (token, text) = made.map_err(hinted)?;
                let (id, token, user, expires) = (token.id.to_string(), text.to_string(), token.user, token.expires);
                Answer::ApiTokenMade(ApiTokenMade { id, token, user, expires })
            }
            ChangeRequest::AddImageToken { id, token } => {
                token.grant.check(now())?;
                self.write(|tx| join_tokens::add_of_image(tx, WHO, id, &token)).map_err(hinted)?;
                Answer::Nothing(Nothing {})
            }
            ChangeRequest::CreateMetricsToken { days } => {
                let (text, expires) = self.write(|tx| metrics::make_token(tx, WHO, days)).map_err(hinted)?;
                Answer::MetricsTokenMade(MetricsTokenMade { token: text.to_string(), expires })
            }
            ChangeRequest::RevokeMetricsToken => {
                self.write(|tx| metrics::revoke_token(tx, WHO)).map_err(hinted)?;
                Answer::Nothing(Nothing {})
            }
            ChangeRequest::UsePayload { id } => {
                payloads::one(&self.site, id)?;
                self.write(|tx| use_payload(tx, WHO, id)).map_err(hinted)?;
                Answer::Nothing(Nothing {})
            }
            ChangeRequest::PutInUse { named } => {
                named.check(&self.site, &self.store)?;
                self.write(|tx| put_in_use(tx, WHO, &named)).map_err(hinted)?;
                Answer::Nothing(Nothing {})
            }
            ChangeRequest::Accept { checks, passphrase } => {
                let report = self.accept(WHO, &checks, passphrase.map(Zeroizing::new))?;
                Answer::Accepted(Accepted { report: serde_json::to_value(report)? })
            }
            ChangeRequest::ReplaceNode { hostname, force } => {
                let started = self.write(|tx| {
                    self.may_issue(tx)?;
                    replace::begin(tx, &self.scene(tx)?, WHO, &hostname, force)
                });
                started.map_err(hinted)?;
                Answer::Nothing(Nothing {})
            }
            ChangeRequest::Note { note } => {
                self.write(|tx| notes::write(tx, WHO, &note)).map_err(hinted)?;
                Answer::Nothing(Nothing {})
            }
        })
    }
}

/// Puts in use what was checked. Nothing is written if it is in use already.
pub(crate) fn put_in_use(tx: &Tx<'_>, actor: &str, named: &InUse) -> Result<(), ApiError> {
    if named.holds(tx)? {
        return Ok(());
    }
    named.set(tx)?;
    let text = named.text();
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(EventKind::SiteInUse, &text) })?;
    Ok(())
}

/// Puts a payload in use: the nodes run it by stages.
pub(crate) fn use_payload(tx: &Tx<'_>, actor: &str, id: Digest) -> Result<(), ApiError> {
    tx.set_payload(id)?;
    let text = format!("payload {} is in use", id.short());
    tx.event(now_ms(), &NewEvent { actor: Some(actor), ..NewEvent::new(EventKind::PayloadPublished, &text) })?;
    Ok(())
}
