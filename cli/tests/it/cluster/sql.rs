//! Queries on the executors.

use super::harness::{Setup, TestCluster};

#[test]
fn rankings_and_maps_of_a_cluster_are_those_of_its_result_files() {
    let cluster = TestCluster::start(&Setup { executors: 1, ..Setup::default() });
    cluster.sweep(&[]).json();
    for command in [
        vec!["top", "--rank-by", "total_return", "--top", "25"],
        vec!["top", "--symbol", "syn002usdt", "--min-trades", "5"],
        vec!["heatmap"],
        vec!["heatmap", "--symbol", "SYN001USDT", "--metric", "max_drawdown"],
        vec!["heatmap", "--x", "fast", "--y", "slow"],
    ] {
        let asked = [&["results"][..], &command, &["--json"]].concat();
        let there = cluster.run(&asked).json();
        let here = cluster.place.run(&[&asked[..], &["--results", "results"]].concat()).json();
        assert_eq!(there, here, "{command:?}");
    }
    for (command, words) in [
        (vec!["top", "--symbol", "NOBODY"], ["NOBODY", "SYN001USDT"]),
        (vec!["heatmap", "--symbol", "NOBODY"], ["NOBODY", "SYN001USDT"]),
        (vec!["heatmap", "--x", "nothing"], ["`nothing`", "fast"]),
        (vec!["heatmap", "--metric", "nothing"], ["nothing", "sharpe"]),
    ] {
        let refused = cluster.run(&[&["results"][..], &command].concat());
        assert!(refused.code != Some(0) && refused.stdout.is_empty(), "{command:?}: {refused:?}");
        assert!(words.iter().all(|word| refused.stderr.contains(word)), "{command:?}: {refused:?}");
    }
    cluster.finish();
}

#[test]
fn queries_over_bars_and_results_run_on_the_executors_and_can_only_read() {
    let cluster = TestCluster::start(&Setup::default());
    let sweep = cluster.sweep(&[]).json();
    for query in [
        "SELECT symbol, count(*) AS n, min(low) AS low, max(high) AS high FROM bars GROUP BY symbol ORDER BY symbol",
        "SELECT symbol, count(*) AS n, max(sharpe) AS best, avg(trades) AS trades FROM results GROUP BY symbol \
         ORDER BY symbol",
        "SELECT r.fast, max(r.sharpe) AS best FROM results r JOIN sweeps s ON r.sweep_id = s.sweep_id GROUP BY r.fast \
         ORDER BY r.fast",
        "SELECT symbol, open_time, close FROM bars WHERE close < 0",
    ] {
        let there = cluster.run(&["sql", query, "--json"]).json();
        let here =
            cluster.place.run(&["sql", query, "--json", "--data", "data", "--results", "results"]).json();
        assert_eq!(there, here, "{query}");
    }
    let best = cluster.run(&["sql", "SELECT max(sharpe) AS best FROM results", "--json"]).json();
    assert_eq!(best[0]["best"], sweep["top"][0]["sharpe"]);

    cluster.place.write("secret.csv", "a\n1\n");
    let secret = cluster.place.path("secret.csv").display().to_string();
    for query in [
        format!("SELECT * FROM '{secret}'"),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{secret}'"),
        "COPY (SELECT * FROM bars) TO 'stolen.parquet'".to_owned(),
        "CREATE TABLE t AS SELECT * FROM bars".to_owned(),
        "CREATE VIEW v AS SELECT * FROM bars".to_owned(),
        "INSERT INTO bars SELECT * FROM bars".to_owned(),
        "DROP TABLE bars".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "SELECT * FROM sweep('grid.yaml', 'all', '1h')".to_owned(),
        "SELECT nothing FROM bars".to_owned(),
    ] {
        let refused = cluster.run(&["sql", &query]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{query}: {refused:?}");
        let errors = refused.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{query}: {refused:?}");
    }
    assert!(!cluster.place.path("stolen.parquet").exists());
    cluster.finish();
}
