//! Rebuilds the crate when a migration is added, which the compiler cannot see by itself.

#[expect(clippy::print_stdout, reason = "cargo reads a build script's instructions from its stdout")]
fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=web");
}
