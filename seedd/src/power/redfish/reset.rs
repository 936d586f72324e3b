//! Power on, off and cycle.

use anyhow::anyhow;
use serde_json::{Value, json};
use site::hint;
use web::api::PowerAction;

use super::fault::Fault;
use super::json::{action, allowable, fitting, link, parameters, path, shown, text, usual_target};
use super::service::{Look, Resource, Sent, Service};

const RESET: &str = "ComputerSystem.Reset";

/// The power state in lower case; "unknown" where the controller does not show it.
pub fn state(system: &Value) -> String {
    let state = text(system, "PowerState").unwrap_or("unknown").to_lowercase();
    state.chars().filter(char::is_ascii_alphanumeric).take(20).collect()
}

/// A way to do it: resets to try in this order, then, for one that needs two, the one after it is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub kinds: Vec<String>,
    pub then: Option<String>,
}

/// The resets that do `action` from `state`, of those `allowed`.
pub fn plan(action: PowerAction, state: &str, allowed: Option<&[String]>) -> Result<Plan, String> {
    let wanted: &[&str] = match action {
        PowerAction::On => &["On", "ForceOn"],
        PowerAction::Off => &["ForceOff"],
        // A machine that is off cannot be restarted.
        PowerAction::Cycle if state == "off" => &["On", "ForceOn"],
        PowerAction::Cycle => &["PowerCycle", "ForceRestart"],
        _ => return Err("this is not a change of power".to_owned()),
    };
    let kinds = fitting(wanted, allowed);
    if !kinds.is_empty() {
        return Ok(Plan { kinds, then: None });
    }
    let (off, on) = (fitting(&["ForceOff"], allowed), fitting(&["On", "ForceOn"], allowed));
    match (action, on.into_iter().next()) {
        (PowerAction::Cycle, Some(on)) if !off.is_empty() => Ok(Plan { kinds: off, then: Some(on) }),
        _ => Err(format!("the controller cannot do {}; it offers {}", wanted.join(" or "), offers(allowed))),
    }
}

fn offers(allowed: Option<&[String]>) -> String {
    shown(&allowed.unwrap_or_default().join(", "))
}

/// Carries `act` out and looks at what became of it; a sentence.
pub async fn reset(service: &Service<'_>, system: &Resource, act: PowerAction) -> Result<String, Fault> {
    let before = state(&system.value);
    match (act, before.as_str()) {
        (PowerAction::On, "on") => return Ok("it is on already".to_owned()),
        (PowerAction::Off, "off") => return Ok("it is off already".to_owned()),
        _ => {}
    }
    let at = action(&system.value, &system.path, RESET).unwrap_or_else(|| usual_target(&system.path, RESET));
    let allowed = kinds(service, &system.value).await?;
    let plan = plan(act, &before, allowed.as_deref()).map_err(|why| Fault::Other(anyhow!(why)))?;
    let to = if act == PowerAction::Off || plan.then.is_some() { "off" } else { "on" };
    let first = one(service, system, &at, &plan.kinds, to, act == PowerAction::Cycle && before != "off").await?;
    let Some(then) = plan.then else { return Ok(first.text()) };
    if !first.reached {
        return Err(Fault::Other(anyhow!("the controller accepted {}, but the machine is still on", first.kind)));
    }
    Ok(one(service, system, &at, &[then], "on", false).await?.text())
}

/// The kinds of reset that the action lists, itself or in its ActionInfo; `None` where neither does.
async fn kinds(service: &Service<'_>, system: &Value) -> Result<Option<Vec<String>>, Fault> {
    let holder = system.get("Actions").and_then(|a| a.get(format!("#{RESET}")));
    if let Some(all) = allowable(holder, "ResetType") {
        return Ok(Some(all));
    }
    let info = holder.and_then(|h| h.get("@Redfish.ActionInfo"));
    let Some(info) = info.and_then(|i| i.as_str().and_then(path).or_else(|| link(i))) else { return Ok(None) };
    match service.get(info).await {
        Ok(info) => Ok(parameters(&info.value).into_iter().find(|p| p.name == "ResetType").and_then(|p| p.values)),
        Err(f) if f.is_local() => Ok(None),
        Err(f) => Err(f),
    }
}

struct Reset {
    kind: String,
    /// State read last.
    state: String,
    /// It is the one asked for.
    reached: bool,
    unfinished: Option<String>,
}

impl Reset {
    fn text(&self) -> String {
        let Reset { kind, state, reached, unfinished } = self;
        match (reached, unfinished) {
            (true, _) => format!("the controller accepted {kind}; it is {state}"),
            (false, Some(task)) => format!("the controller accepted {kind} and has not finished it ({task}); it reads {state}"),
            (false, None) => format!("the controller accepted {kind}, which is not confirmed: it reads {state}"),
        }
    }
}

/// Tries the kinds in order until one is taken, and reads the state back. `restarts`: it is on before and after.
async fn one(
    service: &Service<'_>,
    system: &Resource,
    at: &str,
    kinds: &[String],
    to: &str,
    restarts: bool,
) -> Result<Reset, Fault> {
    let mut first = None;
    for kind in kinds {
        let sent = service.change("POST", at, &json!({ "ResetType": kind }), None).await;
        let lost = matches!(sent, Err(Fault::Lost(_)));
        let unfinished = match &sent {
            Ok(Sent::Unfinished(state)) => Some(state.clone()),
            _ => None,
        };
        if sent.is_ok() || lost {
            let now = read(service, system, to, restarts).await;
            // A restart whose answer was lost shows in the time of the last reset alone.
            let reached = now.state == to && (!restarts || now.restarted.unwrap_or(!lost && unfinished.is_none()));
            match sent {
                Err(f) if !reached => return Err(judged(f, kind, &now.state)),
                _ => return Ok(Reset { kind: kind.clone(), reached, state: now.state, unfinished }),
            }
        }
        let Err(fault) = sent else { continue };
        if fault.is_final() {
            return Err(fault);
        }
        // "It is in that state already" is said in many words; the state says it best.
        if !restarts && read_once(service, system).await.as_deref() == Some(to) {
            return Ok(Reset { kind: kind.clone(), state: to.to_owned(), reached: true, unfinished: None });
        }
        first.get_or_insert(fault);
    }
    Err(first.unwrap_or_else(|| Fault::Other(anyhow!("the controller offers no reset"))))
}

fn judged(fault: Fault, kind: &str, state: &str) -> Fault {
    let error = anyhow::Error::from(fault).context(format!("waiting for the answer to {kind}; the machine reads {state}"));
    Fault::Other(hint::with(error, "the controller may still carry it out: `seedd power status` shows the state"))
}

async fn read_once(service: &Service<'_>, system: &Resource) -> Option<String> {
    service.get(&system.path).await.ok().map(|s| state(&s.value))
}

/// What the system shows after a change.
struct Now {
    state: String,
    /// Another reset than before; `None` where it shows no time of it.
    restarted: Option<bool>,
}

/// The state once it is `to`, or the one read last. `restarts`: it has to show another reset as well, if it shows any.
async fn read(service: &Service<'_>, system: &Resource, to: &str, restarts: bool) -> Now {
    let reset_at = |s: &Value| text(s, "LastResetTime").map(str::to_owned);
    let before = reset_at(&system.value);
    let mut now = Now { state: "unknown".to_owned(), restarted: before.as_ref().map(|_| false) };
    let mut look = Look::start(service);
    while (now.state != to || (restarts && now.restarted == Some(false))) && look.next().await {
        if let Ok(system) = service.get(&system.path).await {
            now = Now {
                state: state(&system.value),
                restarted: before.as_ref().map(|b| reset_at(&system.value).as_ref() != Some(b)),
            };
        }
    }
    now
}
