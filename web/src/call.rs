//! The state behind the handlers, and the way from async handlers into the blocking [`SeedApi`].

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::{ApiError, SeedApi};
use crate::error::Failure;
use crate::limits::{CALL_WAIT, MAX_CALLS, MAX_COSTLY, MAX_STREAMS};
use crate::operator::OperatorOptions;

pub(crate) struct App<A> {
    pub(crate) api: Arc<A>,
    pub(crate) options: OperatorOptions,
    pub(crate) streams: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    costly: Arc<Semaphore>,
}

impl<A> Clone for App<A> {
    fn clone(&self) -> Self {
        App {
            api: self.api.clone(),
            options: self.options,
            streams: self.streams.clone(),
            calls: self.calls.clone(),
            costly: self.costly.clone(),
        }
    }
}

impl<A: SeedApi> App<A> {
    pub(crate) fn new(api: Arc<A>, options: OperatorOptions) -> Self {
        let slots = |n| Arc::new(Semaphore::new(n));
        App { api, options, streams: slots(MAX_STREAMS), calls: slots(MAX_CALLS), costly: slots(MAX_COSTLY) }
    }

    /// Runs `f` on a blocking thread, at most [`MAX_CALLS`] at a time.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&A) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run(&self.calls, f).await
    }

    /// Like [`App::call`] for what hashes a password or opens a key, at most [`MAX_COSTLY`] at a time.
    pub(crate) async fn costly<T: Send + 'static>(
        &self,
        f: impl FnOnce(&A) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run(&self.costly, f).await
    }

    async fn run<T: Send + 'static>(
        &self,
        slots: &Arc<Semaphore>,
        f: impl FnOnce(&A) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        let busy = || ApiError::Unavailable { why: "the seed is busy; try again".into() };
        let turn = timeout(CALL_WAIT, slots.clone().acquire_owned()).await;
        let permit = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let api = self.api.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by the request: a client that hangs up does not free the slot early.
            let _permit = permit;
            f(&api)
        });
        let result = done.await.map_err(|e| Failure::internal(format!("a call into the daemon broke off: {e}")))?;
        result.map_err(Failure::from)
    }
}
