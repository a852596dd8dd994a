//! A local HTTP server that plays the archive: scripted answers per path, every fault that a network has.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Reply {
    Body(Vec<u8>),
    /// A status line with header lines and a body, e.g. `429 Too Many Requests`.
    Status(&'static str, &'static str, &'static str),
    /// Promises the whole body, sends half of it and hangs up.
    Truncated(Vec<u8>),
    /// Promises the whole body, sends half of it and then nothing more.
    Stalled(Vec<u8>),
}

/// Answers in turn; the last is given for ever.
type Script = VecDeque<Reply>;

#[derive(Default)]
struct State {
    scripts: Mutex<BTreeMap<String, Script>>,
    requests: Mutex<Vec<String>>,
    is_closing: AtomicBool,
    delay: Mutex<Duration>,
}

pub(crate) struct Mirror {
    address: SocketAddr,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

impl Mirror {
    pub(crate) fn start() -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_closing.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                std::thread::spawn(move || answer(&state, stream.unwrap()));
            }
        });
        Mirror { address, state, listener: Some(listener) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn script(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.state.scripts.lock().unwrap().insert(path.to_owned(), replies.into_iter().collect());
    }

    /// Every answer is held back so long.
    pub(crate) fn slow_down(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    /// Publishes a file with its checksum.
    pub(crate) fn publish(&self, path: &str, zip: &[u8]) {
        self.script(path, [Reply::Body(zip.to_vec())]);
        self.publish_checksum(path, zip);
    }

    pub(crate) fn publish_checksum(&self, path: &str, zip: &[u8]) {
        let hex: String = Sha256::digest(zip).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.rsplit('/').next().unwrap();
        let line = format!("{hex}  {name}\n");
        self.script(&format!("{path}.CHECKSUM"), [Reply::Body(line.into_bytes())]);
    }

    /// The paths asked for since the last call, in the order of asking.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.state.is_closing.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.listener.take().map(JoinHandle::join);
    }
}

fn answer(state: &State, mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap_or(0);
    let Some(target) = request.split(' ').nth(1).map(str::to_owned) else { return };
    let mut header = String::new();
    while reader.read_line(&mut header).is_ok_and(|length| length > 2) {
        header.clear();
    }
    state.requests.lock().unwrap().push(target.clone());
    let delay = *state.delay.lock().unwrap();
    std::thread::sleep(delay);
    let reply = {
        let mut scripts = state.scripts.lock().unwrap();
        let script = scripts.get_mut(&target);
        script.and_then(
            |replies| if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() },
        )
    };
    let reply = reply.unwrap_or(Reply::Status("404 Not Found", "", "no such key"));
    let head = |status: &str, headers: &str, length: usize| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")
            .into_bytes()
    };
    let (bytes, waits) = match reply {
        Reply::Body(body) => ([head("200 OK", "", body.len()), body].concat(), false),
        Reply::Status(status, headers, body) => {
            ([head(status, headers, body.len()), body.into()].concat(), false)
        }
        Reply::Truncated(body) => {
            ([head("200 OK", "", body.len()), body[..body.len() / 2].to_vec()].concat(), false)
        }
        Reply::Stalled(body) => {
            ([head("200 OK", "", body.len()), body[..body.len() / 2].to_vec()].concat(), true)
        }
    };
    // The client may hang up first.
    let _ = stream.write_all(&bytes);
    if waits {
        let _ = reader.read(&mut [0]);
    }
}
