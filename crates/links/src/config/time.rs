//! (shape)
/// `30s` as milliseconds.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let _ = text;
    unimplemented!()
}
/// Milliseconds as `30s`.
pub fn format_duration(ms: u64) -> String {
    let _ = ms;
    unimplemented!()
}
/// RFC 3339 as milliseconds since 1970.
pub fn parse_timestamp(text: &str) -> Result<i64, String> {
    let _ = text;
    unimplemented!()
}
/// Milliseconds since 1970 as RFC 3339.
pub fn format_timestamp(ms: i64) -> String {
    let _ = ms;
    unimplemented!()
}
