//! Where the exchange is. Text that is not encrypted leaves for this machine only.

use std::net::IpAddr;

use reqwest::Url;

/// Base addresses of one exchange, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    rest: String,
    streams: String,
    ws_api: String,
}

/// An address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("exchange address `{address}`: {problem}")]
pub struct EndpointError {
    /// The address as given, without user and password.
    pub address: String,
    /// What is wrong and what to write instead.
    pub problem: &'static str,
}

impl Endpoints {
    /// The exchange with real money.
    pub fn live() -> Endpoints {
        Endpoints::fixed(
            "https://api.binance.com",
            "wss://stream.binance.com:9443",
            "wss://ws-api.binance.com:443/ws-api/v3",
        )
    }

    /// The spot test network: its own order books, wiped about monthly.
    pub fn testnet() -> Endpoints {
        Endpoints::fixed(
            "https://testnet.binance.vision",
            "wss://stream.testnet.binance.vision",
            "wss://ws-api.testnet.binance.vision/ws-api/v3",
        )
    }

    /// The demo exchange: realistic prices, demo money.
    pub fn demo() -> Endpoints {
        Endpoints::fixed(
            "https://demo-api.binance.com",
            "wss://demo-stream.binance.com",
            "wss://demo-ws-api.binance.com/ws-api/v3",
        )
    }

    fn fixed(rest: &str, streams: &str, ws_api: &str) -> Endpoints {
        Endpoints { rest: rest.to_owned(), streams: streams.to_owned(), ws_api: ws_api.to_owned() }
    }

    /// Addresses of one's own: `https://` and `wss://`, or `http://` and `ws://` on loopback.
    ///
    /// # Errors
    /// An address that is none, that is not encrypted and not on loopback, or that carries a user, a password or a query.
    pub fn custom(rest: &str, streams: &str, ws_api: &str) -> Result<Endpoints, EndpointError> {
        Ok(Endpoints {
            rest: checked(rest, "https", "http")?,
            streams: checked(streams, "wss", "ws")?,
            ws_api: checked(ws_api, "wss", "ws")?,
        })
    }

    /// An exchange with everything on one host and port, as the exchange simulator has it: `http://127.0.0.1:9380`.
    ///
    /// # Errors
    /// Those of [`Endpoints::custom`].
    pub fn single(base: &str) -> Result<Endpoints, EndpointError> {
        let rest = checked(base, "https", "http")?;
        // `http` and `https` become `ws` and `wss`.
        let streams = rest.replacen("http", "ws", 1);
        Ok(Endpoints { ws_api: format!("{streams}/ws-api/v3"), streams, rest })
    }

    /// Whether this is the exchange with real money, under any of its names.
    pub fn is_live(&self) -> bool {
        let host = |address: &str| Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
        [&self.rest, &self.streams, &self.ws_api]
            .iter()
            .filter_map(|address| host(address))
            .any(|host| host.ends_with(".binance.com") && !host.starts_with("demo-"))
    }

    pub(crate) fn rest(&self) -> &str {
        &self.rest
    }

    pub(crate) fn streams(&self) -> &str {
        &self.streams
    }

    pub(crate) fn ws_api(&self) -> &str {
        &self.ws_api
    }
}

/// Whether a URL's host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn checked(address: &str, encrypted: &str, plain: &str) -> Result<String, EndpointError> {
    let shown = match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://{}", &address[..scheme], &address[at + 1..])
        }
        _ => address.to_owned(),
    };
    let fails = |problem| Err(EndpointError { address: shown.clone(), problem });
    let Ok(url) = Url::parse(address) else {
        return fails(
            "is not a URL; write for instance https://testnet.binance.vision or http://127.0.0.1:9380",
        );
    };
    if !url.username().is_empty() || url.password().is_some() {
        return fails("carries a user or a password; keys belong into the environment or the key file");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return fails("carries a query; write the address alone");
    }
    if url.scheme() == plain && !is_loopback(&url) {
        return fails("is not encrypted; write https:// or wss:// (plain text is for this machine alone)");
    }
    if url.scheme() != encrypted && url.scheme() != plain {
        return fails("has another scheme than https:// for REST and wss:// for streams");
    }
    Ok(address.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_for_this_machine_alone() {
        for base in
            ["http://127.0.0.1:9380", "http://[::1]:9380/", "http://localhost:1", "https://example.com"]
        {
            assert!(Endpoints::single(base).is_ok(), "{base}");
        }
        let refused = [
            "http://192.168.1.4:9380",
            "http://example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "ftp://127.0.0.1",
            "https://user:word@example.com",
            "https://example.com/?a=b",
            "nowhere",
        ];
        for base in refused {
            let error = Endpoints::single(base).unwrap_err();
            assert!(!error.to_string().contains("word@"), "{error}");
        }
        assert!(Endpoints::custom("https://a.example", "ws://a.example", "wss://a.example").is_err());
    }

    #[test]
    fn one_host_serves_all_three() {
        let endpoints = Endpoints::single("http://127.0.0.1:9380/").unwrap();
        assert_eq!(endpoints.rest(), "http://127.0.0.1:9380");
        assert_eq!(endpoints.streams(), "ws://127.0.0.1:9380");
        assert_eq!(endpoints.ws_api(), "ws://127.0.0.1:9380/ws-api/v3");
        assert!(Endpoints::single("https://a.example").unwrap().streams().starts_with("wss://"));
    }

    #[test]
    fn real_money_is_known_by_its_host() {
        assert!(Endpoints::live().is_live());
        assert!(Endpoints::single("https://api3.binance.com").unwrap().is_live());
        for other in
            [Endpoints::testnet(), Endpoints::demo(), Endpoints::single("http://127.0.0.1:1").unwrap()]
        {
            assert!(!other.is_live());
        }
    }
}
