//! Hostile and faulty behaviours of the mock seed.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    None,
    Deny,
    /// It refuses the join token by name.
    RefusesToken,
    /// It refuses the machine once it has seen its key: an operator denied it.
    DeniesReveal,
    /// A rogue seed: it approves at once, without any code.
    ApprovesAtOnce,
    /// It answers the pairing with a code that it made up.
    Guesses,
    /// It reflects the machine's own message.
    Reflects,
    /// The right code, but the disk to be erased is changed on the wire.
    OfferChanged,
    /// The right code and confirmation, but the identity orders another disk than the confirmed one.
    OtherOrder,
    OtherName,
    OtherRole,
    /// The answer to the first confirmation is lost.
    LoseConfirm,
    /// Sealed when the first confirmation arrives.
    Sealed,
    /// The identity is signed by another key than the one in the hello.
    OtherSigner,
    /// The identity contains another site key.
    OtherSiteKeyInside,
    /// The identity belongs to another enrollment.
    OtherEnrollment,
    OtherEnrollmentInside,
    /// The identity is sealed to another machine.
    OtherMachine,
    /// The state is Issued although this machine has not claimed.
    Stolen,
    /// The answer to the first claim is lost.
    LoseClaim,
    /// Every third request is answered 503 or not at all.
    Restarting,
    ManifestByOther,
    ManifestUnsigned,
    ManifestBitFlip,
    ManifestOfOther,
    ManifestOfOtherArch,
    ManifestContradicts,
    StateInHead,
    /// The n-th chunk is wrong the given number of times.
    Chunk(usize, u32),
    ChunkTooLong(usize),
    ChunkMissing(usize),
    RefuseBegin,
}
