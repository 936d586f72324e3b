//! `seedd machine approve`: one machine, or many from a file.

use std::collections::HashMap;
use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use camino::Utf8PathBuf;
use clap::Args;
use host::files::read_limited;
use serde_json::{Value, json};
use site::hint::Hint as _;

use super::output::{Shape, pause, plain};
use super::reach::SeedArgs;
use super::rows::{self, Enrollment};
use crate::cli::args::say;
use crate::remote::{Refused, Remote};
use crate::terminal;

/// Largest file with codes, in bytes, and most lines in it.
const MAX_FILE: u64 = 1 << 20;
const MAX_LINES: usize = 10_000;
/// How often is looked whether the machines have confirmed, and how many times.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS: u32 = 45;
/// HTTP's "too many requests", "unauthorized" and "locked": what follows would be refused too.
const HOPELESS: [u16; 3] = [429, 401, 423];

#[derive(Args)]
pub struct Approve {
    /// Code on the machine's console
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    code: Option<String>,
    /// Role of the node
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    role: Option<String>,
    /// Host name of the node, without the site's domain
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    name: Option<String>,
    /// Disk that is overwritten, by its kernel name
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    disk: Option<String>,
    /// Read lines of CODE ROLE NAME DISK from this file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<Utf8PathBuf>,
    /// Revoke a node that has this name, and replace it
    #[arg(long)]
    replace: bool,
    /// Do not wait until the machine has confirmed the code
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

/// One machine that is to be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    code: String,
    role: String,
    name: String,
    disk: String,
}

/// What came of it.
struct Outcome {
    wish: Wish,
    enrollment: Option<String>,
    state: String,
    why: Option<String>,
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.why.is_none()
    }

    fn line(&self) -> String {
        let Wish { code, name, .. } = &self.wish;
        let why = self.why.as_ref().map(|w| format!(": {w}")).unwrap_or_default();
        plain(&format!("{code}  {name:<24}  {}{why}", self.state))
    }

    fn value(&self) -> Value {
        let Wish { code, name, .. } = &self.wish;
        json!({"code": code, "name": name, "enrollment": self.enrollment, "state": self.state, "error": self.why})
    }
}

impl Approve {
    pub fn run(&self) -> Result<()> {
        let wishes = self.wishes()?;
        let remote = self.seed.connect()?;
        terminal::watch_signals()?;
        let mut all: Vec<Outcome> = Vec::new();
        let mut hopeless = None;
        for wish in wishes {
            let refused = |wish, why| Outcome { wish, enrollment: None, state: "refused".to_owned(), why: Some(why) };
            if let Some(why) = &hopeless {
                all.push(refused(wish, format!("not tried ({why})")));
                continue;
            }
            match self.one(&remote, &wish) {
                Ok(e) => all.push(Outcome { wish, enrollment: Some(e.id), state: e.state, why: None }),
                Err(error) => {
                    let told = error.downcast_ref::<Refused>();
                    // A seed that cannot be reached refuses the next one too.
                    hopeless = told.is_none_or(|t| HOPELESS.contains(&t.status)).then(|| error.to_string());
                    let hint = told.and_then(Refused::hint).map(|h| format!(" ({h})")).unwrap_or_default();
                    all.push(refused(wish, format!("{error:#}{hint}")));
                }
            }
        }
        if !self.no_wait {
            confirmed(&remote, &mut all)?;
        }
        for outcome in all.iter_mut().filter(|o| o.why.is_none() && o.state == "Pending") {
            outcome.why = Some("a second user has to agree".to_owned());
        }
        let text: Vec<String> = all.iter().map(Outcome::line).collect();
        let values: Vec<Value> = all.iter().map(Outcome::value).collect();
        say(&self.shape.render(&json!({ "approved": values }), &|| text.join("\n"))?)?;
        match all.iter().filter(|o| !o.is_good()).count() {
            0 => Ok(()),
            bad => bail!("{bad} of {} machines were not approved", all.len()),
        }
    }

    fn one(&self, remote: &Remote, wish: &Wish) -> Result<Enrollment> {
        let Wish { code, role, name, disk } = wish;
        let body = json!({"code": code, "role": role, "hostname": name, "disk": disk, "replace": self.replace});
        rows::read(remote.post("/api/v1/approve", &body)?)
    }

    fn wishes(&self) -> Result<Vec<Wish>> {
        if let (Some(code), Some(role), Some(name), Some(disk)) = (&self.code, &self.role, &self.name, &self.disk) {
            let (code, role, name, disk) = (code.clone(), role.clone(), name.clone(), disk.clone());
            return Ok(vec![Wish { code, role, name, disk }]);
        }
        let path = self.file.as_deref().ok_or_else(|| anyhow!("neither a code nor a file is given"))?;
        let text = if path == "-" {
            let mut text = String::new();
            std::io::stdin().lock().take(MAX_FILE).read_to_string(&mut text).context("reading standard input")?;
            text
        } else {
            String::from_utf8(read_limited(path, MAX_FILE)?).with_context(|| format!("reading {path} as UTF-8"))?
        };
        lines(&text)
    }
}

/// Every line is read before the first machine is approved.
fn lines(text: &str) -> Result<Vec<Wish>> {
    let mut all = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let [code, role, name, disk] = words[..] else {
            return Err(anyhow!("line {number} has {} words", words.len()))
                .hint("a line is CODE ROLE NAME DISK; nothing was approved");
        };
        let wish = |text: &str| text.to_owned();
        all.push(Wish { code: wish(code), role: wish(role), name: wish(name), disk: wish(disk) });
    }
    if all.is_empty() || all.len() > MAX_LINES {
        bail!("there are {} lines with machines; 1 to {MAX_LINES} are read", all.len());
    }
    Ok(all)
}

/// Waits until every machine has answered, for a while.
fn confirmed(remote: &Remote, all: &mut [Outcome]) -> Result<()> {
    let open = |o: &Outcome| o.enrollment.is_some() && o.state == "Confirming";
    for _ in 0..LOOKS {
        if !all.iter().any(open) || terminal::stop_asked() {
            break;
        }
        pause(LOOK);
        // What was approved so far is reported even if one question fails.
        let Ok(rows) = remote.list("/api/v1/enrollments", "enrollments") else { continue };
        let rows = rows.into_iter().map(rows::read).collect::<Result<Vec<Enrollment>>>()?;
        let now: HashMap<&str, &Enrollment> = rows.iter().map(|e| (e.id.as_str(), e)).collect();
        for outcome in all.iter_mut().filter(|o| open(o)) {
            let told = outcome.enrollment.as_deref().and_then(|id| now.get(id));
            if let Some(told) = told {
                outcome.state = told.state.clone();
                if ["Denied", "Failed", "Expired", "Revoked"].contains(&told.state.as_str()) {
                    outcome.why = Some(told.reason.clone().unwrap_or_else(|| "the machine did not confirm the code".to_owned()));
                }
            }
        }
    }
    for outcome in all.iter_mut().filter(|o| open(o)) {
        outcome.why = Some("the machine has not answered yet; `seedd machine wait` waits for it".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_machine_a_line() {
        let all = lines("# rack a\n12-597-850 base n7 vda\n\n  13-000-001\tweb  n8   nvme0n1  \n").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].code.as_str(), all[1].name.as_str(), all[1].disk.as_str()), ("13-000-001", "n8", "nvme0n1"));
        for (bad, why) in
            [("12-597-850 base n7", "line 1 has 3 words"), ("\n1 2 3 4 5", "line 2 has 5 words"), ("# none", "0 lines")]
        {
            assert!(lines(bad).unwrap_err().to_string().contains(why), "{bad}");
        }
        assert!(lines(&"1 2 3 4\n".repeat(MAX_LINES)).is_ok() && lines(&"1 2 3 4\n".repeat(MAX_LINES + 1)).is_err());
    }
}
