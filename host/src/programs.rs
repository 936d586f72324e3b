//! Which programs are installed.

use camino::{Utf8Path, Utf8PathBuf};

/// The first file with this name in `PATH`.
#[allow(clippy::disallowed_methods, reason = "PATH is the search path for programs, as for child processes")]
pub fn find_program(name: &str) -> Option<Utf8PathBuf> {
    find_in(&std::env::var("PATH").unwrap_or_default(), name)
}

fn find_in(path: &str, name: &str) -> Option<Utf8PathBuf> {
    path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Utf8Path::new(dir).join(name)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_in_path_wins_and_the_current_one_is_not_searched() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        for folder in ["a", "b"] {
            std::fs::create_dir(dir.join(folder)).unwrap();
            std::fs::write(dir.join(folder).join("tool"), "").unwrap();
        }
        let path = format!("{dir}/none:{dir}/b:{dir}/a");
        assert_eq!(find_in(&path, "tool"), Some(dir.join("b/tool")));
        assert_eq!(find_in(&path, "other"), None);
        assert_eq!(find_in("", "Cargo.toml"), None);
    }
}
