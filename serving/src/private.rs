//! Directories that nobody else on the machine may look into: an installation holds messages,
//! likenesses and keys.

use std::fs::DirBuilder;
use std::io;
use std::path::Path;

/// Creates a directory and those above it; one that is there keeps its permissions.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
