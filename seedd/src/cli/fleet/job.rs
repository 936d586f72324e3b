//! `seedd job`: what takes long on the seed, and was started in the web interface or by the API. One runs at a time, and the last
//! twenty are remembered.

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{Column, ListArgs, Shape, age, at, column, facts, wide};
use super::reach::SeedArgs;
use crate::remote::{Refused, Remote};

#[derive(Subcommand)]
pub enum Job {
    /// List the running job and those before it, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Show a job with its result
    Show(Show),
    /// Stop the running job; it leaves nothing half-written
    Stop(Stop),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Show {
    /// Number of the job [default: the running or last one]
    id: Option<u64>,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

#[derive(Args)]
pub struct Stop {
    /// Number of the job [default: the running one]
    id: Option<u64>,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

const COLUMNS: &[Column] = &[
    column("ID", |r| at(r, "/id")),
    column("KIND", |r| at(r, "/kind")),
    column("STATE", |r| at(r, "/state")),
    column("STEP", |r| at(r, "/step")),
    column("DONE", done),
    column("STARTED", |r| age(r, "/began")),
    column("BY", |r| at(r, "/actor")),
    wide("RESULT", |r| at(r, "/text")),
];

/// Percent, or the number alone while the total is not known.
fn done(job: &Value) -> String {
    match (job["done"].as_u64(), job["total"].as_u64()) {
        (Some(done), Some(total)) if total > 0 => format!("{}%", done.saturating_mul(100) / total),
        (Some(done), None) if done > 0 => done.to_string(),
        _ => String::new(),
    }
}

/// Newest first: each job with what `/api/v1/jobs` says beside it (`ended`, `left`, `lines`).
fn jobs(remote: &Remote) -> Result<Vec<Value>> {
    match remote.list("/api/v1/jobs", "jobs") {
        Ok(all) => Ok(all.into_iter().map(whole).collect()),
        // A seed of 0.1 has no list of jobs; it remembers one.
        Err(error) if error.downcast_ref::<Refused>().is_some_and(|r| r.status == 404) => {
            let site = remote.get("/api/v1/site")?;
            Ok(Some(site["job"].clone()).filter(|job| !job.is_null()).into_iter().collect())
        }
        Err(error) => Err(error),
    }
}

/// The job and its history as one object.
fn whole(detail: Value) -> Value {
    match detail {
        Value::Object(mut detail) => match detail.remove("job") {
            Some(Value::Object(mut job)) => {
                job.extend(detail);
                Value::Object(job)
            }
            _ => Value::Object(detail),
        },
        other => other,
    }
}

/// The job with this number, or the newest one.
fn job(remote: &Remote, id: Option<u64>) -> Result<Value> {
    let found = jobs(remote)?.into_iter().find(|job| id.is_none() || job["id"].as_u64() == id);
    found.ok_or_else(|| id.map_or_else(|| anyhow!("no job was started since the seed did"), |id| anyhow!("there is no job {id}")))
}

impl Job {
    pub fn run(&self) -> Result<()> {
        match self {
            Job::List(v) => {
                let remote = v.seed.connect()?;
                v.list.list("jobs", COLUMNS, &|| jobs(&remote))
            }
            Job::Show(v) => v.run(),
            Job::Stop(v) => v.run(),
        }
    }
}

impl Show {
    fn run(&self) -> Result<()> {
        let shown = job(&self.seed.connect()?, self.id)?;
        let keys = ["id", "kind", "state", "step", "text", "hint", "actor"];
        let mut pairs: Vec<(&str, String)> = keys.iter().map(|key| (*key, at(&shown, &format!("/{key}")))).collect();
        pairs.push(("done", done(&shown)));
        pairs.push(("started", age(&shown, "/began")));
        self.shape.show(&shown, &facts(&pairs))
    }
}

impl Stop {
    fn run(&self) -> Result<()> {
        let remote = self.seed.connect()?;
        let path = match self.id {
            // The job that is meant, whatever runs by then.
            Some(id) => format!("/api/v1/jobs/{id}/stop"),
            None => "/api/v1/site/stop".to_owned(),
        };
        let stopped = remote.post(&path, &json!({}))?;
        self.shape.show(&stopped, &format!("job {} was asked to stop", at(&stopped, "/id")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_shown_with_its_history() {
        let detail = json!({"job": {"id": 3, "kind": "export", "done": 1}, "ended": null, "left": 7, "lines": []});
        assert_eq!(whole(detail), json!({"id": 3, "kind": "export", "done": 1, "ended": null, "left": 7, "lines": []}));
    }

    #[test]
    fn progress_is_in_percent_where_the_total_is_known() {
        for (job, text) in [
            (json!({"done": 1, "total": 3}), "33%"),
            (json!({"done": 5, "total": null}), "5"),
            (json!({"done": 0, "total": null}), ""),
            (json!({"done": 1, "total": 0}), ""),
        ] {
            assert_eq!(done(&job), text);
        }
    }
}
