//! An image for one named node: the one-use join token inside it. The node's private keys are not: they are made on the machine,
//! as on every other (docs/adr/0027).

use anyhow::{Result, anyhow};
use clap::Args;
use cluster_seed::cluster::ClusterSpec;
use cluster_seed::foundry::Target;
use cluster_seed::ids::Hostname;
use cluster_seed::join::token::JoinToken;
use cluster_seed::people::Approvals;
use host::clock::now;
use image::foundry::Output;
use serde_json::{Value, json};
use site::Site;
use site::hint::Hint as _;
use site::store::Store;
use site::tokens::{DiskRule, Grant, Token};

use super::what::What;
use crate::app::join_tokens;
use crate::cli::args::SiteArgs;
use crate::cli::running;
use crate::cli::token::seconds;

/// The actor in the event log.
const ACTOR: &str = "command line";

// Settings of an image for one node.
#[derive(Args, Clone)]
pub struct ForNode {
    /// Build an image for this node only: the first machine that starts from it becomes the node, without a code
    #[arg(long, value_name = "NAME", conflicts_with = "token")]
    node: Option<Hostname>,
    /// With --node: how long the image can enroll a machine, a number with m, h or d
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = seconds, requires = "node")]
    expires: u64,
}

/// The node of an image.
pub struct Named {
    pub name: Hostname,
    pub secret: JoinToken,
    token: Token,
}

impl ForNode {
    /// Whether the target can be for one node.
    pub fn check(&self, what: What) -> Result<()> {
        let fits = match what {
            // Packer boots the image, and a netboot bundle is for every machine that asks.
            What::Output(target) => !matches!(target, Target::PackerScaffold | Target::PxeBundle),
            What::Images | What::SeedIso | What::EnrollIso | What::Cloud(_) => false,
        };
        if self.node.is_some() && !fits {
            return Err(anyhow!("this target cannot be built for one node")).hint("--node is for disk images and node-iso");
        }
        Ok(())
    }

    /// The roles to build: those asked for, or that of the node.
    pub fn roles(&self, spec: &ClusterSpec, asked: &[String]) -> Result<Vec<String>> {
        let Some(name) = &self.node else { return Ok(asked.to_vec()) };
        if name.as_str().contains('.') || name.as_str() == "seed" {
            return Err(anyhow!("{name} cannot be the name of a node")).hint("write one label; seed is the seed itself");
        }
        let planned = spec.spec.nodes.iter().find(|n| n.name.value == *name).map(|n| &n.role.value);
        let role = match (planned, asked) {
            (Some(planned), []) => planned,
            (None, [role]) => role,
            (Some(planned), [role]) if planned == role => role,
            (Some(planned), [role]) => {
                return Err(anyhow!("node {name} has the role {planned} in cluster.yaml, not {role}"))
                    .hint("leave --role out, or change spec.nodes");
            }
            (None, []) => {
                return Err(anyhow!("there is no node {name} in cluster.yaml"))
                    .hint("add it to spec.nodes, or give its role with --role");
            }
            (_, several) => return Err(anyhow!("a node has one role, but {} were given", several.len())).hint("give one --role"),
        };
        Ok(vec![role.clone()])
    }

    /// Draws the token of the node. It is valid once it is kept.
    pub fn draw(&self, roles: &[String], vault: &str) -> Result<Option<Named>> {
        let (Some(name), [role]) = (&self.node, roles) else { return Ok(None) };
        let (pattern, now) = (name.as_str().parse()?, now());
        let grant = Grant { role: role.clone(), name: pattern, uses: 1, expires: now + self.expires, disk: DiskRule::Only };
        let (token, secret) = Token::draw(grant, ACTOR, now, vault)?;
        Ok(Some(Named { name: name.clone(), secret, token }))
    }
}

impl Named {
    /// Makes the token valid, once its image is complete; those of earlier images of the node end.
    pub fn keep(&mut self, args: &SiteArgs, store: &Store, output: &Output) -> Result<()> {
        let id = self.secret.id;
        self.token.image = Some(output.manifest.spec.name());
        let kept = match running::control(&args.dir) {
            Some(daemon) => daemon.add_image_token(id, self.token.clone()).map(drop),
            None => store.write(|tx| join_tokens::add_of_image(tx, ACTOR, id, &self.token)).map_err(anyhow::Error::from),
        };
        if kept.is_err() {
            // The token in it will never be valid.
            let _ = std::fs::remove_dir_all(&output.dir);
        }
        kept
    }

    /// Warns if the node exists: until it is revoked, no machine can become it; and if a second user has to agree.
    pub fn warn(&self, site: &Site, store: &Store) -> Result<()> {
        let spec = site.spec()?;
        if spec.approvals_of(&self.token.grant.role) == Approvals::Two {
            let id = self.secret.id;
            tracing::warn!("join token {id} counts once a second user has agreed to it in the web interface, page Join tokens");
        }
        let full: Hostname = format!("{}.{}", self.name, spec.spec.networking.domain).parse()?;
        if store.read(|tx| tx.live_node(&full))?.is_some() {
            tracing::warn!("{full} is a node already: a machine with this image is refused until that node is revoked");
        }
        Ok(())
    }

    pub fn value(&self) -> Value {
        json!({"name": self.name, "role": self.token.grant.role, "token": self.secret.id, "expires": self.token.grant.expires})
    }

    pub fn text(&self) -> String {
        join_tokens::created_for_node(self.secret.id, &self.token.grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ClusterSpec {
        let text = site::default_cluster_yaml("north");
        let text = text.replacen(
            "  roles:\n",
            "  nodes:\n    - {name: edge, role: base}\n  roles:\n    other: {description: another}\n",
            1,
        );
        ClusterSpec::parse(&text).unwrap()
    }

    fn of(name: &str) -> ForNode {
        ForNode { node: Some(name.parse().unwrap()), expires: 60 }
    }

    fn roles(name: &str, asked: &[&str]) -> Result<Vec<String>> {
        of(name).roles(&spec(), &asked.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_role_of_a_node_is_the_planned_one_or_the_given_one() {
        assert_eq!(roles("edge", &[]).unwrap(), ["base"]);
        assert_eq!(roles("edge", &["base"]).unwrap(), ["base"]);
        assert_eq!(roles("core", &["other"]).unwrap(), ["other"]);
        for (name, asked) in
            [("core", &[][..]), ("edge", &["other"]), ("core", &["base", "other"]), ("a.b", &["base"]), ("seed", &["base"])]
        {
            assert!(roles(name, asked).is_err(), "{name} {asked:?}");
        }
    }

    #[test]
    fn only_what_one_machine_starts_from_can_be_for_one_node() {
        let none = ForNode { node: None, expires: 60 };
        for what in
            [What::Images, What::SeedIso, What::EnrollIso, What::Output(Target::PxeBundle), What::Output(Target::PackerScaffold)]
        {
            assert!(none.check(what).is_ok() && of("edge").check(what).is_err());
        }
        for target in [Target::Raw, Target::Qcow2, Target::Vmdk, Target::FirecrackerBundle, Target::NodeIso] {
            assert!(of("edge").check(What::Output(target)).is_ok(), "{target}");
        }
    }

    #[test]
    fn the_token_of_a_node_has_one_use_and_its_name() {
        let vault = cluster_seed::secret::AgeKey::generate().recipient();
        let named = of("edge").draw(&["base".to_owned()], &vault).unwrap().unwrap();
        let Grant { role, name, uses, disk, .. } = &named.token.grant;
        assert_eq!((role.as_str(), name.to_string().as_str(), *uses, *disk), ("base", "edge", 1, DiskRule::Only));
        assert!(
            !named.text().contains(&named.secret.to_text()[13..])
                && !named.value().to_string().contains(&named.secret.to_text()[13..])
        );
        assert!(ForNode { node: None, expires: 60 }.draw(&[], &vault).unwrap().is_none());
    }
}
