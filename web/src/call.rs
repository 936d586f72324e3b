//! The states behind the handlers, and the way from async handlers into a blocking API.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::{ApiError, MachineApi, OperatorApi};
use crate::error::Failure;
use crate::limits::{CALL_WAIT, MAX_CALLS, MAX_COSTLY};
use crate::replay::Replay;
use crate::streams::Streams;

/// How the operators' listener is reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct OperatorOptions {
    /// The listener speaks TLS, so the session cookie is never sent over plain HTTP.
    pub secure_cookies: bool,
}

/// An API whose calls block, with a limit on how many run at a time.
pub(crate) struct Calls<A: ?Sized> {
    api: Arc<A>,
    slots: Arc<Semaphore>,
}

/// State of the machines' router.
pub(crate) type Machines = Calls<dyn MachineApi>;

/// State of the operators' router.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) options: OperatorOptions,
    /// Live pages and exports that are open.
    pub(crate) streams: Streams,
    /// Answers to requests with an idempotency key.
    pub(crate) replay: Arc<Replay>,
    calls: Calls<dyn OperatorApi>,
    costly: Calls<dyn OperatorApi>,
}

impl<A: ?Sized> Clone for Calls<A> {
    fn clone(&self) -> Self {
        Calls { api: self.api.clone(), slots: self.slots.clone() }
    }
}

impl<A: ?Sized + Send + Sync + 'static> Calls<A> {
    pub(crate) fn new(api: Arc<A>, most: usize) -> Self {
        Calls { api, slots: Arc::new(Semaphore::new(most)) }
    }

    /// Runs `f` on a blocking thread once there is a free slot.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&A) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        let busy = || ApiError::unavailable("the seed is busy; try again");
        let turn = timeout(CALL_WAIT, self.slots.clone().acquire_owned()).await;
        let permit = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let api = self.api.clone();
        let done = tokio::task::spawn_blocking(move || {
            // The thread has the permit, not the request: a client that disconnects does not free the slot early.
            let _permit = permit;
            f(&api)
        });
        let result = done.await.map_err(|e| Failure::internal(format!("a call into the daemon crashed: {e}")))?;
        result.map_err(Failure::from)
    }
}

impl App {
    pub(crate) fn new(api: Arc<dyn OperatorApi>, options: OperatorOptions) -> Self {
        App {
            options,
            streams: Streams::default(),
            replay: Arc::default(),
            calls: Calls::new(api.clone(), MAX_CALLS),
            costly: Calls::new(api, MAX_COSTLY),
        }
    }

    /// Runs `f` on a blocking thread, at most [`MAX_CALLS`] at a time.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn OperatorApi) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.calls.call(f).await
    }

    /// Like [`App::call`] for calls that hash a password or open a key, at most [`MAX_COSTLY`] at a time.
    pub(crate) async fn costly<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn OperatorApi) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.costly.call(f).await
    }

    /// Holds the id of the newest event.
    pub(crate) fn newest(&self) -> tokio::sync::watch::Receiver<i64> {
        self.calls.api.subscribe()
    }
}
