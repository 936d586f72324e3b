//! One contact with a Redfish controller from a thread that may wait: how long at most, and what is learned of it.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use site::hint;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::controller::Controller;
use super::net::https::Client;
use super::net::pin::Shown;
use super::redfish::act::{Wish, act as ask};
use super::redfish::service::{Pace, Service};

/// For one action, with everything that is read back. The command line waits a little longer.
pub const ACTION_TIME: Duration = Duration::from_secs(150);
const CERTIFICATE_TIME: Duration = Duration::from_secs(20);
const LOG_OUT_TIME: Duration = Duration::from_secs(5);

/// What came of an action.
pub struct Contact {
    pub done: Result<String>,
    /// The certificate shown, where it is not the pinned one.
    pub other: Option<Shown>,
    /// It wants sessions.
    pub session: bool,
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("preparing to wait for a controller")
}

/// Reads the certificate by a TLS handshake. Nothing else is sent.
pub fn certificate(controller: &Controller) -> Result<Shown> {
    let client = Client::new(controller)?;
    let late = anyhow!("{} did not show its certificate within {} s", controller.address(), CERTIFICATE_TIME.as_secs());
    runtime()?.block_on(async { timeout(CERTIFICATE_TIME, client.certificate()).await.unwrap_or(Err(late)) })
}

pub fn act(controller: &Controller, password: &[u8], wish: &Wish) -> Result<Contact> {
    act_at(controller, password, wish, Pace::USUAL)
}

/// The same at another pace, for tests.
pub fn act_at(controller: &Controller, password: &[u8], wish: &Wish, pace: Pace) -> Result<Contact> {
    let client = Client::new(controller)?;
    let service = Service::new(&client, &controller.user, password, pace)?;
    let done = runtime()?.block_on(async {
        let done = timeout(ACTION_TIME, ask(&service, wish)).await;
        let _ = timeout(LOG_OUT_TIME, service.log_out()).await;
        done
    });
    let late = |_| {
        let text = format!("{} did not finish within {} s", controller.address(), ACTION_TIME.as_secs());
        hint::with(anyhow!(text), "what it accepted it may still carry out: `seedd power status` shows the state")
    };
    let done = done.map_err(late).and_then(|done| done.map_err(anyhow::Error::from));
    let other = client.seen().filter(|s| controller.pin.as_ref().is_some_and(|p| *p != s.sha256));
    Ok(Contact { done, other, session: service.needs_session() })
}
