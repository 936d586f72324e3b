//! The pages on http://127.0.0.1:8099 with a made-up site: log in as anybody with the password `correct horse`, the
//! pairing code is 123 456. 8098 is the same sealed, 8097 before its first administrator (code `one-time`).

use std::sync::Arc;

use tokio::net::TcpListener;
use web::{api, site_api};

#[path = "../src/mock.rs"]
#[allow(dead_code)]
mod mock;
#[path = "../src/mock_data.rs"]
#[allow(dead_code)]
mod mock_data;
#[path = "../src/mock_site.rs"]
#[allow(dead_code)]
mod mock_site;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut servers = Vec::new();
    for (port, sealed, setup_needed) in [(8099, false, false), (8098, true, false), (8097, true, true)] {
        let site = Arc::new(mock::Mock::new("/nonexistent".into(), ""));
        (site.state().overview.sealed, site.state().overview.setup_needed) = (sealed, setup_needed);
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("http://127.0.0.1:{port}/");
        let router = web::operator_router(site, web::OperatorOptions::default());
        servers.push(tokio::spawn(web::server::serve(listener, router, std::future::pending())));
    }
    for server in servers {
        server.await?;
    }
    Ok(())
}
