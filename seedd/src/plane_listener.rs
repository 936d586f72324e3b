//! Listener for nodes on the control plane: the seed's address there, on a socket bound to the interface.
//!
//! WireGuard accepts a packet only from the address of the peer that encrypted it, and the socket only packets from this
//! interface. So here a source address proves membership; on the boot network it does not.

use std::net::{SocketAddrV4, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use cluster_seed::addressing::{SEED_HOST, address};
use cluster_seed::cluster::CONTROL_PLANE;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;

use crate::app::{App, Seed};

/// Interval between checks for the interface: it comes up after the daemon, and may be recreated.
const LOOK: Duration = Duration::from_secs(5);
const BACKLOG: i32 = 256;

/// A listener on `at` that accepts only packets from the interface `device`.
///
/// # Errors
/// If the interface does not exist or does not have the address, or the port is in use.
pub fn bind(device: &str, at: SocketAddrV4) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("opening a socket")?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(device.as_bytes())).with_context(|| format!("binding a socket to {device}"))?;
    socket.bind(&at.into()).with_context(|| format!("listening on {at}"))?;
    socket.listen(BACKLOG).with_context(|| format!("listening on {at}"))?;
    Ok(socket.into())
}

/// Serves nodes on the control plane while its interface exists, until `stop`.
pub async fn keep(app: Arc<App>, stop: watch::Receiver<bool>) {
    let router = web::member_router(Arc::new(Seed(app.clone())));
    keep_on(&app, CONTROL_PLANE, router, stop).await;
}

/// Serves the seed's metrics to nodes on the metrics plane, if that is not the control plane.
pub async fn keep_metrics(app: Arc<App>, stop: watch::Receiver<bool>) {
    let plane = app.metrics_plane();
    if plane != CONTROL_PLANE {
        let router = web::metrics_router(Arc::new(Seed(app.clone())));
        keep_on(&app, plane, router, stop).await;
    }
}

async fn keep_on(app: &Arc<App>, name: &str, router: Router, stop: watch::Receiver<bool>) {
    let Some(plane) = app.spec.spec.networking.planes.get(name) else { return };
    let own = match address(name, plane.value.cidr, SEED_HOST) {
        Ok(own) => SocketAddrV4::new(own, app.http.port()),
        Err(error) => return tracing::error!(%error, plane = name, "the seed has no address on this plane"),
    };
    let mut said = false;
    while !*stop.borrow() {
        let index = if_nametoindex(name).ok();
        match index.map(|_| bind(name, own)) {
            Some(Ok(listener)) => {
                said = false;
                tracing::info!(%own, plane = name, "serving nodes");
                serve(name.to_owned(), router.clone(), listener, index, stop.clone()).await;
            }
            Some(Err(error)) if !said => {
                said = true;
                tracing::warn!(error = format!("{error:#}"), plane = name, "cannot serve nodes on this plane");
            }
            _ => {}
        }
        pause(stop.clone()).await;
    }
}

/// Runs until stopped, or until the interface is replaced: a socket stays bound to the old one.
async fn serve(name: String, router: Router, listener: TcpListener, index: Option<u32>, stop: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, plane = name, "registering the listener of a plane"),
    };
    let over = async move {
        while !*stop.borrow() && if_nametoindex(name.as_str()).ok() == index {
            pause(stop.clone()).await;
        }
    };
    web::listener::serve(listener, router, over).await;
}

async fn pause(mut stop: watch::Receiver<bool>) {
    let _ = tokio::time::timeout(LOOK, stop.wait_for(|s| *s)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_belongs_to_one_interface() {
        let at = "127.0.0.1:0".parse().unwrap();
        let listener = bind("lo", at).unwrap();
        let socket = Socket::from(listener.try_clone().unwrap());
        assert_eq!(socket.device().unwrap().as_deref(), Some(&b"lo"[..]));
        drop(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        assert!(bind("no-such-if", at).is_err());
    }
}
