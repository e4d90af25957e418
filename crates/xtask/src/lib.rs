//! What a developer runs beside `cargo test`; its tests hold the rules that no compiler checks: who may import whom, and how files open.
