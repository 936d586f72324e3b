//! A seed with its pages and its control socket, and the command line against it.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use appliance::console::host::Host;
use appliance::control::{self, listen};
use camino::Utf8PathBuf;
use seedd::app::auth::hash_password;
use seedd::app::console::AtConsole;
use seedd::app::{App, Seed};
use site::Site;
use tokio::runtime::Runtime;

use super::sites::{A, Temp, app, filled, temp};

/// The administrator's password.
pub const PASSWORD: &str = "correct horse";

pub struct Front {
    t: Temp,
    pub site: Site,
    pub app: Arc<App>,
    listener: TcpListener,
    control: control::Server,
    runtime: Option<Runtime>,
}

/// What the command line said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Front {
    /// A sealed site with an administrator, ada.
    pub fn new() -> Self {
        let t = temp();
        let site = filled(&t.path.join("a"), "site-a", A, 1, 100);
        Front::of(t, site)
    }

    pub fn of(t: Temp, site: Site) -> Self {
        let hash = hash_password(PASSWORD).unwrap();
        site.open_store().unwrap().write(|tx| tx.add_admin("ada", &hash, 1)).unwrap();
        let app = app(&site);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let socket = listen(&site.control_socket()).unwrap();
        let control = socket.start(Arc::new(AtConsole { app: app.clone(), host: Host::server(&site.data) }));
        let mut front = Front { t, site, app, listener, control, runtime: None };
        front.serve();
        front
    }

    fn serve(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        self.app.pages.set(("https", self.at())).unwrap();
        let router = web::operator_router(Arc::new(Seed(self.app.clone())), web::OperatorOptions { secure_cookies: true });
        let (listener, tls) = (self.listener.try_clone().unwrap(), self.app.tls.server_config().unwrap());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            web::listener::serve_pages(listener, Some(tls), router, Arc::default(), std::future::pending()).await;
        });
        self.runtime = Some(runtime);
    }

    /// As after a restart of the daemon: a new key for TLS, sealed.
    pub fn restart(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
        self.app = app(&self.site);
        self.serve();
        self.control.hand_over(Arc::new(AtConsole { app: self.app.clone(), host: Host::server(&self.site.data) }));
    }

    fn at(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.at())
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.t.path.join(name)
    }

    /// The command line of an operator whose home is in the test's folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seedd"));
        command.args(words).env("HOME", self.path("home")).stdin(Stdio::null());
        for variable in ["XDG_CONFIG_HOME", "KUBEDOS_DATA", "KUBEDOS_CONTEXT", "KUBEDOS_LOG"] {
            command.env_remove(variable);
        }
        command
    }

    pub fn run(&self, words: &[&str]) -> Said {
        Said::of(self.command(words).output().unwrap())
    }

    /// On the seed itself; has to succeed.
    pub fn here(&self, words: &[&str]) -> String {
        let said = self.try_here(words);
        assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
        said.out
    }

    pub fn try_here(&self, words: &[&str]) -> Said {
        let data = self.site.data.to_string();
        Said::of(self.command(words).env("KUBEDOS_DATA", data).output().unwrap())
    }

    pub fn json(&self, words: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.here(&[words, &["--json"]].concat())).unwrap()
    }
}

impl Said {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}
