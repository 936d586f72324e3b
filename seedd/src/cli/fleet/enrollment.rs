//! `seedd enrollment`

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use serde_json::Value;
use site::hint::Hint as _;

use super::super::enrollment;
use super::output::{Column, ListArgs, Shape, age, at, column, facts, wide};
use super::reach::SeedArgs;

#[derive(Subcommand)]
pub enum Enrollments {
    /// List the enrollments, newest first
    #[command(
        visible_alias = "ls",
        after_long_help = "\
Example:
  seedd enrollment list --selector state=failed --output wide"
    )]
    List(List),
    /// Show one enrollment
    Show(Show),
    #[command(flatten)]
    Window(enrollment::Enrollment),
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
    /// Id of the enrollment, or its beginning
    id: String,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    seed: SeedArgs,
}

/// Digits of an id in tables: enough to tell enrollments apart.
const SHORT: usize = 12;

const COLUMNS: &[Column] = &[
    column("ID", |r| at(r, "/id").chars().take(SHORT).collect()),
    column("MACHINE", |r| at(r, "/machine")),
    column("MAC", |r| at(r, "/mac")),
    column("STATE", |r| at(r, "/state")),
    column("NAME", |r| at(r, "/hostname")),
    column("ROLE", |r| at(r, "/role")),
    column("SINCE", |r| age(r, "/since")),
    wide("CREATED", |r| age(r, "/created")),
    wide("TOKEN", |r| at(r, "/token")),
    wide("WRONG-CODES", |r| at(r, "/wrongCodes")),
    column("REASON", |r| at(r, "/reason")),
];

impl Enrollments {
    pub fn run(&self) -> Result<()> {
        match self {
            Enrollments::List(v) => {
                let remote = v.seed.connect()?;
                v.list.list("enrollments", COLUMNS, &|| remote.list("/api/v1/enrollments", "enrollments"))
            }
            Enrollments::Show(v) => v.run(),
            Enrollments::Window(v) => v.run(),
        }
    }
}

impl Show {
    fn run(&self) -> Result<()> {
        let all = self.seed.connect()?.list("/api/v1/enrollments", "enrollments")?;
        let shown = find(all, &self.id)?;
        let pairs: Vec<(&str, String)> = [
            ("id", "/id"),
            ("machine", "/machine"),
            ("mac", "/mac"),
            ("state", "/state"),
            ("reason", "/reason"),
            ("name", "/hostname"),
            ("role", "/role"),
            ("token", "/token"),
            ("wrong codes", "/wrongCodes"),
        ]
        .map(|(name, pointer)| (name, at(&shown, pointer)))
        .into();
        self.shape.show(&shown, &facts(&pairs))
    }
}

fn find(all: Vec<Value>, typed: &str) -> Result<Value> {
    let fits = |r: &Value| !typed.is_empty() && at(r, "/id").starts_with(&typed.to_ascii_lowercase());
    let mut found: Vec<Value> = all.into_iter().filter(fits).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(anyhow!("{typed} is the beginning of more than one enrollment")).hint("give more digits"),
        (None, _) => Err(anyhow!("there is no enrollment {typed}")).hint("`seedd enrollment list` lists them"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_enrollment_is_found_by_the_beginning_of_its_id() {
        let all = || vec![json!({"id": "aa01"}), json!({"id": "aa02"})];
        assert_eq!(find(all(), "AA02").unwrap()["id"], "aa02");
        for bad in ["aa", "", "b"] {
            assert!(find(all(), bad).is_err(), "{bad}");
        }
    }
}
