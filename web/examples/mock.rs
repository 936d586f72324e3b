//! The pages on http://127.0.0.1:8099 with an example site: log in under any name with the password `correct horse`; the
//! pairing code is 12-345-678. Port 8098 shows the same site sealed, 8097 before its first administrator (code `one-time`),
//! and 8096 a seed that has no site yet.

use std::sync::Arc;

use tokio::net::TcpListener;
use web::{api, limits};

#[path = "../src/testing/mod.rs"]
#[allow(dead_code)]
mod testing;

fn first_setup() -> api::FirstSetup {
    let interface = |name: &str, up| api::FirstInterface {
        name: name.to_owned(),
        mac: "52:54:00:00:00:01".to_owned(),
        up,
        addresses: vec!["10.44.0.1/24".to_owned()],
        chosen: up,
    };
    let view = api::FirstView {
        version: "0.1.0".to_owned(),
        site: "site-a".to_owned(),
        interfaces: vec![interface("eth0", false), interface("eth1", true)],
        warnings: vec!["The state is in memory and is lost at power-off".to_owned()],
    };
    let refuse = |_, _: &api::FirstSite| Err(api::ApiError::forbidden("wrong set-up code"));
    api::FirstSetup { look: Arc::new(move || Ok(view.clone())), make: Arc::new(refuse) }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut routers = Vec::new();
    for (port, sealed, setup_needed) in [(8099, false, false), (8098, true, false), (8097, true, true)] {
        let site = Arc::new(testing::Mock::new("/nonexistent".into(), ""));
        (site.state().overview.sealed, site.state().overview.setup_needed) = (sealed, setup_needed);
        routers.push((port, web::operator_router(site, web::OperatorOptions::default())));
    }
    routers.push((8096, web::first_setup_router(first_setup(), web::OperatorOptions::default())));
    let mut servers = Vec::new();
    for (port, router) in routers {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("http://127.0.0.1:{port}/");
        servers.push(tokio::spawn(web::listener::serve(listener, router, std::future::pending())));
    }
    for server in servers {
        server.await?;
    }
    Ok(())
}
