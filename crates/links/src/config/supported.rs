//! Settings that this version cannot carry out, refused rather than ignored.

use super::{ConfigError, LinkConfig};

/// Refuses a link that asks for what this version cannot do: TLS and SASL towards the source.
pub fn check_supported(config: &LinkConfig) -> Result<(), ConfigError> {
    if config.client.tls.as_ref().is_some_and(|tls| tls.enabled) {
        let what = "TLS to the source; reach it over a plain listener, or through a tunnel, and set `enabled: false`";
        return Err(ConfigError::not_supported(
            "client_options.tls_settings",
            what,
        ));
    }
    if config.client.authentication.is_some() {
        let what = "SASL to the source; leave it out and use a listener that does not ask for it";
        return Err(ConfigError::not_supported(
            "client_options.authentication_configuration",
            what,
        ));
    }
    Ok(())
}
