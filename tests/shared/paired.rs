//! The machine's side of a pairing for test agents; on a real machine `payload::ram` does this.

use cluster_seed::agent::{HelloReply, Offer, Reveal};
use cluster_seed::ids::{Digest, EnrollmentId};
use cluster_seed::machine::HardwareFacts;
use cluster_seed::pairing::{Number, PairingSecret};
use cluster_seed::pake::{Confirmation, Decision, MachineSide, Parties};
use cluster_seed::seal::{Sealed, SigningKey, VerifyingKey, key_from_text, key_text};

pub struct Paired {
    enrollment: EnrollmentId,
    number: Number,
    site_key: VerifyingKey,
    node_key: VerifyingKey,
    recipient: String,
    facts: Digest,
    side: MachineSide,
}

impl Paired {
    /// The machine's message, its code, and its state; `None` if the random bytes are unusable.
    pub fn start(
        reply: &HelloReply,
        key: &SigningKey,
        recipient: &str,
        facts: &HardwareFacts,
        random: [u8; 32],
    ) -> Option<(Self, Reveal, String)> {
        Paired::start_with(reply, key, recipient, facts, random, &PairingSecret::from_random(&random)?)
    }

    /// The same with the secret of a join token.
    pub fn start_with(
        reply: &HelloReply,
        key: &SigningKey,
        recipient: &str,
        facts: &HardwareFacts,
        random: [u8; 32],
        secret: &PairingSecret,
    ) -> Option<(Self, Reveal, String)> {
        let (site_key, node_key) = (key_from_text(&reply.site_key).ok()?, key.verifying_key());
        let twice: [u8; 64] = std::array::from_fn(|i| random[i % 32]);
        let side = MachineSide::start(secret, &site_key, &node_key, &twice).ok()?;
        let facts = Sealed::sign(facts, key).ok()?;
        let (digest, pake, recipient) = (facts.digest(), side.message(), recipient.to_owned());
        let reveal = Reveal { recipient: recipient.clone(), node_key: key_text(&node_key), facts, pake };
        let (enrollment, number) = (reply.enrollment, reply.number);
        Some((Paired { enrollment, number, site_key, node_key, recipient, facts: digest, side }, reveal, secret.shown(number)))
    }

    /// The machine's confirmation, if the seed's is right.
    pub fn check(self, offer: &Offer) -> Option<Confirmation> {
        let parties = Parties {
            enrollment: self.enrollment,
            number: self.number,
            site_key: &self.site_key,
            node_key: &self.node_key,
            recipient: &self.recipient,
            facts: self.facts,
        };
        let decision = Decision { order: &offer.order, hostname: &offer.hostname, role: &offer.role };
        let both = self.side.finish(&parties, &decision, &offer.pake).ok()?;
        both.of_seed.matches(&offer.confirmation).then_some(both.of_machine)
    }
}
