//! Set-up before there is a site: one page and the console. The site is created completely or not at all.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use appliance::cluster::of_new_site;
use appliance::console::host::{Host, page_urls};
use appliance::console::view::{ConsoleView, Phase};
use appliance::control::Controlled;
use appliance::control::answer::{Clock, SetUpStatus, Status};
use appliance::network::{Nic, choose};
use appliance::settings::{Address, Settings};
use camino::Utf8PathBuf;
use cluster_seed::ids::Hostname;
use cluster_seed::progress::Quiet;
use cluster_seed::seal::VerifyingKey;
use cluster_seed::secret::SCRYPT_LOG_N;
use host::clock::{now, steady};
use ipnet::Ipv4Net;
use site::create::{NewSite, clean, create};
use site::hint::Hint as _;
use site::keys::MIN_PASSPHRASE;
use site::tls::Tls;
use site::{Site, default_cluster_yaml};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use transfer::medium::adopt::{Medium, Reading, adopt};
use web::api::ApiError;
use web::api::{FirstInterface, FirstSetup, FirstSite, FirstView};
use zeroize::Zeroizing;

use crate::app::auth::{first_session, new_setup_code};
use crate::app::throttle::{Attempt, Purpose, Throttle};
use crate::app::{for_page, socket, unexpected};

/// Maximum length of the passphrase, in bytes.
const MAX_PASSPHRASE: usize = 1024;

/// Called after settings were stored.
pub type OnSettings = Box<dyn Fn(&Settings) -> Result<()> + Send + Sync>;

/// Input of the set-up.
pub struct SetUp {
    given: Given,
    code: String,
    throttle: Throttle,
    making: Mutex<()>,
    /// What unseals the finished site.
    done: watch::Sender<Option<Arc<Zeroizing<String>>>>,
}

/// Arguments of [`SetUp`].
pub struct Given {
    pub site: Site,
    /// Where the medium is mounted, and its maker's key; without them the new site starts empty.
    pub medium: Option<(Utf8PathBuf, VerifyingKey)>,
    pub host: Host,
    /// Settings in force: boot parameters, then stored ones.
    pub settings: Box<dyn Fn() -> Settings + Send + Sync>,
    pub on_settings: OnSettings,
    pub pages: SocketAddr,
    pub tls: Arc<Tls>,
    pub warnings: Vec<String>,
}

impl SetUp {
    /// Deletes what an interrupted attempt left; no other process creates a site here.
    pub fn new(given: Given) -> Result<Arc<Self>> {
        clean(&given.site.data)?;
        Ok(Arc::new(SetUp {
            given,
            code: new_setup_code()?,
            throttle: Throttle::default(),
            making: Mutex::new(()),
            done: watch::Sender::new(None),
        }))
    }

    /// The set-up code, for the console.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Notifies when the site was created.
    pub fn done(&self) -> watch::Receiver<Option<Arc<Zeroizing<String>>>> {
        self.done.subscribe()
    }

    /// The API for the set-up page.
    pub fn page(self: &Arc<Self>) -> FirstSetup {
        let (look, make) = (self.clone(), self.clone());
        FirstSetup {
            look: Arc::new(move || look.look().map_err(for_page)),
            make: Arc::new(move |from, form| make.make(from, form)),
        }
    }

    fn told(&self) -> Vec<String> {
        let mut warnings = self.given.warnings.clone();
        if self.given.medium.is_none() {
            warnings.push("there is no medium: the new site will have no packages and no images".to_owned());
        }
        warnings
    }

    fn look(&self) -> Result<FirstView> {
        let interfaces = self.given.host.interfaces()?;
        let nics: Vec<Nic> = interfaces.iter().map(|i| Nic { name: i.name.clone(), link: i.up }).collect();
        let chosen = choose((self.given.settings)().iface.as_deref(), &nics).ok();
        let of = |i: appliance::console::view::InterfaceView| FirstInterface {
            chosen: Some(&i.name) == chosen.as_ref(),
            name: i.name,
            mac: i.mac,
            up: i.up,
            addresses: i.addresses,
        };
        Ok(FirstView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            site: "site-a".to_owned(),
            interfaces: interfaces.into_iter().map(of).collect(),
            warnings: self.told(),
        })
    }

    fn make(&self, from: IpAddr, form: &FirstSite) -> Result<String, ApiError> {
        // One at a time, so that parallel guesses are counted too.
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = Attempt { purpose: Purpose::SetUp, from, account: "" };
        match self.throttle.wait(&attempt, steady()) {
            0 => {}
            seconds => return Err(ApiError::TooMany { seconds }),
        }
        let given = form.code.trim().to_ascii_uppercase();
        if !bool::from(given.as_bytes().ct_eq(self.code.as_bytes())) {
            self.throttle.failed(&attempt, steady());
            tracing::warn!(%from, "wrong set-up code");
            return Err(ApiError::Forbidden { why: "wrong set-up code".to_owned() });
        }
        self.throttle.succeeded(&attempt, steady());
        if self.done.borrow().is_some() {
            return Err(ApiError::Conflict { why: "the site was just created".to_owned(), hint: Some("log in".to_owned()) });
        }
        let name = self.check(form)?;
        let token = self.create(form, &name).map_err(for_page)?;
        tracing::info!(site = %name, %from, "the site was created");
        self.done.send_replace(Some(Arc::new(Zeroizing::new(form.passphrase.clone()))));
        Ok(token)
    }

    fn check(&self, form: &FirstSite) -> Result<Hostname, ApiError> {
        let name: Option<Hostname> = form.site.trim().parse().ok().filter(|n: &Hostname| !n.as_str().contains('.'));
        let name = name.ok_or_else(|| ApiError::bad("the name of a site must have 1 to 63 characters of a-z, 0-9 and -", ""))?;
        if form.passphrase.chars().count() < MIN_PASSPHRASE {
            return Err(ApiError::bad(
                format!("the passphrase has fewer than {MIN_PASSPHRASE} characters"),
                "use, for example, four random words",
            ));
        }
        if form.passphrase.len() > MAX_PASSPHRASE || form.passphrase.contains(['\n', '\r', '\0']) {
            return Err(ApiError::bad(format!("the passphrase has more than {MAX_PASSPHRASE} bytes or more than one line"), ""));
        }
        crate::app::auth::check_user(&form.user)?;
        crate::app::auth::check_password(&form.password)?;
        let interfaces = self.given.host.interfaces().map_err(unexpected)?;
        if !interfaces.iter().any(|i| i.name == form.iface) {
            return Err(ApiError::bad("this machine has no such interface", "choose one from the list"));
        }
        Ok(name)
    }

    fn create(&self, form: &FirstSite, name: &Hostname) -> Result<String> {
        let medium = self.given.medium.as_ref().map(|(path, maker)| Medium::open(path, maker)).transpose();
        let medium = medium.hint("the medium is damaged or was modified; write it again. Nothing was created")?;
        let text = medium.as_ref().map_or_else(|| Ok(default_cluster_yaml("new")), Medium::cluster)?;
        let settings = (self.given.settings)();
        let address = match settings.address {
            Some(Address::Static(net)) => Some(net),
            _ => None,
        };
        let (text, spec) = of_new_site(&text, name, address)?;
        // Before the site, so that the site is served with it from the start.
        if self.given.host.appliance.is_some() {
            let stored = Settings { iface: Some(form.iface.clone()), ..self.given.host.settings()? };
            self.given.host.store_settings(&stored)?;
        }
        let new = NewSite { text: &text, spec: &spec, passphrase: &form.passphrase, now: now(), work: SCRYPT_LOG_N };
        let (_, token) = create(&self.given.site, &new, |place, _| {
            if let Some(medium) = &medium {
                let keys = place.keys().unseal(&form.passphrase)?;
                adopt(place, medium, &keys.site, Reading::Small, &Quiet)
                    .context("importing the medium")
                    .hint("the medium is damaged or was modified; write it again. Nothing was created")?;
            }
            Ok(first_session(place, &form.user, &form.password)?)
        })?;
        Ok(token)
    }
}

/// The seed's address on the boot network, with the prefix length.
pub fn own_address(spec: &cluster_seed::cluster::ClusterSpec) -> Result<Ipv4Net> {
    let underlay = &spec.spec.networking.underlay;
    Ipv4Net::new(underlay.seed.value, underlay.subnet.prefix_len()).context("reading the boot network")
}

impl Controlled for SetUp {
    fn clock(&self) -> Result<Clock> {
        Ok(socket::clock(crate::clock::of_machine()))
    }

    fn set_clock(&self, to_ms: u64) -> Result<Clock> {
        Ok(socket::clock(crate::clock::set_machine(to_ms)?))
    }

    fn status(&self) -> Result<Status> {
        Ok(Status::SetUp(SetUpStatus { setup: true, site: None, sealed: true, warnings: self.told() }))
    }

    fn unseal(&self, _passphrase: &str) -> Result<()> {
        Err(anyhow!("there is no site yet")).hint("create it in a browser, at the address that the console shows")
    }

    fn view(&self) -> Result<ConsoleView> {
        let interfaces = self.given.host.interfaces()?;
        Ok(ConsoleView {
            phase: Phase::Setup,
            pages: page_urls("https", self.given.pages, &interfaces),
            fingerprint: Some(self.given.tls.fingerprint()),
            setup_code: Some(self.code.clone()),
            warnings: self.told(),
            ..ConsoleView::default()
        })
    }

    fn host(&self) -> &Host {
        &self.given.host
    }

    fn settings_changed(&self, settings: &Settings) -> Result<()> {
        (self.given.on_settings)(settings)
    }
}
