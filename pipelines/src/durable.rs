//! Names on stable storage. The content of a file is synced with the file, its name with its
//! directory.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Puts a file's content, or the names in a directory, on stable storage.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a directory and what is missing above it, each under a name that stays.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|directory| !directory.exists()).collect();
    fs::create_dir_all(path)?;
    for directory in missing {
        match directory.parent() {
            Some(parent) if parent.as_os_str().is_empty() => sync(Path::new("."))?,
            Some(parent) => sync(parent)?,
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn directories_are_made_with_those_above_them_and_again_without_harm() {
        let root = TempDir::new().unwrap();
        let path = root.path().join("a/b");
        create_directory(&path).unwrap();
        create_directory(&path).unwrap();
        assert!(path.is_dir());
        fs::write(root.path().join("file"), "").unwrap();
        create_directory(&root.path().join("file/c")).unwrap_err();
    }
}
