//! A scheduler and executors in a folder of their own, one cluster at a time, and what must hold of them afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::Value;

use super::process::{LOOK, Process, free_port, get};
use crate::place::{Place, Ran, STRATEGY};

/// Until a process has come up or gone down.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// Until a sweep of some seconds has ended, an executor's death and the longest waits between attempts included.
pub(super) const DONE: Duration = Duration::from_secs(90);

/// Seconds of silence after which the scheduler takes an executor for dead.
const EXECUTOR_TIMEOUT_S: &str = "5";

/// What a cluster is made of.
#[derive(Clone)]
pub(super) struct Setup<'s> {
    pub executors: usize,
    pub slots: usize,
    pub symbols: usize,
    pub bars: usize,
    pub token: Option<&'s str>,
    /// Options of the scheduler.
    pub scheduler: &'s [&'s str],
    /// A tmpfs of so many KiB for the results.
    pub results_kib: Option<u32>,
    /// Where bars and results lie for the scheduler.
    pub places: [String; 2],
    /// More of the environment of every process.
    pub environment: Vec<(String, String)>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup {
            executors: 2,
            slots: 2,
            symbols: 2,
            bars: 800,
            token: None,
            scheduler: &[],
            results_kib: None,
            places: ["data", "results"].map(str::to_owned),
            environment: Vec::new(),
        }
    }
}

/// An executor that runs, or has run.
pub(super) struct Member {
    pub process: Process,
    /// Host and port of its probes.
    pub http: String,
    work_dir: PathBuf,
    log: PathBuf,
}

/// A unit that an executor says it has computed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Computed {
    /// Index of the executor, in the order of their starts.
    pub executor: usize,
    pub began_ms: i64,
    pub ended_ms: i64,
}

/// A unit's sweep, symbol and first row.
pub(super) type UnitKey = (String, String, u64);

/// See the module.
pub(super) struct TestCluster {
    pub place: Place,
    pub grpc: u16,
    pub http: u16,
    pub scheduler: Option<Process>,
    /// Every executor that was started, in order.
    pub members: Vec<Member>,
    token: Option<String>,
    scheduler_options: Vec<String>,
    scheduler_logs: Vec<PathBuf>,
    places: [String; 2],
    environment: Vec<(String, String)>,
    slots: usize,
    mounts: Vec<PathBuf>,
    /// Held while the cluster lives: tests must not fight for the processor.
    _turn: File,
}

/// Waits for other clusters of this build to end.
fn turn() -> File {
    let file = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster.lock")).unwrap();
    file.lock().unwrap();
    file
}

impl TestCluster {
    /// Makes the data, starts everything and waits until it is ready.
    pub(super) fn start(setup: &Setup<'_>) -> TestCluster {
        let mut cluster = TestCluster::prepared(setup);
        cluster.start_scheduler();
        for _ in 0..setup.executors {
            cluster.start_executor();
        }
        cluster.wait_for_executors(setup.executors);
        cluster
    }

    /// A cluster's folders, and no process yet.
    pub(super) fn prepared(setup: &Setup<'_>) -> TestCluster {
        let turn = turn();
        let place = Place::empty();
        place.write("grid.yaml", STRATEGY);
        let (symbols, bars) = (setup.symbols.to_string(), setup.bars.to_string());
        place.run(&["data", "synth", "--symbols", &symbols, "--bars", &bars, "--interval", "1h"]).ok();
        for folder in ["logs", "faults", "results"] {
            fs::create_dir(place.path(folder)).unwrap();
        }
        let mut cluster = TestCluster {
            place,
            grpc: free_port(),
            http: free_port(),
            scheduler: None,
            members: Vec::new(),
            token: setup.token.map(str::to_owned),
            scheduler_options: setup.scheduler.iter().map(|&option| option.to_owned()).collect(),
            scheduler_logs: Vec::new(),
            places: setup.places.clone(),
            environment: setup.environment.clone(),
            slots: setup.slots,
            mounts: Vec::new(),
            _turn: turn,
        };
        if let Some(kib) = setup.results_kib {
            cluster.mount("results", kib);
        }
        cluster
    }

    /// A small disk at a folder.
    pub(super) fn mount(&mut self, folder: &str, kib: u32) {
        let path = self.place.path(folder);
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={kib}k");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        assert!(status.unwrap().success(), "mount {}", path.display());
        self.mounts.push(path);
    }

    /// A command with nothing of the caller's environment that the program reads, and the cluster's token.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("POLYBOLOS_")) {
            command.env_remove(name);
        }
        command.env_remove("RUST_LOG");
        if let Some(token) = &self.token {
            command.env("POLYBOLOS_TOKEN", token);
        }
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Starts the scheduler; again on the ports and the state of the one before.
    pub(super) fn start_scheduler(&mut self) {
        let command = self.scheduler_command(&[]);
        self.run_scheduler(command);
    }

    pub(super) fn scheduler_command(&self, more: &[&str]) -> Command {
        let (grpc, http) = (self.grpc.to_string(), self.http.to_string());
        let mut args = vec!["scheduler", "--port", &grpc, "--http-port", &http, "--log-format", "json"];
        let [data, results] = self.places.each_ref().map(String::as_str);
        args.extend(["--data", data, "--results", results, "--state", "state"]);
        if !self.scheduler_options.iter().any(|option| option == "--executor-timeout-s") {
            args.extend(["--executor-timeout-s", EXECUTOR_TIMEOUT_S]);
        }
        args.extend(self.scheduler_options.iter().map(String::as_str));
        args.extend(more);
        self.command(&args)
    }

    pub(super) fn run_scheduler(&mut self, command: Command) {
        let log = self.place.path(&format!("logs/scheduler-{}.json", self.scheduler_logs.len()));
        self.scheduler = Some(Process::spawn(command, log.clone()));
        self.scheduler_logs.push(log);
        self.wait("the scheduler to listen", SOON, |cluster| {
            (!cluster.scheduler().lines("scheduler ready").is_empty()).then_some(())
        });
    }

    pub(super) fn scheduler(&self) -> &Process {
        self.scheduler.as_ref().expect("a scheduler was started")
    }

    pub(super) fn kill_scheduler(&mut self) {
        self.scheduler.take().expect("a scheduler was started").kill();
    }

    /// Starts one more executor; its index.
    pub(super) fn start_executor(&mut self) -> usize {
        self.run_executor(self.executor_command("faults"))
    }

    /// The arguments of the next executor.
    pub(super) fn executor_args(&self, scheduler: &str, more: &[&str]) -> Vec<String> {
        let (scheduler, slots) = (format!("{scheduler}:{}", self.grpc), self.slots.to_string());
        let work_dir = format!("work-{}", self.members.len());
        let mut args = vec!["executor", "--scheduler", &scheduler, "--port", "0", "--http-port", "0"];
        args.extend(["--gpu", "off", "--slots", &slots, "--heartbeat-seconds", "1"]);
        args.extend(["--log-format", "json", "--work-dir", &work_dir]);
        args.extend(more);
        args.into_iter().map(str::to_owned).collect()
    }

    /// The command of the next executor, with a folder of faults.
    pub(super) fn executor_command(&self, faults: &str) -> Command {
        let args = self.executor_args("127.0.0.1", &[]);
        let mut command = self.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        command.env("POLYBOLOS_FAULTS", self.place.path(faults));
        command
    }

    pub(super) fn run_executor(&mut self, command: Command) -> usize {
        let number = self.members.len();
        let work_dir = self.place.path(&format!("work-{number}"));
        let log = self.place.path(&format!("logs/executor-{number}.json"));
        let process = Process::spawn(command, log.clone());
        self.members.push(Member { process, http: String::new(), work_dir, log });
        let http = self.wait(&format!("executor {number} to start"), SOON, |cluster| {
            let line = cluster.members[number].process.lines("executor starts").pop()?;
            Some(line["http"].as_str()?.to_owned())
        });
        self.members[number].http = http;
        number
    }

    pub(super) fn kill_executor(&mut self, number: usize) {
        self.members[number].process.kill();
    }

    /// Waits until the scheduler knows so many executors and is ready.
    pub(super) fn wait_for_executors(&mut self, count: usize) {
        self.wait(&format!("{count} executors to join"), SOON, |cluster| {
            let is_ready = cluster.get("/readyz").is_some_and(|(status, _)| status == 200);
            (is_ready && cluster.api("/api/executors")?.as_array()?.len() == count).then_some(())
        });
    }

    /// Waits for something, which must come before the deadline.
    pub(super) fn wait<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut look: impl FnMut(&mut TestCluster) -> Option<T>,
    ) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(started.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
            std::thread::sleep(LOOK);
        }
    }

    /// A page of the scheduler's HTTP port.
    pub(super) fn get(&self, path: &str) -> Option<(u16, String)> {
        get(&format!("127.0.0.1:{}", self.http), path, self.token.as_deref())
    }

    pub(super) fn api(&self, path: &str) -> Option<Value> {
        let (status, body) = self.get(path)?;
        (status == 200).then(|| serde_json::from_str(&body).unwrap())
    }

    /// A sweep's status; `None` where nobody answers.
    pub(super) fn status(&self, sweep_id: &str) -> Option<Value> {
        self.api(&format!("/api/sweeps/{sweep_id}"))
    }

    /// Waits for the end of a sweep; its last status.
    pub(super) fn wait_for_end(&mut self, sweep_id: &str, state: &str) -> Value {
        let status = self.wait(&format!("the end of {sweep_id}"), DONE, |cluster| {
            let status = cluster.status(sweep_id)?;
            ["complete", "failed", "cancelled"].contains(&status["state"].as_str()?).then_some(status)
        });
        assert_eq!(status["state"], state, "{status:#}");
        status
    }

    /// Waits until so many units are done.
    pub(super) fn wait_for_units(&mut self, sweep_id: &str, count: u64) {
        self.wait(&format!("{count} finished units of {sweep_id}"), DONE, |cluster| {
            (cluster.status(sweep_id)?["units"]["done"].as_u64()? >= count).then_some(())
        });
    }

    /// Units that an executor says it runs.
    pub(super) fn running_on(&self, number: usize) -> u64 {
        let page = get(&self.members[number].http, "/metrics", self.token.as_deref());
        let page = page.map(|(_, body)| body).unwrap_or_default();
        let line = page.lines().find(|line| line.starts_with("polybolos_executor_units_running"));
        line.and_then(|line| line.split_whitespace().last()?.parse::<f64>().ok())
            .map_or(0, |units| units as u64)
    }

    /// A client's command, told of the cluster by its environment.
    pub(super) fn client(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.env("POLYBOLOS_CLUSTER", format!("http://127.0.0.1:{}", self.grpc));
        command
    }

    /// A client's command of somebody with another token, or with none.
    pub(super) fn client_of(&self, token: Option<&str>, args: &[&str]) -> Command {
        let mut command = self.client(args);
        command.env_remove("POLYBOLOS_TOKEN");
        token.map(|token| command.env("POLYBOLOS_TOKEN", token));
        command
    }

    /// Runs a client's command.
    pub(super) fn run(&self, args: &[&str]) -> Ran {
        ran(self.client(args))
    }

    /// Sweeps on the cluster and waits for it.
    pub(super) fn sweep(&self, more: &[&str]) -> Ran {
        self.run(&sweep_args(more))
    }

    /// Hands a sweep to the cluster; its id.
    pub(super) fn submit(&self, more: &[&str]) -> String {
        let status = self.run(&[&sweep_args(more)[..], &["--detach"]].concat()).json();
        status["sweep_id"].as_str().unwrap().to_owned()
    }

    /// The same sweep in one process of this machine, into a folder of its own.
    pub(super) fn embedded(&self, more: &[&str]) -> Value {
        let args = [&sweep_args(more)[..], &["--results", "embedded"]].concat();
        ran(self.command(&args)).json()
    }

    /// The rows of a finished sweep must be those of the same sweep in one process, to the byte.
    pub(super) fn assert_same_rows(&self, sweep_id: &str, more: &[&str]) {
        self.assert_rows(sweep_id, more, &self.result_files("results", sweep_id));
    }

    /// [`TestCluster::assert_same_rows`] of result files that lie elsewhere.
    pub(super) fn assert_rows(&self, sweep_id: &str, more: &[&str], found: &BTreeMap<String, Vec<u8>>) {
        let here = self.embedded(more);
        assert_eq!(here["sweep_id"], sweep_id);
        let expected = self.result_files("embedded", sweep_id);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (name, bytes) in &expected {
            assert!(found[name] == *bytes, "other bytes in {name} of {sweep_id}");
        }
    }

    fn result_files(&self, results: &str, sweep_id: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = self.place.path(results).join("sweeps").join(sweep_id);
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let rows = entries.filter(|path| path.extension().is_some_and(|extension| extension == "parquet"));
        rows.map(|path| (file_name(&path), fs::read(path).unwrap())).collect()
    }

    /// Everything that the cluster has written on this machine but rows: logs and the scheduler's catalogue.
    pub(super) fn written(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folders = ["logs", "state"].map(|folder| self.place.path(folder));
        let files = folders.iter().flat_map(|folder| files_below(folder));
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// Every unit that executors have logged as computed.
    pub(super) fn computed(&self) -> BTreeMap<UnitKey, Vec<Computed>> {
        let mut units: BTreeMap<UnitKey, Vec<Computed>> = BTreeMap::new();
        for (executor, member) in self.members.iter().enumerate() {
            let lines = super::process::lines(&member.log, "unit");
            for line in lines.iter().filter(|line| line["outcome"] == "computed") {
                let text = |field: &str| line[field].as_str().unwrap().to_owned();
                let key = (text("sweep_id"), text("symbol"), line["row_from"].as_u64().unwrap());
                let ended = DateTime::parse_from_rfc3339(line["timestamp"].as_str().unwrap()).unwrap();
                let ended_ms = ended.timestamp_millis();
                let began_ms = ended_ms - (line["seconds"].as_f64().unwrap() * 1e3) as i64;
                units.entry(key).or_default().push(Computed { executor, began_ms, ended_ms });
            }
        }
        units
    }

    /// No unit may have been begun after its result was there.
    pub(super) fn assert_nothing_computed_twice(&self) {
        /// Between a result's being there and its line in the log.
        const SLACK_MS: i64 = 20;
        for (unit, mut times) in self.computed() {
            times.sort_by_key(|computed| computed.ended_ms);
            let first_ms = times[0].ended_ms;
            let late = times.iter().find(|computed| computed.began_ms > first_ms + SLACK_MS);
            assert!(late.is_none(), "{unit:?} was computed again after its result was there: {times:?}");
        }
    }

    /// Ends every process gently, then looks for what they should not have left behind.
    pub(super) fn finish(mut self) {
        let living: Vec<usize> = (0..self.members.len())
            .filter(|&number| self.members[number].process.ended().is_none())
            .collect();
        for &number in &living {
            self.members[number].process.signal("-TERM");
        }
        for &number in &living {
            let status = self.members[number].process.end_within(SOON);
            assert!(status.success(), "executor {number}: {status}");
            let left = names(&self.members[number].work_dir);
            assert_eq!(left, ["polybolos-executor.lock"], "left in the work folder of executor {number}");
        }
        if let Some(mut scheduler) = self.scheduler.take() {
            scheduler.signal("-TERM");
            let status = scheduler.end_within(SOON);
            assert!(status.success(), "scheduler: {status}");
        }
        self.assert_no_orphans();
    }

    /// The results folder holds units, result files and manifests, and nothing half-written.
    fn assert_no_orphans(&self) {
        let root = self.place.path("results");
        for path in files_below(&root) {
            let inside: Vec<String> = path
                .strip_prefix(&root)
                .unwrap()
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
            let is_known = match inside[..] {
                ["units", folder, unit] => {
                    folder.len() == 2 && unit.starts_with(folder) && unit.ends_with(".parquet")
                }
                ["sweeps", _, file] => !file.starts_with('.'),
                _ => false,
            };
            assert!(is_known, "left in the results folder: {}", path.display());
        }
    }

    /// The ends of all logs, for who has to find out what went wrong.
    fn print_logs(&self) {
        let logs = self.scheduler_logs.iter().chain(self.members.iter().map(|member| &member.log));
        for log in logs {
            let text = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("---- {} ({} lines)", log.display(), lines.len());
            for line in &lines[lines.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
        self.scheduler = None;
        for member in &mut self.members {
            member.process.kill();
        }
        for path in &self.mounts {
            // A mount that stays is better than a panic in a panic.
            let _ = Command::new("umount").arg("-l").arg(path).status();
        }
    }
}

/// The sweep of these tests: 240 grid rows of each symbol in units of 20.
pub(super) fn sweep_args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["sweep", "grid.yaml", "--symbols", "all", "--interval", "1h", "--json", "--quiet"];
    if !more.contains(&"--unit-rows") {
        args.extend(["--unit-rows", "20"]);
    }
    args.extend(more);
    args
}

/// Units of a symbol in that sweep.
pub(super) const UNITS_PER_SYMBOL: u64 = 12;

/// Runs a command to its end.
pub(super) fn ran(mut command: Command) -> Ran {
    let output = command.output().expect("the binary starts");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| file_name(&entry.path())).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Whether this process may mount disks and make network namespaces; says so where it may not.
pub(super) fn is_root(what: &str) -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    let is_root = id.stdout.trim_ascii() == b"0";
    if !is_root {
        eprintln!("skipped: {what} needs root");
    }
    is_root
}
