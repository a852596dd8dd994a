//! A cluster as this program talks to it: one connection, the token on every call, and errors that say what to do.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::ipc::reader::StreamDecoder;
use polybolos_plan::catalogue::Manifest;
use polybolos_proto::cluster::sweeps_client::SweepsClient;
use polybolos_proto::cluster::{
    CancelRequest, GetRequest, ListRequest, MeansRequest, QueryReply, QueryRequest, SubmitReply,
    SubmitRequest, SweepStatus, TopRequest, WatchRequest,
};
use tokio::runtime::Runtime;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::args::ClusterArgs;
use crate::commands::async_runtime;
use crate::error::CliError;

/// Where the token is read from.
pub(crate) const TOKEN_VARIABLE: &str = "POLYBOLOS_TOKEN";

const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// A connection that died without a word is noticed by these.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(10);

/// A status with every failure named stays below this.
const MESSAGE_BYTES: usize = 16 << 20;

/// Puts the token on every call.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A call that failed.
#[derive(Debug)]
pub(crate) enum RemoteError {
    /// The scheduler cannot be reached (any more); trying again may help.
    Lost(String),
    /// The scheduler said no.
    Refused(String),
}

impl From<RemoteError> for CliError {
    fn from(error: RemoteError) -> Self {
        let (RemoteError::Lost(text) | RemoteError::Refused(text)) = error;
        CliError::Failed(text)
    }
}

/// A connection to a scheduler.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// The connection lives on it.
    runtime: Arc<Runtime>,
    url: String,
    client: SweepsClient<InterceptedService<Channel, Bearer>>,
}

impl Cluster {
    /// A cluster by its arguments; `None` if none was named. Nothing is sent yet.
    pub(crate) fn of(args: &ClusterArgs) -> Result<Option<Cluster>, CliError> {
        args.cluster.as_deref().map(|url| Cluster::new(url, args.cluster_ca.as_deref())).transpose()
    }

    /// [`Cluster::of`] where one must be named.
    pub(crate) fn required(args: &ClusterArgs) -> Result<Cluster, CliError> {
        Cluster::of(args)?.ok_or_else(|| {
            CliError::Usage("name the cluster: --cluster http://HOST:50050, or POLYBOLOS_CLUSTER".to_owned())
        })
    }

    fn new(url: &str, ca: Option<&Path>) -> Result<Cluster, CliError> {
        let wrong = |reason: &dyn std::fmt::Display| {
            CliError::Usage(format!(
                "--cluster {url}: {reason}; write http://HOST:50050 or https://HOST:50050"
            ))
        };
        let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| wrong(&error))?;
        let is_tls = match endpoint.uri().scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong(&"not an http or https URL")),
        };
        endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        if is_tls {
            let mut tls = ClientTlsConfig::new().with_enabled_roots();
            if let Some(path) = ca {
                let pem = std::fs::read(path)
                    .map_err(|error| CliError::Failed(format!("--cluster-ca {}: {error}", path.display())))?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| wrong(&error))?;
        }
        let runtime = Arc::new(async_runtime()?);
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        let client = SweepsClient::with_interceptor(channel, Bearer(token(is_tls, url)?))
            .max_decoding_message_size(MESSAGE_BYTES);
        Ok(Cluster { runtime, url: url.to_owned(), client })
    }

    /// Waits for what is asked of the cluster.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        self.runtime.block_on(future)
    }

    /// The error of a call as its user should read it.
    fn error(&self, status: &Status) -> RemoteError {
        let text = status.message();
        match status.code() {
            // Transport errors of a lazy connection arrive as these.
            Code::Unavailable => RemoteError::Lost(format!(
                "the scheduler at {} cannot be reached ({text}); is `polybolos scheduler` running there?",
                self.url
            )),
            Code::Unknown | Code::Cancelled => RemoteError::Lost(format!("{}: {text}", self.url)),
            Code::Unauthenticated => RemoteError::Refused(format!(
                "the scheduler at {} asks for a token: {text}; set {TOKEN_VARIABLE}",
                self.url
            )),
            _ => RemoteError::Refused(text.to_owned()),
        }
    }

    pub(crate) async fn submit(&self, request: SubmitRequest) -> Result<SubmitReply, RemoteError> {
        let reply = self.client.clone().submit(request).await;
        reply.map(tonic::Response::into_inner).map_err(|status| self.error(&status))
    }

    pub(crate) async fn watch(&self, sweep_id: &str) -> Result<Watching, RemoteError> {
        let request = WatchRequest { sweep_id: sweep_id.to_owned(), interval_ms: 250 };
        let reply = self.client.clone().watch(request).await.map_err(|status| self.error(&status))?;
        Ok(Watching { cluster: self.clone(), stream: reply.into_inner() })
    }

    /// How a sweep stands.
    pub(crate) async fn get(&self, sweep_id: &str) -> Result<SweepStatus, RemoteError> {
        let request = GetRequest { sweep_id: sweep_id.to_owned() };
        let reply = self.client.clone().get(request).await;
        reply.map(tonic::Response::into_inner).map_err(|status| self.error(&status))
    }

    /// Cancels; gives whether it was still going on.
    pub(crate) async fn cancel(&self, sweep_id: &str) -> Result<bool, RemoteError> {
        let request = CancelRequest { sweep_id: sweep_id.to_owned() };
        let reply = self.client.clone().cancel(request).await;
        reply.map(|reply| reply.into_inner().was_active).map_err(|status| self.error(&status))
    }

    pub(crate) async fn list(&self, limit: u32, only_active: bool) -> Result<Vec<SweepStatus>, RemoteError> {
        let reply = self.client.clone().list(ListRequest { limit, only_active }).await;
        reply.map(|reply| reply.into_inner().sweeps).map_err(|status| self.error(&status))
    }

    /// The manifest of a finished sweep, by its id or an unambiguous part of it; empty: the latest.
    pub(crate) async fn describe(&self, sweep_id: &str) -> Result<Manifest, RemoteError> {
        let request = GetRequest { sweep_id: sweep_id.to_owned() };
        let reply = self.client.clone().describe(request).await.map_err(|status| self.error(&status))?;
        serde_json::from_str(&reply.into_inner().manifest_json).map_err(|error| {
            RemoteError::Refused(format!("{}: the manifest is unreadable: {error}", self.url))
        })
    }

    /// The best rows of a finished sweep.
    pub(crate) async fn top(&self, request: TopRequest) -> Result<Vec<RecordBatch>, RemoteError> {
        let reply = self.client.clone().top(request).await.map_err(|status| self.error(&status))?;
        self.batches(reply.into_inner()).all().await
    }

    /// The means of a metric over one or two parameters of a finished sweep.
    pub(crate) async fn means(&self, request: MeansRequest) -> Result<Vec<RecordBatch>, RemoteError> {
        let reply = self.client.clone().means(request).await.map_err(|status| self.error(&status))?;
        self.batches(reply.into_inner()).all().await
    }

    /// The rows of a query, as they come.
    pub(crate) async fn query(&self, sql: String) -> Result<Batches, RemoteError> {
        let reply =
            self.client.clone().query(QueryRequest { sql }).await.map_err(|status| self.error(&status))?;
        Ok(self.batches(reply.into_inner()))
    }

    fn batches(&self, stream: Streaming<QueryReply>) -> Batches {
        let decoder = StreamDecoder::new();
        Batches { cluster: self.clone(), stream, decoder, bytes: Buffer::from(Vec::<u8>::new()) }
    }
}

/// The token for a connection. It is not sent in the clear to another machine without a word.
fn token(is_tls: bool, url: &str) -> Result<Option<MetadataValue<Ascii>>, CliError> {
    let Ok(token) = std::env::var(TOKEN_VARIABLE) else { return Ok(None) };
    if !is_tls && !is_loopback(url) {
        crate::output::message(&format!(
            "warning: {url} is not encrypted; whoever listens on the way can read the token"
        ));
    }
    let value = MetadataValue::try_from(format!("Bearer {}", token.trim()));
    let mut value =
        value.map_err(|_| CliError::Usage(format!("{TOKEN_VARIABLE} holds characters that no token has")))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn is_loopback(url: &str) -> bool {
    let host = url.split("//").nth(1).unwrap_or(url).split(['/', ':']).next().unwrap_or_default();
    host == "localhost" || host.starts_with("127.") || url.contains("//[::1]")
}

/// The states of a sweep as they are told.
pub(crate) struct Watching {
    cluster: Cluster,
    stream: Streaming<SweepStatus>,
}

impl Watching {
    /// The next state; `None` after the final one.
    pub(crate) async fn next(&mut self) -> Result<Option<SweepStatus>, RemoteError> {
        self.stream.message().await.map_err(|status| self.cluster.error(&status))
    }
}

/// Record batches out of pieces of an IPC stream.
pub(crate) struct Batches {
    cluster: Cluster,
    stream: Streaming<QueryReply>,
    decoder: StreamDecoder,
    bytes: Buffer,
}

impl Batches {
    /// The next batch; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, RemoteError> {
        loop {
            while !self.bytes.is_empty() {
                let batch = self.decoder.decode(&mut self.bytes).map_err(|error| self.damaged(&error))?;
                if batch.is_some() {
                    return Ok(batch);
                }
            }
            let piece = self.stream.message().await.map_err(|status| self.cluster.error(&status))?;
            match piece {
                Some(piece) => self.bytes = Buffer::from(piece.ipc),
                None => {
                    self.decoder.finish().map_err(|error| self.damaged(&error))?;
                    return Ok(None);
                }
            }
        }
    }

    /// Every batch; at least one, so that the columns are known where there is no row.
    pub(crate) async fn all(&mut self) -> Result<Vec<RecordBatch>, RemoteError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        if let (true, Some(schema)) = (batches.is_empty(), self.decoder.schema()) {
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(batches)
    }

    fn damaged(&self, error: &dyn std::fmt::Display) -> RemoteError {
        RemoteError::Refused(format!("{}: the rows are unreadable: {error}", self.cluster.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_gets_a_token_in_the_clear_without_a_warning() {
        for (url, expected) in [
            ("http://127.0.0.1:50050", true),
            ("http://localhost:50050", true),
            ("http://[::1]:50050", true),
            ("http://10.0.0.1:50050", false),
            ("http://localhost.example.com:50050", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }
}
