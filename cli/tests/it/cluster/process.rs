//! A process under test: its log, its signals, what the kernel says of it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How often something that is waited for is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(25);

/// Ticks of processor time in a second, as `/proc` counts them on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A child whose log goes to a file. It is killed when it is dropped.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(super) fn spawn(mut command: Command, log: PathBuf) -> Process {
        let file = File::create(&log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Process { child, log }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log as it stands.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The log lines with this message.
    pub(super) fn lines(&self, message: &str) -> Vec<Value> {
        lines(&self.log, message)
    }

    pub(super) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success(), "{name} to {}", self.log.display());
    }

    /// SIGKILL, and its end.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(super) fn end_within(&mut self, deadline: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(started.elapsed() < deadline, "{} does not end within {deadline:?}", self.log.display());
            std::thread::sleep(LOOK);
        }
    }

    /// Seconds of processor time used so far.
    pub(super) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name in parentheses may hold blanks; user and system time are the 14th and 15th field.
        let after_name = stat.rsplit_once(')').unwrap().1;
        let ticks = |index| after_name.split_whitespace().nth(index).unwrap().parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a JSON log with this message.
pub(super) fn lines(log: &Path, message: &str) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let documents = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    documents.filter(|line| line["message"] == message).collect()
}

/// A port that is free now, below those that the system gives to outgoing connections: nothing takes it while its process is
/// away for a moment.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    let offset = (std::process::id() % 97) as u16 * 120;
    for _ in 0..COUNT {
        let port = FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}

/// One HTTP request; status and body. `None` where nobody answers.
pub(super) fn get(address: &str, path: &str, token: Option<&str>) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{token}\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
