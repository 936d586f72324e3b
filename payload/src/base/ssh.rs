//! SSH access. There are no passwords.

use cluster_seed::identity::IdentityInfo;
use host::files::PRIVATE;

use super::command::Command;
use super::context::{Base, BaseError, Change};
use crate::assets::SSH_SERVER;

pub(super) fn configure_server(base: &mut Base<'_>) -> Result<Change, BaseError> {
    let change = base.asset(&SSH_SERVER)?;
    base.stale.ssh |= change == Change::Made;
    if base.stale.ssh {
        (base.run)(&Command::ReloadSsh)?;
        base.stale.ssh = false;
    }
    Ok(change)
}

pub(super) fn write_keys(base: &Base<'_>) -> Result<Change, BaseError> {
    let text = authorized_keys(base.info)?;
    let folder = base.folder("/root/.ssh", 0o700)?;
    let file = base.file("/root/.ssh/authorized_keys", text.as_bytes(), PRIVATE)?;
    Ok(Change::made_if([folder, file].contains(&Change::Made)))
}

/// authorized_keys (sshd(8)): one key per line.
///
/// # Errors
/// If a key contains a control character, which could add a line, or has no type and value.
pub fn authorized_keys(info: &IdentityInfo) -> Result<String, BaseError> {
    let mut text = String::new();
    for key in &info.authorized_keys {
        let refused = |why| BaseError::refused("the SSH key", key, why);
        if key.chars().any(char::is_control) {
            return Err(refused("it has a control character"));
        }
        if key.split(' ').filter(|word| !word.is_empty()).count() < 2 {
            return Err(refused("a key has a type and a value"));
        }
        text.push_str(key);
        text.push('\n');
    }
    Ok(text)
}
