//! Verbs that ask a running seed by its JSON API: on this machine, or by a context. In reading order:

// Which seed, and how answers are printed.
mod complete;
pub(super) mod output;
pub(super) mod reach;
pub(super) mod rows;
mod select;

// Seeds.
mod context;
mod login;

// What they have.
mod approve;
mod countersign;
mod enrollment;
mod event;
mod inventory;
mod job;
mod machine;
pub(super) mod node;
mod plane;
mod ssh;
mod webhook;

pub(super) use complete::answer as answer_shell;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Fleet {
    /// List, show, approve and deny machines
    #[command(subcommand)]
    Machine(machine::Machine),
    /// List, show, revoke, replace and log in to nodes; replace their keys
    #[command(subcommand)]
    Node(node::Node),
    /// List enrollments, open and close the join window, allow and set aside machines
    #[command(subcommand)]
    Enrollment(enrollment::Enrollments),
    /// Sign new nodes with a key that is kept off the seed
    #[command(subcommand)]
    Countersign(countersign::Countersign),
    /// List and show the WireGuard planes, and replace the keys of their nodes
    #[command(subcommand)]
    Plane(plane::Plane),
    /// Show and stop the seed's long jobs
    #[command(subcommand)]
    Job(job::Job),
    /// List and follow the event log
    #[command(subcommand)]
    Event(event::Event),
    /// List and test webhooks: receivers of events outside
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    /// Manage the seeds that this machine knows
    #[command(subcommand)]
    Context(context::Context),
    /// Log in to the seed of a context
    ///
    /// Asks for the password and stores the token of the session in contexts.yaml, which only its owner may read. A session
    /// ends after 12 hours, or after an hour without use.
    #[command(after_long_help = "\
Examples:
  seedd login --user ada
  seedd login --context site-a --user ada --password-file /run/secrets/ada")]
    Login(login::Login),
    /// End the session with the seed of a context
    Logout(login::Logout),
    /// Print the nodes as an inventory for Ansible
    ///
    /// Groups are kubedos, role_ROLE, state_STATE and domain_FAILUREDOMAIN. Ansible calls its inventory with --list only, so it
    /// is given a script with one line: exec seedd inventory \"$@\"
    #[command(after_long_help = "\
Examples:
  seedd inventory --list
  seedd inventory --host n1.lab.lan
  ansible -i ./kubedos-inventory role_core -m ping")]
    Inventory(inventory::Inventory),
    /// Write the configuration and the known hosts with which ssh reaches the nodes
    ///
    /// The nodes' host keys are certified by the site. One line in known_hosts accepts all of them, also after a node was
    /// installed again.
    #[command(after_long_help = "\
Examples:
  seedd ssh-config
  seedd ssh-config --jump root@seed --out ~/.ssh/kubedos")]
    SshConfig(ssh::SshConfig),
    /// Print a known_hosts line for the nodes of the site
    #[command(after_long_help = "\
Example:
  seedd known-hosts >> ~/.ssh/known_hosts")]
    KnownHosts(ssh::KnownHosts),
    /// Print the script with which a shell completes commands and names
    #[command(after_long_help = "\
Examples:
  source <(seedd completion bash)
  seedd completion zsh > ~/.zfunc/_seedd
  seedd completion fish > ~/.config/fish/completions/seedd.fish")]
    Completion(complete::Completion),
}

impl Fleet {
    pub fn run(&self) -> Result<()> {
        match self {
            Fleet::Machine(v) => v.run(),
            Fleet::Node(v) => v.run(),
            Fleet::Enrollment(v) => v.run(),
            Fleet::Countersign(v) => v.run(),
            Fleet::Plane(v) => v.run(),
            Fleet::Job(v) => v.run(),
            Fleet::Event(v) => v.run(),
            Fleet::Webhook(v) => v.run(),
            Fleet::Context(v) => v.run(),
            Fleet::Login(v) => v.run(),
            Fleet::Logout(v) => v.run(),
            Fleet::Inventory(v) => v.run(),
            Fleet::SshConfig(v) => v.run(),
            Fleet::KnownHosts(v) => v.run(),
            Fleet::Completion(v) => v.run(),
        }
    }
}
