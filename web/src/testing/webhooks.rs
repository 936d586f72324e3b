//! The mock's webhooks.

use super::{Mock, data};
use crate::api::{Actor, ApiError, DeadLetterView, WebhookApi, WebhookTest, WebhookView};
use cluster_seed::events::EventKind;

/// A receiver that the mock has.
pub const RECEIVER: &str = "http://hooks.lan/";

impl WebhookApi for Mock {
    fn webhooks(&self, _: &Actor) -> Result<Vec<WebhookView>, ApiError> {
        drop(self.open()?);
        let why = Some(format!("it answered with status 500{}", self.spice));
        let events = vec!["node.".to_owned()];
        Ok(vec![WebhookView { url: RECEIVER.into(), events, told: Some(7), behind: 3, attempts: 2, why, dead: 1 }])
    }

    fn dead_letters(&self, _: &Actor) -> Result<Vec<DeadLetterView>, ApiError> {
        drop(self.open()?);
        let (kind, text) = (EventKind::NodeRevoked.as_str().to_owned(), format!("revoked{}", self.spice));
        Ok(vec![DeadLetterView {
            url: RECEIVER.into(),
            event: 6,
            kind,
            text,
            at: data::CLOCK,
            attempts: 7,
            why: "no answer".into(),
        }])
    }

    fn test_webhook(&self, _: &Actor, url: &str) -> Result<WebhookTest, ApiError> {
        self.note("test_webhook");
        drop(self.open()?);
        if url == RECEIVER { Ok(WebhookTest { status: 204, milliseconds: 3 }) } else { Err(ApiError::bad("no such webhook", "")) }
    }
}
