//! A person at a browser: clicks and keys, which are counted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::browser::{Browser, ENTER, SHIFT_TAB, TAB};
use crate::stop;

const LOADING: Duration = Duration::from_secs(60);
/// Most presses of Tab on the way to a field.
const MAX_TABS: usize = 600;

/// Clicks and keys of a journey.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    pub clicks: usize,
    pub keys: usize,
}

impl std::fmt::Display for Effort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} clicks and {} keys", self.clicks, self.keys)
    }
}

pub struct Hands<'a> {
    pub browser: &'a Browser,
    base: String,
    done: Effort,
}

impl<'a> Hands<'a> {
    pub fn new(browser: &'a Browser, base: &str) -> Self {
        Hands { browser, base: base.to_owned(), done: Effort::default() }
    }

    /// What was done since the last call.
    pub fn effort(&mut self) -> Effort {
        std::mem::take(&mut self.done)
    }

    /// Opens a page by its address, which is no part of a journey.
    pub fn open(&self, path: &str) -> Result<()> {
        self.browser.open(&format!("{}{path}", self.base))
    }

    pub fn until(&self, what: &str, check: impl Fn(&Browser) -> Result<bool>) -> Result<()> {
        let shown = || self.browser.title().unwrap_or_default();
        stop::wait_for(what, LOADING, || Ok(check(self.browser)?.then_some(())))
            .with_context(|| format!("on the page {}", shown()))
    }

    /// Waits for an element.
    pub fn sees(&self, css: &str) -> Result<()> {
        self.until(css, |b| Ok(b.has(css)))
    }

    pub fn click(&mut self, css: &str) -> Result<()> {
        self.done.clicks += 1;
        self.browser.click(css)
    }

    /// Clicks what leads to another page, and waits until this one is gone.
    pub fn follow(&mut self, css: &str) -> Result<()> {
        self.mark()?;
        self.click(css)?;
        self.left()
    }

    /// Clicks into a field and types.
    pub fn fill(&mut self, css: &str, text: &str) -> Result<()> {
        self.done.clicks += 1;
        self.done.keys += text.chars().count();
        self.browser.fill(css, text)
    }

    /// Picks a value of a list, unless it is picked: one click opens the list, one picks.
    pub fn pick(&mut self, css: &str, value: &str) -> Result<()> {
        let now = self.browser.script("return document.querySelector(arguments[0]).value", json!([css]))?;
        if now == value {
            return Ok(());
        }
        self.done.clicks += 2;
        self.browser.click(&format!("{css} option[value='{value}']"))
    }

    /// Types where the cursor is, once there is one: a page places it after it has been painted.
    pub fn type_text(&mut self, text: &str) -> Result<()> {
        let field = "return document.activeElement !== null && document.activeElement.matches('input, select, textarea')";
        self.until("a field with the cursor", |b| Ok(b.script(field, json!([])).is_ok_and(|v| v == true)))?;
        self.done.keys += text.chars().count();
        self.browser.press(text)
    }

    /// Enter where the cursor is, and waits until the page is gone.
    pub fn enter(&mut self) -> Result<()> {
        self.mark()?;
        self.done.keys += 1;
        self.browser.press(ENTER)?;
        self.left()
    }

    /// Pastes into a field that is too large to be typed: two keys at once count as one.
    pub fn paste(&mut self, css: &str, text: &str) -> Result<()> {
        self.done.clicks += 1;
        self.done.keys += 1;
        let set = "const f = document.querySelector(arguments[0]); f.focus(); f.value = arguments[1]; \
                   f.dispatchEvent(new Event('input', { bubbles: true }));";
        self.browser.script(set, json!([css, text])).map(|_| ())
    }

    /// Tab until the cursor is in an element, forwards or backwards.
    pub fn tab_to(&mut self, css: &str, forwards: bool) -> Result<()> {
        let there = |b: &Browser| -> Result<bool> {
            let found = "return document.activeElement !== null && document.activeElement.matches(arguments[0])";
            Ok(b.script(found, json!([css]))? == true)
        };
        for _ in 0..MAX_TABS {
            if there(self.browser)? {
                return Ok(());
            }
            self.done.keys += 1;
            self.browser.press(if forwards { TAB } else { SHIFT_TAB })?;
        }
        ensure!(there(self.browser)?, "{MAX_TABS} presses of Tab do not reach {css}");
        Ok(())
    }

    /// The password, if the page asks for it once more.
    pub fn again(&mut self, password: &str) -> Result<()> {
        if self.browser.has("#again") {
            self.type_text(password)?;
            self.enter()?;
        }
        Ok(())
    }

    /// Leaves a mark on the page that the next one does not have.
    fn mark(&self) -> Result<()> {
        self.browser.script("window.ofTheLab = true", json!([])).map(|_| ())
    }

    fn left(&self) -> Result<()> {
        let next = "return window.ofTheLab !== true && document.readyState === 'complete'";
        // While one page takes the place of the other, there is no answer.
        self.until("the next page", |b| Ok(b.script(next, json!([])).is_ok_and(|v| v == true)))
    }
}
