//! What the next start is from: the boot override, once, in the mode that the machine boots in.

use anyhow::anyhow;
use serde_json::{Map, Value, json};
use site::hint;

use super::fault::Fault;
use super::json::{allowable, fitting, link, shown, text};
use super::service::{Look, Resource, Sent, Service};

const TARGET: &str = "BootSourceOverrideTarget";
const ENABLED: &str = "BootSourceOverrideEnabled";
const MODE: &str = "BootSourceOverrideMode";

/// Where the machine shall boot from, in the controller's own spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    pub target: String,
    /// Sent where the controller shows one: without it some fall back to Legacy.
    pub mode: Option<String>,
}

/// What to set so that the next start is from the first of `sources` that the controller knows. `uefi`: how the machine is
/// known to boot; without that it is as the controller shows.
pub fn wanted(boot: Option<&Value>, sources: &[&str], uefi: Option<bool>) -> Result<Override, String> {
    let allowed = allowable(boot, TARGET);
    let fits = fitting(sources, allowed.as_deref()).into_iter().next();
    let target = fits.ok_or_else(|| {
        let offers = shown(&allowed.unwrap_or_default().join(", "));
        format!("the controller cannot start it from {}; it offers {offers}", sources.join(" or "))
    })?;
    if fitting(&["Once"], allowable(boot, ENABLED).as_deref()).is_empty() {
        return Err("the controller cannot set what one start is from, only all of them".to_owned());
    }
    let current = boot.and_then(|b| text(b, MODE));
    let wanted = match (current, uefi) {
        (None, _) => None,
        (Some(_), Some(true)) => Some("UEFI"),
        (Some(_), Some(false)) => Some("Legacy"),
        (Some(now), None) => Some(now),
    };
    let mode = wanted.map(|w| {
        let own = fitting(&[w], allowable(boot, MODE).as_deref()).into_iter().next();
        own.or_else(|| current.map(str::to_owned)).unwrap_or_else(|| w.to_owned())
    });
    Ok(Override { target, mode })
}

impl Override {
    /// Ways to write it, the best first; and whether the mode is in it.
    fn bodies(&self) -> Vec<(Value, bool)> {
        let mut boot = Map::from_iter([(TARGET.to_owned(), json!(self.target)), (ENABLED.to_owned(), json!("Once"))]);
        let bare = json!({ "Boot": boot.clone() });
        let Some(mode) = &self.mode else { return vec![(bare, false)] };
        boot.insert(MODE.to_owned(), json!(mode));
        vec![(json!({ "Boot": boot }), true), (bare, false)]
    }
}

/// What can be read of an override after it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Confirmed,
    /// As before: the controller does not show it, or not yet.
    Unchanged,
    /// Something else, in words.
    Other(String),
}

pub fn compare(before: Option<&Value>, now: Option<&Value>, wanted: &Override) -> Seen {
    let read = |boot: Option<&Value>, key| boot.and_then(|b| text(b, key)).map(shown);
    let (target, enabled, mode) = (read(now, TARGET), read(now, ENABLED), read(now, MODE));
    let is_set = target.as_ref().is_some_and(|t| t.eq_ignore_ascii_case(&wanted.target));
    let other_mode = mode.as_ref().filter(|m| wanted.mode.as_ref().is_some_and(|w| !w.eq_ignore_ascii_case(m)));
    let same = [TARGET, ENABLED, MODE].iter().all(|k| read(before, k) == read(now, k));
    match (is_set, enabled.as_deref(), other_mode) {
        (true, Some("Once") | None, None) => Seen::Confirmed,
        (true, Some("Once") | None, Some(mode)) => Seen::Other(format!("from {} in the mode {mode}", wanted.target)),
        (true, Some("Continuous"), _) => Seen::Other(format!("from {}, and all later ones as well", wanted.target)),
        _ if same => Seen::Unchanged,
        _ => {
            let word = |t: Option<String>| t.unwrap_or_else(|| "nothing".to_owned());
            Seen::Other(format!("{} ({})", word(target), word(enabled)))
        }
    }
}

/// Sets the override, and reads it back. A remark where it is not confirmed, else nothing.
pub async fn once(service: &Service<'_>, system: &Resource, wanted: &Override) -> Result<Option<String>, Fault> {
    let mut refused = None;
    for place in places(service, system).await? {
        let before = place.value.get("Boot").cloned();
        for (body, with_mode) in wanted.bodies() {
            let sent = match service.change("PATCH", &place.path, &body, place.etag.as_deref()).await {
                Err(f) if !f.is_final() => {
                    let elsewhere = f.is_elsewhere();
                    refused.get_or_insert(f);
                    if elsewhere {
                        break;
                    }
                    continue;
                }
                other => other,
            };
            if let Err(fault @ (Fault::Refused { .. } | Fault::Task(_) | Fault::Other(_))) = sent {
                return Err(fault);
            }
            let seen = look(service, system, &place, before.as_ref(), wanted).await;
            return judge(seen, sent, wanted, with_mode);
        }
    }
    Err(refused.unwrap_or_else(|| Fault::Other(anyhow!("the controller offers no boot override"))))
}

/// Where it may be written: the settings object where that shows it, the system, the settings object all the same
/// (DSP0266, 9.10).
async fn places(service: &Service<'_>, system: &Resource) -> Result<Vec<Resource>, Fault> {
    let at = system.value.pointer("/@Redfish.Settings/SettingsObject").and_then(link);
    let settings = match at {
        None => return Ok(vec![system_now(service, system).await]),
        Some(at) => match service.get(at).await {
            Ok(settings) => settings,
            Err(f) if f.is_local() => return Ok(vec![system_now(service, system).await]),
            Err(f) => return Err(f),
        },
    };
    let system = system_now(service, system).await;
    let first = settings.value.get("Boot").is_some_and(|b| b.get(TARGET).is_some());
    Ok(if first { vec![settings, system] } else { vec![system, settings] })
}

/// As it is now: what was done to a drive may have changed its ETag.
async fn system_now(service: &Service<'_>, system: &Resource) -> Resource {
    service.get(&system.path).await.unwrap_or_else(|_| system.clone())
}

async fn look(service: &Service<'_>, system: &Resource, place: &Resource, before: Option<&Value>, wanted: &Override) -> Seen {
    let mut last = Seen::Unchanged;
    let mut look = Look::start(service);
    while look.next().await {
        for at in [&place.path, &system.path] {
            let Ok(now) = service.get(at).await else { continue };
            let earlier = if at == &place.path { before } else { system.value.get("Boot") };
            match compare(earlier, now.value.get("Boot"), wanted) {
                Seen::Confirmed => return Seen::Confirmed,
                seen if at == &place.path => last = seen,
                _ => {}
            }
            if place.path == system.path {
                break;
            }
        }
    }
    last
}

fn judge(seen: Seen, sent: Result<Sent, Fault>, wanted: &Override, with_mode: bool) -> Result<Option<String>, Fault> {
    let unsure = "check it in the controller's own page before the machine is started";
    match (seen, sent) {
        (Seen::Confirmed, _) => Ok(None),
        (_, Err(lost)) => {
            let error = anyhow::Error::from(lost).context("waiting for the answer to a boot override, which cannot be read back");
            Err(Fault::Other(hint::with(error, unsure)))
        }
        (Seen::Other(what), _) => Err(Fault::Other(hint::with(
            anyhow!("the controller accepted the boot override, but the next start is {what}"),
            "correct it in the controller's own page, or set the boot mode in the machine's setup",
        ))),
        (Seen::Unchanged, Ok(Sent::Unfinished(state))) => Err(Fault::Other(hint::with(
            anyhow!("the controller has not finished setting the boot override ({state})"),
            "the task may end later: repeat this after a minute",
        ))),
        (Seen::Unchanged, Ok(Sent::Done)) => {
            let mode = if with_mode || wanted.mode.is_none() { "" } else { ", without the boot mode" };
            Ok(Some(format!("the controller accepted this{mode} but does not show it, so it is not confirmed")))
        }
    }
}
