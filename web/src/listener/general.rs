//! The general HTTP/1.1 server, for everything but the machines' plain requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::Connection;
use super::places::{Doing, Place};
use crate::limits::DRAIN_TIME;

impl Connection {
    pub(super) async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Connection { peer, router, place, bounds, mut stop } = self;
        let at = place.clone();
        let service = service_fn(move |request| answer(router.clone(), peer, at.clone(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.head)
            // Spelled as in `fast/`; GRUB accepts no other spelling.
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = async { drop(stop.wait_for(|s| *s).await) } => None,
            () = place.to_leave() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            // An answer in progress is finished first.
            None => {
                connection.as_mut().graceful_shutdown();
                timeout(DRAIN_TIME, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(e) = ended {
            tracing::debug!(%peer, error = %e, "connection ended");
        }
    }
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    place: Arc<Place>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Counted>, Infallible> {
    place.does(Doing::Reading);
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let Ok(mut response) = router.oneshot(request).await;
    if place.is_scarce() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    place.does(Doing::Answering);
    Ok(response.map(|body| Counted { body, place }))
}

/// The body of an answer: the connection is idle once it is gone.
struct Counted {
    body: Body,
    place: Arc<Place>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.place.does(Doing::Nothing);
    }
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
