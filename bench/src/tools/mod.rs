//! Load tools that nobody here wrote: how each is built, called and read.

pub mod java;
pub mod rdkafka;
