//! Hands on where `rdkafka-sys` has built librdkafka: the tool `rdkafka_performance` is made from
//! that same tree, so that the client inside the bench and the tool beside it are one version.

fn main() {
    let tree =
        std::env::var("DEP_RDKAFKA_ROOT").expect("rdkafka-sys says where it built librdkafka");
    println!("cargo::rustc-env=LIBRDKAFKA_TREE={tree}");
    println!("cargo::rerun-if-changed=build.rs");
}
