//! The dataset directory as a table: its schema, the files a query reads, and what a missing dataset says.

use std::path::Path;
use std::sync::Arc;

use ballista::prelude::{SessionConfigExt, SessionContextExt};
use ballista_core::serde::BallistaLogicalExtensionCodec;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use polybolos_plan::bars_table::{BARS_TABLE, BarsTableError, bars_table, runtime_builder};
use polybolos_plan::functions::window_functions;
use polybolos_plan::sql_text::interval_as_column;

use crate::functions::session;
use crate::synthetic::{START_MS, bars, write_bars};

const YEAR_MS: i64 = 366 * 24 * 3_600_000;

/// Two symbols at two intervals, BTCUSDT over two years.
fn write_dataset(dataset: &Path) {
    write_bars(dataset, "1h", "BTCUSDT", 2024, &bars(1, START_MS, 100));
    write_bars(dataset, "1h", "BTCUSDT", 2025, &bars(2, START_MS + YEAR_MS, 50));
    write_bars(dataset, "1h", "ETHUSDT", 2024, &bars(3, START_MS, 100));
    write_bars(dataset, "4h", "BTCUSDT", 2024, &bars(4, START_MS, 25));
    write_bars(dataset, "4h", "ETHUSDT", 2024, &bars(5, START_MS, 25));
}

async fn open(dataset: &Path) -> SessionContext {
    let context = session();
    let table = bars_table(&context.state(), dataset.to_str().unwrap()).await.unwrap();
    context.register_table(BARS_TABLE, table).unwrap();
    context
}

async fn query(context: &SessionContext, sql: &str) -> RecordBatch {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

async fn count(context: &SessionContext, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM bars WHERE {condition}");
    query(context, &sql).await.column(0).as_primitive::<Int64Type>().value(0)
}

/// The files a plan would read, from `interval=` on, sorted.
fn files(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut files = Vec::new();
    plan.apply(|node| {
        if let Some(source) = node.downcast_ref::<DataSourceExec>()
            && let Some(scan) = source.data_source().downcast_ref::<FileScanConfig>()
        {
            for file in scan.file_groups.iter().flat_map(|group| group.iter()) {
                let path = file.object_meta.location.to_string();
                files.push(path[path.find("interval=").unwrap()..].to_owned());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    files.sort();
    files.dedup();
    files
}

#[tokio::test]
async fn the_schema_is_the_datasets_with_plain_strings_from_the_path() {
    let dataset = tempfile::tempdir().unwrap();
    write_dataset(dataset.path());
    let context = open(dataset.path()).await;
    let expected = [
        ("open_time", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("open", DataType::Float64),
        ("high", DataType::Float64),
        ("low", DataType::Float64),
        ("close", DataType::Float64),
        ("volume", DataType::Float64),
        ("quote_volume", DataType::Float64),
        ("trades", DataType::Int64),
        ("taker_buy_volume", DataType::Float64),
        ("taker_buy_quote_volume", DataType::Float64),
        ("interval", DataType::Utf8),
        ("symbol", DataType::Utf8),
    ];
    let answer = query(&context, "SELECT * FROM bars").await;
    let schema = answer.schema();
    let columns: Vec<_> =
        schema.fields().iter().map(|f| (f.name().as_str(), f.data_type().clone())).collect();
    assert_eq!(columns, expected);
    assert_eq!(answer.num_rows(), 300);
}

#[tokio::test]
async fn what_was_written_is_read() {
    let dataset = tempfile::tempdir().unwrap();
    write_dataset(dataset.path());
    let context = open(dataset.path()).await;
    let columns = "open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, \
                   taker_buy_quote_volume";
    let sql = format!(
        "SELECT {columns} FROM bars WHERE symbol = 'BTCUSDT' AND bars.interval = '1h' ORDER BY open_time"
    );
    let answer = query(&context, &sql).await;
    let written = [bars(1, START_MS, 100), bars(2, START_MS + YEAR_MS, 50)];
    assert_eq!(answer.columns(), concat_batches(&written[0].schema(), &written).unwrap().columns());
}

#[tokio::test]
async fn a_filter_on_symbol_or_interval_decides_which_files_are_planned() {
    let dataset = tempfile::tempdir().unwrap();
    write_dataset(dataset.path());
    let context = open(dataset.path()).await;
    let [btc24, btc25, eth, btc4h, eth4h] = [
        "interval=1h/symbol=BTCUSDT/2024.parquet",
        "interval=1h/symbol=BTCUSDT/2025.parquet",
        "interval=1h/symbol=ETHUSDT/2024.parquet",
        "interval=4h/symbol=BTCUSDT/2024.parquet",
        "interval=4h/symbol=ETHUSDT/2024.parquet",
    ];
    for (condition, expected) in [
        ("TRUE", vec![btc24, btc25, eth, btc4h, eth4h]),
        ("symbol = 'ETHUSDT'", vec![eth, eth4h]),
        ("bars.interval = '4h'", vec![btc4h, eth4h]),
        ("symbol = 'BTCUSDT' AND bars.interval = '1h'", vec![btc24, btc25]),
        ("symbol IN ('BTCUSDT', 'SOLUSDT') AND bars.interval = '1h' AND close > 0", vec![btc24, btc25]),
        ("symbol LIKE 'ETH%'", vec![eth, eth4h]),
        ("symbol <> 'ETHUSDT' AND bars.interval <> '1h'", vec![btc4h]),
        ("symbol = 'XRPUSDT'", vec![]),
    ] {
        let frame = context.sql(&format!("SELECT close FROM bars WHERE {condition}")).await.unwrap();
        assert_eq!(files(&frame.create_physical_plan().await.unwrap()), expected, "{condition}");
    }
    let windowed = "SELECT sma(close, 5) OVER (PARTITION BY symbol ORDER BY open_time) FROM bars \
                    WHERE symbol = 'ETHUSDT' AND bars.interval = '1h'";
    let plan = context.sql(windowed).await.unwrap().create_physical_plan().await.unwrap();
    assert_eq!(files(&plan), [eth]);
}

#[tokio::test]
async fn a_file_outside_the_filter_is_not_even_opened() {
    let dataset = tempfile::tempdir().unwrap();
    write_dataset(dataset.path());
    let broken = dataset.path().join("bars/interval=1h/symbol=BROKEN");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("2024.parquet"), b"no Parquet").unwrap();
    let context = open(dataset.path()).await;
    assert_eq!(count(&context, "symbol = 'BTCUSDT' AND bars.interval = '1h' AND close > 0").await, 150);
    assert_eq!(count(&context, "bars.interval = '4h' AND close > 0").await, 50);
    assert!(context.sql("SELECT close FROM bars").await.unwrap().collect().await.is_err());
}

#[tokio::test]
async fn a_time_filter_prunes_and_compares_in_utc() {
    let dataset = tempfile::tempdir().unwrap();
    write_dataset(dataset.path());
    let context = open(dataset.path()).await;
    let btc = "symbol = 'BTCUSDT' AND bars.interval = '1h' AND";
    for (condition, expected) in [
        ("open_time < '2025-01-01'", 100),
        ("open_time >= '2025-01-01T00:00:00Z'", 50),
        ("open_time < TIMESTAMP '2024-01-01 10:00:00'", 10),
        ("date_trunc('day', open_time) = '2024-01-02'", 24),
        ("open_time < '2024-01-01T01:00:00+01:00'", 0),
    ] {
        assert_eq!(count(&context, &format!("{btc} {condition}")).await, expected, "{condition}");
    }
}

#[tokio::test]
async fn the_column_interval_needs_no_quotes_though_the_word_begins_a_duration() {
    let dataset = tempfile::tempdir().unwrap();
    write_dataset(dataset.path());
    let context = open(dataset.path()).await;
    for sql in [
        "SELECT DISTINCT interval FROM bars",
        "SELECT interval FROM bars GROUP BY interval",
        "SELECT Interval, count(*) FROM bars WHERE INTERVAL IN ('1h', '4h') GROUP BY interval ORDER BY interval DESC",
        "SELECT interval\n-- interval, ünd so wéiter\nFROM bars /* interval */\nGROUP BY\n  interval",
        "SELECT DISTINCT close - close, interval FROM bars WHERE interval<>'interval'",
        "SELECT DISTINCT interval AS interval FROM (SELECT interval, 'é' AS b FROM bars)",
        "SELECT interval FROM bars WHERE open_time + INTERVAL '1 hour' > '2024-01-01' AND NOT interval = '5m' GROUP BY 1",
        "SELECT interval, CAST('1 day' AS INTERVAL), '2 days'::interval, INTERVAL '3' DAY FROM bars GROUP BY interval",
        "SELECT max(row_number) FROM (SELECT interval, row_number() OVER (PARTITION BY symbol, interval ORDER BY open_time) \
         AS row_number FROM bars) GROUP BY interval",
        "SELECT DISTINCT \"interval\" FROM bars",
        "SELECT DISTINCT bars.interval FROM bars",
        "SELECT DISTINCT b.interval FROM bars AS b",
        "SELECT \"interval\" FROM bars GROUP BY bars.interval",
        "SELECT b.interval FROM bars b WHERE b.interval IN ('1h', '4h') GROUP BY b.interval ORDER BY b.interval",
    ] {
        let text = interval_as_column(sql);
        let answer = async { context.sql(&text).await?.collect().await }.await;
        let rows: usize =
            answer.unwrap_or_else(|error| panic!("{text}\n{error}")).iter().map(|b| b.num_rows()).sum();
        assert_eq!(rows, 2, "{text}");
    }
}

#[test]
fn sql_without_the_column_interval_is_left_as_it_is() {
    for sql in [
        "",
        "SELECT 1",
        "SELECT open_time + INTERVAL '1 day', INTERVAL 5 MINUTE FROM bars",
        "SELECT bars.interval, \"interval\", 'interval' AS interval FROM bars -- interval",
        "SELECT 'an open string with interval , ",
    ] {
        assert_eq!(interval_as_column(sql), sql);
    }
}

#[tokio::test]
async fn a_missing_or_empty_dataset_says_how_to_fill_it() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    std::fs::create_dir_all(empty.join("bars/interval=1h/symbol=BTCUSDT")).unwrap();
    std::fs::write(empty.join("bars/interval=1h/symbol=BTCUSDT/2024.parquet.tmp"), b"half written").unwrap();
    let session = session();
    for dataset in ["missing", "missing/../nor/this", "empty", "empty/../empty", "empty/"] {
        let dataset = directory.path().join(dataset);
        let error = bars_table(&session.state(), dataset.to_str().unwrap()).await.unwrap_err();
        assert!(error.is_empty(), "{error}");
        let message = error.to_string();
        assert!(message.contains(dataset.to_str().unwrap()) && message.contains("data import"), "{message}");
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_is_an_error_and_not_an_empty_dataset() {
    for dataset in ["nonsense://x", "s3://"] {
        let error = bars_table(&session().state(), dataset).await.unwrap_err();
        assert!(matches!(error, BarsTableError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains(dataset), "{error}");
    }
}

#[tokio::test]
async fn a_directorys_name_is_taken_literally() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["my data", "a[1]", "star*", "what?", "100%25", "hash#tag", "ünïcode", "plus+and&"] {
        let dataset = directory.path().join(name);
        write_bars(&dataset, "1h", "BTCUSDT", 2024, &bars(1, START_MS, 10));
        assert_eq!(count(&open(&dataset).await, "close > 0").await, 10, "{name}");
    }
    let around = directory.path().join("a[1]/../my data/../star*/");
    assert_eq!(count(&open(&around).await, "close > 0").await, 10);
}

#[tokio::test]
async fn the_table_travels_inside_a_logical_plan_as_a_cluster_sends_it() {
    let dataset = tempfile::tempdir().unwrap();
    write_dataset(dataset.path());
    let context = open(dataset.path()).await;
    let sql = "SELECT symbol, bars.interval, open_time, sma(close, 5) OVER (PARTITION BY symbol ORDER BY open_time) AS y \
               FROM bars WHERE bars.interval = '1h' ORDER BY symbol, open_time";
    let here = query(&context, sql).await;
    let codec = BallistaLogicalExtensionCodec::default();
    let plan = context.sql(sql).await.unwrap().into_unoptimized_plan();
    let bytes = datafusion_proto::bytes::logical_plan_to_bytes_with_extension_codec(&plan, &codec).unwrap();

    let elsewhere = session();
    let plan = datafusion_proto::bytes::logical_plan_from_bytes_with_extension_codec(
        &bytes,
        &elsewhere.task_ctx(),
        &codec,
    )
    .unwrap();
    let frame = elsewhere.execute_logical_plan(plan).await.unwrap();
    let planned = frame.clone().create_physical_plan().await.unwrap();
    assert_eq!(files(&planned).len(), 3, "pruning is lost on the way");
    let batches = frame.collect().await.unwrap();
    assert_eq!(concat_batches(&here.schema(), &batches).unwrap(), here);
}

#[tokio::test]
async fn bars_that_were_imported_later_are_seen_by_the_next_query() {
    let dataset = tempfile::tempdir().unwrap();
    write_dataset(dataset.path());
    let context = open(dataset.path()).await;
    assert_eq!(count(&context, "symbol = 'ETHUSDT' AND bars.interval = '1h' AND close > 0").await, 100);
    write_bars(dataset.path(), "1h", "ETHUSDT", 2025, &bars(6, START_MS + YEAR_MS, 7));
    assert_eq!(count(&context, "symbol = 'ETHUSDT' AND bars.interval = '1h' AND close > 0").await, 107);
    write_bars(dataset.path(), "1h", "ETHUSDT", 2025, &bars(6, START_MS + YEAR_MS, 900));
    assert_eq!(count(&context, "symbol = 'ETHUSDT' AND bars.interval = '1h' AND close > 0").await, 1_000);
}

/// A scheduler and an executor in this process, spoken to over the network as any cluster is.
async fn cluster(dataset: &Path) -> SessionContext {
    let state = SessionStateBuilder::new()
        .with_config(SessionConfig::new_with_ballista().with_target_partitions(2))
        .with_runtime_env(Arc::new(runtime_builder().build().unwrap()))
        .with_default_features()
        .build();
    let processes = SessionContext::new_with_state(state);
    for function in window_functions() {
        processes.register_udwf(function.as_ref().clone());
    }
    let client = SessionContext::standalone_with_state(processes.state()).await.unwrap();
    for function in window_functions() {
        client.register_udwf(function.as_ref().clone());
    }
    let table = bars_table(&client.state(), dataset.to_str().unwrap()).await.unwrap();
    client.register_table(BARS_TABLE, table).unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_answers_with_the_rows_of_this_process_bit_for_bit() {
    let dataset = tempfile::tempdir().unwrap();
    write_dataset(dataset.path());
    let sql = "SELECT symbol, bars.interval, open_time, sma(close, 5) OVER w AS average, \
               macd_hist(close, 4, 9, 3) OVER w AS hist, stoch_d(high, low, close, 5, 3, 3) OVER w AS stochastic, \
               rolling_stddev(close, n => 7) OVER w AS deviation, crosses_above(close, open) OVER w AS crossed \
               FROM bars WINDOW w AS (PARTITION BY symbol, bars.interval ORDER BY open_time) ORDER BY 1, 2, 3";
    let here = query(&open(dataset.path()).await, sql).await;
    assert_eq!(here.num_rows(), 300);
    assert_eq!(query(&cluster(dataset.path()).await, sql).await, here);
}
