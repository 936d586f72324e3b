//! The ways in which the small seed is hostile, or fails.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    None,
    Deny,
    /// Another program in the seed's place: it approves at once, without any code.
    ApprovesAtOnce,
    /// It answers the pairing with a code that it made up.
    Guesses,
    /// It sends the machine's own message back.
    Reflects,
    /// The right code, but somebody on the wire changes the disk that is to be wiped.
    OfferChanged,
    /// The right code and confirmation; then the identity orders another disk than was confirmed.
    OtherOrder,
    OtherName,
    OtherRole,
    /// The answer to the first confirmation is lost on the way.
    LoseConfirm,
    /// Sealed when the first confirmation arrives.
    Sealed,
    /// The identity is signed by another key than the one in the hello.
    OtherSigner,
    /// The identity inside names another site key.
    OtherSiteKeyInside,
    /// The identity belongs to another enrollment.
    OtherEnrollment,
    OtherEnrollmentInside,
    /// The identity is sealed to another machine.
    OtherMachine,
    /// The state is Issued although this machine claimed nothing.
    Stolen,
    /// The answer to the first claim is lost on the way.
    LoseClaim,
    /// Every third request is answered 503 or not at all.
    Restarting,
    ManifestByOther,
    ManifestUnsigned,
    ManifestBitFlip,
    ManifestOfOther,
    ManifestContradicts,
    StateInHead,
    /// The n-th chunk is wrong the first so many times.
    Chunk(usize, u32),
    ChunkTooLong(usize),
    ChunkMissing(usize),
    RefuseBegin,
}
