//! WebSocket connections: encrypted to the world, plain to this machine.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::ConnectorError;

/// A stream of bytes, encrypted or not.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

/// An open WebSocket.
pub(crate) type Socket = WebSocketStream<Box<dyn Bytes>>;

/// Longest message that is taken.
const LONGEST_MESSAGE: usize = 64 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens connections; holds what encryption needs.
#[derive(Clone)]
pub(crate) struct Dialer {
    /// Absent where everything is on loopback and not encrypted.
    tls: Option<Arc<ClientConfig>>,
}

impl Dialer {
    /// A dialer for these addresses.
    ///
    /// # Errors
    /// An address asks for encryption and this machine has no certificates to check it with.
    pub(crate) fn new(addresses: &[&str]) -> Result<Dialer, ConnectorError> {
        if !addresses.iter().any(|address| address.starts_with("wss:")) {
            return Ok(Dialer { tls: None });
        }
        let failed = |error: rustls::Error| ConnectorError::Setup {
            what: "encryption for WebSockets",
            problem: error.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_platform_verifier()
            .map_err(failed)?
            .with_no_client_auth();
        Ok(Dialer { tls: Some(Arc::new(config)) })
    }

    /// Connects to a `ws://` or `wss://` address.
    ///
    /// # Errors
    /// Why there is no connection, in words.
    pub(crate) async fn open(&self, address: &str) -> Result<Socket, String> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.connect(address)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())),
        }
    }

    async fn connect(&self, address: &str) -> Result<Socket, String> {
        let url = Url::parse(address).map_err(|error| error.to_string())?;
        let host = url.host_str().ok_or("the address has no host")?.to_owned();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().ok_or("the address has no port")?;
        let tcp = TcpStream::connect((bare.as_str(), port)).await.map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let stream: Box<dyn Bytes> = match url.scheme() {
            "wss" => {
                let name = ServerName::try_from(bare).map_err(|error| error.to_string())?;
                let tls = self.tls.as_ref().ok_or("the address asks for encryption, which is not set up")?;
                let connector = TlsConnector::from(Arc::clone(tls));
                Box::new(connector.connect(name, tcp).await.map_err(|error| error.to_string())?)
            }
            _ => Box::new(tcp),
        };
        let request = address.into_client_request().map_err(|error| error.to_string())?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(LONGEST_MESSAGE))
            .max_frame_size(Some(LONGEST_MESSAGE));
        let (socket, _) = client_async_with_config(request, stream, Some(config))
            .await
            .map_err(|error| format!("the WebSocket was not opened: {error}"))?;
        Ok(socket)
    }
}
