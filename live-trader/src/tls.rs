//! The one implementation of TLS that all HTTP clients of the process use.

/// Chooses it; later calls change nothing.
pub(crate) fn install_provider() {
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        // An error means that somebody else in the process has chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
