//! The protocol crate against the message crate's own codec, and against damage.

mod batches;
mod checks;
mod codecs;
mod fetch;
mod headers;
mod hostile;
mod internal;
mod layouts;
mod produce;
mod producer_shapes;
mod requests;
mod rng;
