//! Secret values: no `Serialize`, no `Clone`, and a `Debug` that prints nothing.

use std::fmt;

use age::secrecy::SecretString;
use zeroize::Zeroizing;

/// Work factor (log2 N) of the scrypt step of age's passphrase recipient; 2^18 takes about a second (C2SP age, scrypt).
pub const SCRYPT_LOG_N: u8 = 18;
/// A file with a higher work factor is refused: it would block the seed for minutes.
pub const SCRYPT_MAX_LOG_N: u8 = 22;

/// Bytes that are wiped from memory when dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes; the name makes every use easy to find.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("encrypting with age")]
    Encrypt(#[from] age::EncryptError),
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    #[error("encrypted for another key, or damaged")]
    Decrypt,
    #[error("not an age recipient (want age1…)")]
    Recipient,
    #[error("not an age identity")]
    Identity,
}

/// Encrypts under an operator's passphrase (age v1, scrypt recipient).
pub fn lock(passphrase: &str, plaintext: &[u8], log_n: u8) -> Result<Vec<u8>, SecretError> {
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    recipient.set_work_factor(log_n);
    Ok(age::encrypt(&recipient, plaintext)?)
}

/// Opens what [`lock`] wrote.
pub fn unlock(passphrase: &str, ciphertext: &[u8]) -> Result<Secret, SecretError> {
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
    identity.set_max_work_factor(SCRYPT_MAX_LOG_N);
    match age::decrypt(&identity, ciphertext) {
        Ok(bytes) => Ok(Secret::new(bytes)),
        Err(age::DecryptError::KeyDecryptionFailed | age::DecryptError::DecryptionFailed) => Err(SecretError::WrongPassphrase),
        Err(_) => Err(SecretError::Decrypt),
    }
}

/// Encrypts to an age X25519 recipient (`age1…`).
pub fn seal_to(recipient: &str, plaintext: &[u8]) -> Result<Vec<u8>, SecretError> {
    let recipient: age::x25519::Recipient = recipient.parse().map_err(|_| SecretError::Recipient)?;
    Ok(age::encrypt(&recipient, plaintext)?)
}

/// An age X25519 key pair; the machine makes one in RAM, the vault has one.
pub struct AgeKey(age::x25519::Identity);

impl AgeKey {
    /// A fresh key from the operating system's random source.
    pub fn generate() -> Self {
        AgeKey(age::x25519::Identity::generate())
    }

    /// Reads `AGE-SECRET-KEY-1…`.
    pub fn from_secret(secret: &Secret) -> Result<Self, SecretError> {
        let text = std::str::from_utf8(secret.expose()).map_err(|_| SecretError::Identity)?;
        Ok(AgeKey(text.trim().parse().map_err(|_| SecretError::Identity)?))
    }

    pub fn to_secret(&self) -> Secret {
        use age::secrecy::ExposeSecret as _;
        Secret::new(self.0.to_string().expose_secret().as_bytes().to_vec())
    }

    /// The public half, `age1…`.
    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    pub fn open(&self, ciphertext: &[u8]) -> Result<Secret, SecretError> {
        age::decrypt(&self.0, ciphertext).map(Secret::new).map_err(|_| SecretError::Decrypt)
    }
}

impl fmt::Debug for AgeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgeKey({})", self.recipient())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_passphrase_decrypts() {
        let locked = lock("right", b"key", 2).unwrap();
        assert_eq!(unlock("right", &locked).unwrap().expose(), b"key");
        assert!(matches!(unlock("wrong", &locked), Err(SecretError::WrongPassphrase)));
        let mut bad = locked.clone();
        *bad.last_mut().unwrap() ^= 1;
        assert!(unlock("right", &bad).is_err());
    }

    #[test]
    fn only_the_recipients_key_decrypts() {
        let (a, b) = (AgeKey::generate(), AgeKey::generate());
        let sealed = seal_to(&a.recipient(), b"identity").unwrap();
        assert_eq!(a.open(&sealed).unwrap().expose(), b"identity");
        assert!(b.open(&sealed).is_err());
        let again = AgeKey::from_secret(&a.to_secret()).unwrap();
        assert_eq!(again.open(&sealed).unwrap().expose(), b"identity");
    }

    #[test]
    fn debug_prints_no_secret() {
        assert_eq!(format!("{:?}", Secret::new(vec![1, 2, 3])), "Secret(..)");
        let key = AgeKey::generate();
        assert!(!format!("{key:?}").contains("SECRET"));
    }
}
