//! An exchange that answers by a script: HTTP and WebSocket on one loopback port, with every way of not answering.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// A request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) verb: String,
    pub(super) path: String,
    pub(super) params: HashMap<String, String>,
    pub(super) headers: HashMap<String, String>,
}

/// What is done with a request.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Status, headers, body.
    Reply(u16, Vec<(&'static str, String)>, String),
    /// No answer at all.
    Hang,
    /// The connection is closed instead of an answer.
    Cut,
    /// Half of a body is sent, then the connection is closed.
    Half(String),
}

pub(super) fn ok(body: &serde_json::Value) -> Act {
    Act::Reply(200, Vec::new(), body.to_string())
}

pub(super) fn refusal(status: u16, code: i32, message: &str) -> Act {
    Act::Reply(status, Vec::new(), serde_json::json!({"code": code, "msg": message}).to_string())
}

/// Said to all open WebSockets.
#[derive(Debug, Clone)]
pub(super) enum Push {
    /// To sockets whose path begins so.
    Text(&'static str, String),
    Close(&'static str),
    /// Nothing more is read or written; connections stay open.
    Freeze,
}

type Script = dyn Fn(&Seen) -> Act + Send + Sync;
type SocketScript = dyn Fn(&str, &str) -> Vec<String> + Send + Sync;

/// The server; stops when it is dropped.
pub(super) struct Server {
    pub(super) base: String,
    pub(super) pushes: broadcast::Sender<Push>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Path of a socket and what came in on it; an empty text for its opening.
    frames: Arc<Mutex<Vec<(String, String)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(
        script: impl Fn(&Seen) -> Act + Send + Sync + 'static,
        sockets: impl Fn(&str, &str) -> Vec<String> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (pushes, _) = broadcast::channel(4_096);
        let shared = Shared {
            script: Arc::new(script),
            sockets: Arc::new(sockets),
            seen: Arc::default(),
            frames: Arc::default(),
            pushes: pushes.clone(),
        };
        let (seen, frames) = (Arc::clone(&shared.seen), Arc::clone(&shared.frames));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(shared.clone().serve(stream));
            }
        });
        Server { base, pushes, seen, frames, task }
    }

    /// Requests whose path ends so.
    pub(super) fn seen(&self, path: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path.ends_with(path)).cloned().collect()
    }

    /// Frames that came in on sockets whose path begins so.
    pub(super) fn frames(&self, path: &str) -> Vec<String> {
        let frames = self.frames.lock().unwrap();
        frames.iter().filter(|(socket, _)| socket.starts_with(path)).map(|(_, text)| text.clone()).collect()
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len() + self.frames.lock().unwrap().len()
    }
}

#[derive(Clone)]
struct Shared {
    script: Arc<Script>,
    sockets: Arc<SocketScript>,
    seen: Arc<Mutex<Vec<Seen>>>,
    frames: Arc<Mutex<Vec<(String, String)>>>,
    pushes: broadcast::Sender<Push>,
}

impl Shared {
    async fn serve(self, mut stream: TcpStream) {
        while let Some(request) = read_request(&mut stream).await {
            if let Some(key) = request.headers.get("sec-websocket-key") {
                let accept = derive_accept_key(key.as_bytes());
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                if stream.write_all(head.as_bytes()).await.is_ok() {
                    self.serve_socket(stream, &request.path).await;
                }
                return;
            }
            self.seen.lock().unwrap().push(request.clone());
            let (text, is_last) = match (self.script)(&request) {
                Act::Reply(status, headers, body) => {
                    let headers: String =
                        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                    let length = body.len();
                    (format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}"), false)
                }
                Act::Half(body) => {
                    let length = body.len() * 2;
                    (format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"), true)
                }
                Act::Cut => return,
                Act::Hang => return std::future::pending().await,
            };
            if stream.write_all(text.as_bytes()).await.is_err() || is_last {
                return;
            }
        }
    }

    async fn serve_socket(&self, stream: TcpStream, path: &str) {
        let mut pushes = self.pushes.subscribe();
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        self.frames.lock().unwrap().push((path.to_owned(), String::new()));
        loop {
            tokio::select! {
                message = socket.next() => {
                    let Some(Ok(Message::Text(text))) = message else {
                        match message {
                            Some(Ok(_)) => continue,
                            _ => return,
                        }
                    };
                    self.frames.lock().unwrap().push((path.to_owned(), text.to_string()));
                    for answer in (self.sockets)(path, text.as_str()) {
                        if answer == "close" {
                            return;
                        }
                        let _ = socket.send(Message::text(answer)).await;
                    }
                }
                Ok(push) = pushes.recv() => match push {
                    Push::Text(prefix, text) if path.starts_with(prefix) => {
                        let _ = socket.send(Message::text(text)).await;
                    }
                    Push::Close(prefix) if path.starts_with(prefix) => return,
                    Push::Freeze => std::future::pending().await,
                    Push::Text(..) | Push::Close(_) => {}
                },
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (verb, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let path = if path == "/stream" { target.to_owned() } else { path.to_owned() };
    Some(Seen {
        verb,
        path,
        params: query.split('&').filter_map(pair).collect(),
        headers: lines.filter_map(header).collect(),
    })
}
