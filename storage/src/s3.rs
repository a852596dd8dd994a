//! Buckets: one client per bucket and process, set up from the environment; requests run on threads of their own, so that any
//! caller may wait for them, on an async runtime or not.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::SpawnedReqwestConnector;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientConfigKey, Error, GetOptions, GetRange, MultipartUpload, ObjectStore,
    ObjectStoreExt as _, PutMode, PutOptions, PutPayload, Result, RetryConfig, UpdateVersion,
};
use tokio::runtime::{Builder, Handle, Runtime};
use url::Url;

use crate::error::{Kind, SETTING, StorageError, explain, has_broken_off};
use crate::location::{Entry, Revision};

/// How long a server that has answered before is waited for: a restart costs no unit.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one that has never answered is: its address is probably wrong.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);

/// Most time that one request may take; 64 MiB go over a slow line in it.
const REQUEST_TIMEOUT: &str = "300 seconds";

/// How often the connection of one request may break off.
const MOST_BROKEN_OFF: usize = 5;

/// Under which condition an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum When {
    /// None.
    Always,
    /// There is none of this name.
    Absent,
    /// It has this tag.
    Tag(String),
}

/// The threads that talk to servers; started by the first request, never by a process whose data are on its disk.
fn threads() -> Result<&'static Runtime> {
    static THREADS: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let started = THREADS.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(2).thread_name("storage").enable_all().build()
    });
    started.as_ref().map_err(|error| other(format!("no thread for requests could be started: {error}")))
}

fn other(reason: String) -> Error {
    Error::Generic { store: "S3", source: reason.into() }
}

/// Waits for a request, on whatever thread.
pub(crate) fn wait<T: Send + 'static>(
    request: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    threads()?.spawn(async move {
        // Whoever waited may have panicked.
        drop(sender.send(request.await));
    });
    receiver.recv().unwrap_or_else(|_| Err(other("the request was dropped".to_owned())))
}

/// Starts a request; gives what waits for it.
pub(crate) fn start<T: Send + 'static>(
    request: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<mpsc::Receiver<Result<T>>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    threads()?.spawn(async move { drop(sender.send(request.await)) });
    Ok(receiver)
}

/// A bucket's clients: they differ in patience only.
struct Clients {
    first: Arc<AmazonS3>,
    patient: Arc<AmazonS3>,
    has_answered: AtomicBool,
}

/// A bucket.
#[derive(Clone)]
pub(crate) struct Bucket(Arc<Clients>);

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The clients hold credentials.
        write!(f, "Bucket({})", self.0.patient)
    }
}

/// The bucket of this name, with the settings and credentials of the environment.
pub(crate) fn bucket(name: &str) -> Result<Bucket> {
    static BUCKETS: Mutex<Option<HashMap<String, Bucket>>> = Mutex::new(None);
    let mut buckets = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    let buckets = buckets.get_or_insert_default();
    if let Some(known) = buckets.get(name) {
        return Ok(known.clone());
    }
    let handle = threads()?.handle();
    let clients = Clients {
        first: Arc::new(client(name, FIRST_PATIENCE, handle)?),
        patient: Arc::new(client(name, PATIENCE, handle)?),
        has_answered: AtomicBool::new(false),
    };
    let bucket = Bucket(Arc::new(clients));
    buckets.insert(name.to_owned(), bucket.clone());
    Ok(bucket)
}

fn client(bucket: &str, patience: Duration, handle: &Handle) -> Result<AmazonS3> {
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() },
        max_retries: usize::MAX,
        retry_timeout: patience,
    };
    let mut builder = AmazonS3Builder::from_env();
    if std::env::var_os("AWS_TIMEOUT").is_none() {
        builder = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT);
    }
    check_endpoint(&builder)?;
    builder
        .with_bucket_name(bucket)
        .with_retry(retry)
        .with_http_connector(SpawnedReqwestConnector::new(handle.clone()))
        .build()
}

/// Refuses an address that no request could be made to.
fn check_endpoint(builder: &AmazonS3Builder) -> Result<()> {
    let setting = |key| builder.get_config_value(&key);
    let endpoint = setting(AmazonS3ConfigKey::S3Endpoint).or_else(|| setting(AmazonS3ConfigKey::Endpoint));
    let Some(endpoint) = endpoint else { return Ok(()) };
    // What comes before an `@` may be a secret.
    let shown = endpoint.rsplit('@').next().unwrap_or_default();
    let url = Url::parse(&endpoint).ok().filter(|url| url.has_host());
    let refused = |what: &str| Err(other(format!("{SETTING}AWS_ENDPOINT_URL={shown} {what}")));
    match url.as_ref().map(Url::scheme) {
        Some("https") => Ok(()),
        Some("http") => {
            let allowed = setting(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
            let is_yes =
                |text: String| matches!(text.to_lowercase().as_str(), "true" | "1" | "on" | "yes" | "y");
            if allowed.is_some_and(is_yes) {
                return Ok(());
            }
            refused("is not encrypted; set AWS_ALLOW_HTTP=true if that is meant")
        }
        _ => refused("is no address of a server; write https://HOST:PORT"),
    }
}

/// The object store of an `s3://` URL, for a query engine.
///
/// # Errors
/// No bucket in it, or settings in the environment that cannot be.
pub fn object_store(url: &Url) -> std::result::Result<Arc<dyn ObjectStore>, StorageError> {
    let name = url.host_str().filter(|_| url.scheme() == "s3").unwrap_or_default();
    let found = bucket(name).map_err(|error| StorageError::unusable(url.as_str(), explain(&error).1))?;
    Ok(Arc::clone(&found.0.patient) as Arc<dyn ObjectStore>)
}

impl Bucket {
    fn client(&self) -> Arc<AmazonS3> {
        let clients = &self.0;
        let is_known = clients.has_answered.load(Ordering::Relaxed);
        Arc::clone(if is_known { &clients.patient } else { &clients.first })
    }

    /// Makes a request and notes whether the server has answered.
    fn ask<T: Send + 'static, F>(&self, request: impl FnOnce(Arc<AmazonS3>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let answer = wait(request(self.client()));
        if answer.as_ref().err().is_none_or(|error| explain(error).0 != Kind::Transient) {
            self.0.has_answered.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// An object's content and tag.
    pub(crate) fn get(&self, key: &Key) -> Result<(Bytes, Revision)> {
        let key = key.clone();
        self.ask(|client| async move {
            let found = client.get(&key).await?;
            let tag = found.meta.e_tag.clone();
            Ok((found.bytes().await?, Revision(tag)))
        })
    }

    /// A part of an object, and its whole size.
    pub(crate) fn get_range(&self, key: &Key, range: GetRange) -> Result<(Range<u64>, Bytes, u64)> {
        let key = key.clone();
        self.ask(|client| async move {
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            let found = client.get_opts(&key, options).await?;
            let (range, size) = (found.range.clone(), found.meta.size);
            Ok((range, found.bytes().await?, size))
        })
    }

    pub(crate) fn exists(&self, key: &Key) -> Result<bool> {
        let key = key.clone();
        self.ask(|client| async move {
            match client.head(&key).await {
                Ok(_) => Ok(true),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// The names right below a key, sorted.
    pub(crate) fn names(&self, key: &Key) -> Result<Vec<String>> {
        let key = key.clone();
        self.ask(|client| async move {
            let found = client.list_with_delimiter(Some(&key)).await?;
            let objects = found.objects.iter().map(|object| &object.location);
            let names = found.common_prefixes.iter().chain(objects);
            let mut names: Vec<String> =
                names.filter_map(|path| path.filename().map(str::to_owned)).collect();
            names.sort_unstable();
            Ok(names)
        })
    }

    /// Every object below a key.
    pub(crate) fn objects(&self, key: &Key) -> Result<Vec<Entry>> {
        let key = key.clone();
        self.ask(|client| async move {
            let found: Vec<_> = client.list(Some(&key)).try_collect().await?;
            let below = |path: &Key| {
                let parts = path.prefix_match(&key)?;
                Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
            };
            let entries = found
                .iter()
                .filter_map(|object| Some(Entry { name: below(&object.location)?, bytes: object.size }));
            Ok(entries.collect())
        })
    }

    /// Writes an object in one request. A server that knows no conditions is asked again without.
    pub(crate) fn put(&self, key: &Key, content: Bytes, when: &When) -> Result<()> {
        let mode = match when {
            When::Always => return self.put_mode(key, content, PutMode::Overwrite),
            When::Absent => PutMode::Create,
            When::Tag(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag.clone()), version: None }),
        };
        match self.put_under(key, &content, &mode) {
            Err(error) if explain(&error).0 == Kind::Unsupported => {
                self.put_mode(key, content, PutMode::Overwrite)
            }
            done => done,
        }
    }

    /// Writes an object under a condition. Where a connection breaks off, the object may have been written and the answer lost: the
    /// client does not ask again by itself, since the condition is not met any more then.
    fn put_under(&self, key: &Key, content: &Bytes, mode: &PutMode) -> Result<()> {
        let mut broken_off = 0;
        loop {
            match self.put_mode(key, content.clone(), mode.clone()) {
                Err(error) if has_broken_off(&error) && broken_off < MOST_BROKEN_OFF => broken_off += 1,
                Err(error) if broken_off > 0 && explain(&error).0 == Kind::Raced => {
                    let is_ours = self.get(key).is_ok_and(|(found, _)| found == *content);
                    return if is_ours { Ok(()) } else { Err(error) };
                }
                done => return done,
            }
        }
    }

    fn put_mode(&self, key: &Key, content: Bytes, mode: PutMode) -> Result<()> {
        let key = key.clone();
        self.ask(|client| async move {
            let options = PutOptions { mode, ..PutOptions::default() };
            client.put_opts(&key, PutPayload::from(content), options).await.map(drop)
        })
    }

    /// Begins an object that is written in parts.
    pub(crate) fn begin(&self, key: &Key) -> Result<Box<dyn MultipartUpload>> {
        let key = key.clone();
        self.ask(|client| async move { client.put_multipart(&key).await })
    }
}
