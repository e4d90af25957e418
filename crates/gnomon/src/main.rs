//! The `gnomon` command.

fn main() {}
