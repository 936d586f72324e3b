//! A real browser: Chromium driven through ChromeDriver by the W3C WebDriver protocol.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use serde_json::{Value, json};

use crate::api::http_agent;
use crate::stop;
use crate::tool::{Background, find, words};

/// WebDriver's name for an element reference (W3C WebDriver, section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys as WebDriver writes them (section 17.4.2). Shift is released at the end.
pub const ENTER: &str = "\u{e007}";
pub const TAB: &str = "\u{e004}";
pub const SHIFT_TAB: &str = "\u{e008}\u{e004}";
const PATIENCE: Duration = Duration::from_secs(120);

/// One browser window; closed when dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Background,
    session: String,
}

impl Browser {
    /// Starts Chromium with an empty profile below `work`, 1280 by 900 pixels.
    pub fn start(work: &Path, logs: &Path) -> Result<Self> {
        // The profile is thrown away; that the pages show the right certificate is checked by the lab's own client.
        Browser::with(work, logs, &["--ignore-certificate-errors".to_owned()])
    }

    /// The same, without a certificate error at the server with this public key (base64 of the SHA-256 of its
    /// SubjectPublicKeyInfo), which is at 127.0.0.1 under the name `name`.
    pub fn trusting(work: &Path, logs: &Path, key: &str, name: &str) -> Result<Self> {
        let names = format!("--host-resolver-rules=MAP {name} 127.0.0.1");
        Browser::with(work, logs, &[format!("--ignore-certificate-errors-spki-list={key}"), names])
    }

    fn with(work: &Path, logs: &Path, more: &[String]) -> Result<Self> {
        let (Some(chromium), Some(chromedriver)) = (find("chromium"), find("chromedriver")) else {
            bail!("chromium and chromedriver are not installed (./dev test installs them)");
        };
        let log = logs.join("chromedriver.log");
        let driver = Background::spawn("chromedriver", &words(&[&chromedriver.to_string_lossy(), "--port=0"]), &log, None)?;
        let port =
            stop::wait_for("chromedriver's port", PATIENCE, || Ok(std::fs::read_to_string(&log).ok().as_deref().and_then(port)))?;
        let mut browser = Browser { driver, session: format!("http://127.0.0.1:{port}/session") };
        let profile = work.join("chromium");
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let args: Vec<&str> = args.into_iter().chain(more.iter().map(String::as_str)).collect();
        let options = json!({"binary": chromium.to_string_lossy(), "args": args});
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let reply = browser.post("", &wanted)?;
        let id = reply["sessionId"].as_str().context("a browser session without an id")?;
        browser.session = format!("{}/{id}", browser.session);
        Ok(browser)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.session);
        let mut answer = http_agent(PATIENCE).post(&url).send_json(body).with_context(|| format!("asking the browser {path}"))?;
        value(&mut answer, path)
    }

    fn get(&self, path: &str) -> Result<Value> {
        let mut answer = http_agent(PATIENCE).get(format!("{}{path}", self.session)).call().context("asking the browser")?;
        value(&mut answer, path)
    }

    pub fn open(&self, url: &str) -> Result<()> {
        self.post("/url", &json!({"url": url})).map(|_| ())
    }

    pub fn title(&self) -> Result<String> {
        Ok(self.get("/title")?.as_str().unwrap_or("").to_owned())
    }

    pub fn source(&self) -> Result<String> {
        Ok(self.get("/source")?.as_str().unwrap_or("").to_owned())
    }

    /// The first element that fits the CSS selector.
    fn element(&self, css: &str) -> Result<String> {
        let reply = self.post("/element", &json!({"using": "css selector", "value": css}));
        let reply = reply.with_context(|| format!("looking for {css} on the page"))?;
        Ok(reply[ELEMENT].as_str().with_context(|| format!("no {css} on the page"))?.to_owned())
    }

    pub fn has(&self, css: &str) -> bool {
        self.element(css).is_ok()
    }

    /// Types into a field after emptying it.
    pub fn fill(&self, css: &str, text: &str) -> Result<()> {
        let element = self.element(css)?;
        self.post(&format!("/element/{element}/clear"), &json!({}))?;
        self.post(&format!("/element/{element}/value"), &json!({"text": text})).map(|_| ())
    }

    pub fn click(&self, css: &str) -> Result<()> {
        let element = self.element(css)?;
        self.post(&format!("/element/{element}/click"), &json!({})).map(|_| ())
    }

    /// What a field holds.
    pub fn field(&self, css: &str) -> Result<String> {
        let element = self.element(css)?;
        Ok(self.get(&format!("/element/{element}/property/value"))?.as_str().unwrap_or("").to_owned())
    }

    /// The text of an element as it is shown.
    pub fn text(&self, css: &str) -> Result<String> {
        let element = self.element(css)?;
        Ok(self.get(&format!("/element/{element}/text"))?.as_str().unwrap_or("").to_owned())
    }

    /// Presses keys where the cursor is.
    pub fn press(&self, keys: &str) -> Result<()> {
        let active = self.get("/element/active")?;
        let element = active[ELEMENT].as_str().context("no element has the cursor")?;
        self.post(&format!("/element/{element}/value"), &json!({"text": keys})).map(|_| ())
    }

    /// Runs a script on the page with these arguments, and returns what it returns.
    pub fn script(&self, script: &str, args: Value) -> Result<Value> {
        self.post("/execute/sync", &json!({"script": script, "args": args}))
    }

    /// The same of a script that calls its last argument with the result.
    pub fn script_async(&self, script: &str, args: Value) -> Result<Value> {
        self.post("/execute/async", &json!({"script": script, "args": args}))
    }

    /// The size of the page, in CSS pixels.
    pub fn size(&self, (width, height): (u32, u32)) -> Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", metrics).map(|_| ())
    }

    /// Whether the person prefers dark pages.
    pub fn dark(&self, dark: bool) -> Result<()> {
        let value = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.command("Emulation.setEmulatedMedia", features).map(|_| ())
    }

    /// Connects an authenticator for passkeys, whose user always agrees (WebAuthn Level 3, section 11).
    pub fn authenticator(&self) -> Result<()> {
        // Chromium's has the extension credProtect, which the seed asks for, together with credBlob.
        let wanted = json!({
            "protocol": "ctap2_1", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
            "isUserConsenting": true, "isUserVerified": true, "extensions": ["credBlob"],
        });
        self.post("/webauthn/authenticator", &wanted).map(|_| ())
    }

    /// A command of the Chrome DevTools Protocol.
    fn command(&self, name: &str, params: Value) -> Result<Value> {
        self.post("/goog/cdp/execute", &json!({"cmd": name, "params": params}))
    }

    /// Writes a PNG of the window.
    pub fn picture(&self, file: &Path) -> Result<()> {
        write_picture(&self.get("/screenshot")?, file)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium; the driver itself ends with its Background.
        let _ = http_agent(Duration::from_secs(10)).delete(&self.session).call();
        self.driver.terminate(Duration::from_secs(5));
    }
}

fn write_picture(reply: &Value, file: &Path) -> Result<()> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(reply.as_str().unwrap_or("")).context("reading a picture")?;
    if !bytes.starts_with(b"\x89PNG") {
        bail!("the browser's picture is not a PNG");
    }
    std::fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
}

fn value(answer: &mut ureq::http::Response<ureq::Body>, path: &str) -> Result<Value> {
    /// A picture of a long page is a few megabytes.
    const MOST: u64 = 64 << 20;
    let text = answer.body_mut().with_config().limit(MOST).read_to_string().context("reading the browser's answer")?;
    let mut body: Value = serde_json::from_str(&text).context("reading the browser's JSON")?;
    if let Some(error) = body["value"]["error"].as_str() {
        bail!("the browser says {error} to {path}: {}", body["value"]["message"].as_str().unwrap_or(""));
    }
    Ok(body["value"].take())
}

/// The port in `ChromeDriver was started successfully on port 12345.`
fn port(log: &str) -> Option<u16> {
    let (_, after) = log.split_once("started successfully on port ")?;
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read() {
        assert_eq!(port("Starting\nChromeDriver was started successfully on port 43215.\n"), Some(43215));
        assert_eq!(port("ChromeDriver was started successfully."), None);
    }
}
