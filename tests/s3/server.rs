//! A real S3 server beside the tests: moto in a Python of its own. Tests of several crates take this file in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// See the module. It ends with its input, so with the test.
pub(crate) struct S3Server {
    process: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Address, bucket and keys.
    told: Value,
}

/// The Python that runs the server, made once for all tests of this build; `None`, with the reason printed, where it cannot be.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let turn = File::create(tmp.join("s3.lock")).unwrap();
        turn.lock().unwrap();
        let made = Command::new("sh").arg(script("python.sh")).arg(tmp.join("s3-python")).output();
        match made {
            Ok(made) if made.status.success() => {
                Some(PathBuf::from(String::from_utf8(made.stdout).unwrap().trim()))
            }
            Ok(made) => {
                let reason = String::from_utf8_lossy(&made.stderr);
                eprintln!("skipped: no S3 server: {}", reason.lines().last().unwrap_or_default());
                None
            }
            Err(error) => {
                eprintln!("skipped: no S3 server: {error}");
                None
            }
        }
    });
    if python.is_none() {
        eprintln!("skipped: there is no S3 server to test with");
    }
    python.as_deref()
}

fn script(name: &str) -> PathBuf {
    Path::new("../tests/s3").join(name)
}

impl S3Server {
    /// Starts a server with an empty bucket; `None` where there is none to be had.
    pub(crate) fn start() -> Option<S3Server> {
        let mut process = Command::new(python()?)
            .arg(script("server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut server = S3Server { process, words, answers, told: Value::Null };
        server.told = serde_json::from_str(&server.answer()).unwrap();
        Some(server)
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        assert!(self.answers.read_line(&mut line).unwrap() > 0, "the S3 server has ended");
        line.trim().to_owned()
    }

    /// Has the server do something; see `tests/s3/server.py`.
    pub(crate) fn tell(&mut self, word: &str) -> String {
        writeln!(self.words, "{word}").unwrap();
        self.answer()
    }

    pub(crate) fn told(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap()
    }

    /// What a process needs to reach it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.told("endpoint")),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", self.told("access_key")),
            ("AWS_SECRET_ACCESS_KEY", self.told("secret_key")),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// A place in its bucket.
    pub(crate) fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.told("bucket"))
    }

    /// All objects below a prefix, by name.
    pub(crate) fn objects(&mut self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        self.tell(&format!("save {}", folder.path().display()));
        files(&folder.path().join(prefix))
    }

    /// How often each object below a prefix was written, by name.
    pub(crate) fn puts(&mut self, prefix: &str) -> BTreeMap<String, u64> {
        let puts: BTreeMap<String, u64> = serde_json::from_str(&self.tell("puts")).unwrap();
        let root = format!("/{}/{prefix}/", self.told("bucket"));
        let below =
            puts.into_iter().filter_map(|(path, count)| Some((path.strip_prefix(&root)?.to_owned(), count)));
        below.collect()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All files below a folder by their path in it, without hidden ones.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with('.') {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}
