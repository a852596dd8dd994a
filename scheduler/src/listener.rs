//! One port for people and for executors: TLS connections and plain ones are told apart by their first byte.
//!
//! Ballista's executors can only speak plain HTTP/2 to their scheduler, clients should speak TLS. A TLS connection begins
//! with byte 22 (a handshake record), an HTTP request never does. What a plain connection may call when there is a
//! certificate is decided per call ([`crate::server`]).

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 22;

/// How long a connection may take to say what it is.
const HELLO: Duration = Duration::from_secs(10);

/// Connections that have said hello and wait to be taken.
const WAITING: usize = 64;

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A file that is no certificate or key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    path: PathBuf,
    reason: String,
}

impl TlsFiles {
    /// Reads the files into an acceptor for HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// A file is missing, is not PEM, or key and certificate do not fit.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let error = |path: &Path, reason: String| TlsError { path: path.to_owned(), reason };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|reason| error(&self.certificate, format!("not a PEM certificate: {reason}")))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|reason| error(&self.key, format!("not a PEM private key: {reason}")))?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|reason| error(&self.certificate, format!("cannot be used: {reason}")))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A connection of either kind.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Where a connection comes from and whether it is encrypted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) is_tls: bool,
}

impl Connected<IncomingStream<'_, Doorman>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Doorman>) -> Peer {
        *stream.remote_addr()
    }
}

/// Takes connections off a socket. Hellos are awaited beside each other: a peer that stays silent holds up nobody.
pub(crate) struct Doorman {
    address: SocketAddr,
    ready: mpsc::Receiver<(Connection, Peer)>,
}

impl Doorman {
    /// Begins to take connections; with an acceptor TLS ones too.
    pub(crate) fn new(listener: TcpListener, acceptor: Option<TlsAcceptor>) -> io::Result<Doorman> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, address)) => {
                            let (sender, acceptor) = (sender.clone(), acceptor.clone());
                            tokio::spawn(async move {
                                let greeted = tokio::time::timeout(HELLO, greet(stream, address, acceptor)).await;
                                match greeted {
                                    Ok(Ok(connection)) => drop(sender.send(connection).await),
                                    Ok(Err(error)) => tracing::debug!(%address, %error, "connection refused"),
                                    Err(_) => tracing::debug!(%address, "connection said nothing"),
                                }
                            });
                        }
                        // Too many open files, or a peer that is gone already.
                        Err(error) => {
                            tracing::warn!(%error, "a connection could not be accepted");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    }
                }
            }
        });
        Ok(Doorman { address, ready })
    }
}

async fn greet(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<(Connection, Peer)> {
    stream.set_nodelay(true)?;
    let Some(acceptor) = acceptor else {
        return Ok((Connection::Plain(stream), Peer { address, is_tls: false }));
    };
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE {
        let stream = acceptor.accept(stream).await?;
        return Ok((Connection::Tls(Box::new(stream)), Peer { address, is_tls: true }));
    }
    Ok((Connection::Plain(stream), Peer { address, is_tls: false }))
}

impl axum::serve::Listener for Doorman {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task above ends only with this value.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.address, is_tls: false })
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Connection::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Connection::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_flush(context),
            Connection::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Connection::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
