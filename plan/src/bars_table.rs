//! The dataset directory as the SQL table `bars`.
//!
//! `bars/interval=1h/symbol=BTCUSDT/<year>.parquet` becomes one table: the files' columns, then `interval` and
//! `symbol` from the path. The schema is fixed, so opening the table reads no file, and a filter on `symbol` or
//! `interval` decides by the path which files are read at all. Path columns are plain `Utf8`: dictionaries and view
//! types do not survive every exchange between cluster processes. This module writes nothing and repairs nothing.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use futures::{StreamExt, TryStreamExt, future};
use object_store::ObjectStore;
use polybolos_storage::Location;
use url::Url;

use crate::error::PlanError;
use crate::location::{Kind, table_url};

/// Name of the table in SQL.
pub const BARS_TABLE: &str = "bars";

/// Name of the bars' directory inside a dataset.
const BARS_DIRECTORY: &str = "bars";

/// Why a dataset has no `bars` table.
#[derive(Debug, thiserror::Error)]
pub enum BarsTableError {
    /// There is no directory, or no Parquet file under its `bars/`. A session may leave the table out and say so.
    #[error(
        "no bars in {dataset}: bring some in with `polybolos data import`, `data fetch` or `data synth`, or name another dataset with --data"
    )]
    Empty {
        /// The dataset as the user gave it.
        dataset: String,
    },
    /// The name is neither a path nor a URL that this process can read.
    #[error("dataset {dataset} cannot be read: {reason}")]
    Unreadable {
        /// The dataset as the user gave it.
        dataset: String,
        /// What stands in the way.
        reason: String,
    },
}

impl BarsTableError {
    /// Whether the dataset is merely missing or empty, so that a query over other tables can go on without it.
    pub fn is_empty(&self) -> bool {
        matches!(self, BarsTableError::Empty { .. })
    }
}

/// Schema of the Parquet files: times in milliseconds UTC, prices and volumes as Float64, all columns as in SPEC 2.
pub fn bars_file_schema() -> SchemaRef {
    let open_time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let float = |name: &str| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        Field::new("open_time", open_time, true),
        float("open"),
        float("high"),
        float("low"),
        float("close"),
        float("volume"),
        float("quote_volume"),
        Field::new("trades", DataType::Int64, true),
        float("taker_buy_volume"),
        float("taker_buy_quote_volume"),
    ]))
}

/// The start of the runtime of every session, scheduler and executor that reads datasets: directories are listed anew
/// for each query. DataFusion's default remembers a listing without end, so a process that lives on would miss bars
/// that were imported since, and read files that were rewritten by their old sizes. Buckets are opened when they are first asked
/// for, each process with the settings and credentials of its own environment: none of them is in a session or a plan.
pub fn runtime_builder() -> RuntimeEnvBuilder {
    RuntimeEnvBuilder::new()
        .with_object_list_cache_limit(0)
        .with_object_store_registry(Arc::new(Stores::default()))
}

/// The object stores of a session: files of this machine, and the buckets of [`polybolos_storage`].
#[derive(Debug, Default)]
struct Stores(DefaultObjectStoreRegistry);

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.0.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        self.0.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        match url.scheme() {
            "s3" => polybolos_storage::object_store(url).map_err(|error| PlanError::from(error).into()),
            _ => self.0.get_store(url),
        }
    }
}

/// Opens the `bars` table of a dataset: a local directory (absolute or relative, taken literally, no globs) or the
/// bucket (`s3://bucket/prefix`).
///
/// # Errors
/// [`BarsTableError::Empty`] if there is no Parquet file under `bars/`, [`BarsTableError::Unreadable`] if the
/// directory or the store cannot be listed.
pub async fn bars_table(
    session: &dyn Session,
    dataset: &str,
) -> Result<Arc<dyn TableProvider>, BarsTableError> {
    let unreadable = |reason: String| BarsTableError::Unreadable { dataset: dataset.to_owned(), reason };
    let bars = Location::parse(dataset).map_err(|error| unreadable(error.reason().to_owned()))?;
    let bars = bars.join(BARS_DIRECTORY);
    let location = table_url(&bars, Kind::Folder).map_err(unreadable)?;
    let format = ParquetFormat::default().with_options(session.table_options().parquet.clone());
    let options = ListingOptions::new(Arc::new(format)).with_table_partition_cols(vec![
        ("interval".to_owned(), DataType::Utf8),
        ("symbol".to_owned(), DataType::Utf8),
    ]);
    let found = if bars.is_remote() {
        has_bars_in_bucket(bars).await
    } else {
        let found = has_bars(session, &location, &options.file_extension).await;
        found.map_err(|error| error.to_string())
    };
    if !found.map_err(unreadable)? {
        return Err(BarsTableError::Empty { dataset: dataset.to_owned() });
    }
    let config =
        ListingTableConfig::new(location).with_listing_options(options).with_schema(bars_file_schema());
    let table = ListingTable::try_new(config).map_err(|error| unreadable(error.strip_backtrace()))?;
    Ok(Arc::new(table))
}

/// Whether one Parquet file lies below `location`. Asks the store itself: a listing through the session would be
/// remembered there, empty, beyond the next import.
async fn has_bars(
    session: &dyn Session,
    location: &ListingTableUrl,
    extension: &str,
) -> Result<bool, DataFusionError> {
    let store = session.runtime_env().object_store(location)?;
    let mut files = store
        .list(Some(location.prefix()))
        .try_filter(|file| future::ready(file.location.as_ref().ends_with(extension) && file.size > 0))
        .boxed();
    Ok(files.try_next().await?.is_some())
}

/// Whether there is an interval in a bucket. Asked by the bucket's own client, which does not wait long for a server that has
/// never answered.
async fn has_bars_in_bucket(bars: Location) -> Result<bool, String> {
    let names = tokio::task::spawn_blocking(move || bars.names());
    let names = names.await.map_err(|error| error.to_string())?;
    Ok(!names.map_err(|error| error.reason().to_owned())?.is_empty())
}
