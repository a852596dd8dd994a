//! Who may call what: bearer tokens for users, a derived key for executors, a secret of this process for itself.
//!
//! Tokens are compared as digests, so that the time a comparison takes says nothing, and never logged or stored. Without
//! tokens every call is open; the process then refuses to listen anywhere but on the loopback ([`crate::server`]).

use std::fmt;
use std::path::Path;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use polybolos_engine::digest::{Digest, Digester};
use polybolos_proto::access::{EXECUTOR_AGENT, executor_key};

/// Name of the user where there is one token without a name, or none.
pub const DEFAULT_USER: &str = "default";

/// Header that carries the process's own secret.
pub(crate) const INTERNAL_HEADER: &str = "x-polybolos-internal";

/// Shortest token that is accepted: anything shorter can be guessed over the network.
const MIN_TOKEN_CHARS: usize = 16;

/// The users and their tokens.
#[derive(Clone, Default)]
pub struct Tokens {
    users: Vec<User>,
}

#[derive(Clone)]
struct User {
    name: String,
    token: Digest,
    executor_key: Digest,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.users.iter().map(|user| user.name.as_str()).collect();
        f.debug_struct("Tokens").field("users", &names).finish_non_exhaustive()
    }
}

/// A token file or a token that cannot be used. The token itself is not in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct TokenError {
    place: String,
    reason: String,
}

impl Tokens {
    /// One user with this token.
    ///
    /// # Errors
    /// The token is too short or holds characters that no header can carry.
    pub fn single(place: &str, token: &str) -> Result<Tokens, TokenError> {
        let mut tokens = Tokens::default();
        tokens.add(place, DEFAULT_USER, token)?;
        Ok(tokens)
    }

    /// Adds the users of a file: one `name token` per line, `#` begins a comment.
    ///
    /// # Errors
    /// The file cannot be read, or a line is not of that form; the message names the line.
    pub fn add_file(&mut self, path: &Path) -> Result<(), TokenError> {
        let error = |reason: String| TokenError { place: path.display().to_string(), reason };
        let text = std::fs::read_to_string(path).map_err(|reason| error(reason.to_string()))?;
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let place = format!("{}, line {}", path.display(), index + 1);
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                [name, token] => self.add(&place, name, token)?,
                _ => {
                    let reason = "write a user's name, a blank and the token".to_owned();
                    return Err(TokenError { place, reason });
                }
            }
        }
        if self.users.is_empty() {
            return Err(error("holds no token; write one `name token` per line".to_owned()));
        }
        Ok(())
    }

    fn add(&mut self, place: &str, name: &str, token: &str) -> Result<(), TokenError> {
        let error = |reason: String| Err(TokenError { place: place.to_owned(), reason });
        if token.chars().count() < MIN_TOKEN_CHARS {
            return error(format!(
                "the token has fewer than {MIN_TOKEN_CHARS} characters; make one with `openssl rand -hex 32`"
            ));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return error("a token is made of printable ASCII characters without blanks".to_owned());
        }
        if self.users.iter().any(|user| user.name == name || user.token == digest(token)) {
            return error(format!("the user {name} or this token is there twice"));
        }
        self.users.push(User {
            name: name.to_owned(),
            token: digest(token),
            executor_key: digest(&executor_key(token)),
        });
        Ok(())
    }

    /// Whether calls are open to everybody.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The user that a request's headers prove, if any.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Option<String> {
        if self.is_empty() {
            return Some(DEFAULT_USER.to_owned());
        }
        let given = digest(&bearer(headers)?);
        self.users.iter().find(|user| user.token == given).map(|user| user.name.clone())
    }

    /// Whether a request comes from an executor that knows a token: it sends the derived key in its agent, the one header
    /// that Ballista's own client lets us set, or the token itself.
    pub(crate) fn is_executor(&self, headers: &HeaderMap) -> bool {
        if self.user(headers).is_some() {
            return true;
        }
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let key = agent.split_whitespace().find_map(|word| word.strip_prefix(EXECUTOR_AGENT));
        key.is_some_and(|key| self.users.iter().any(|user| user.executor_key == digest(key)))
    }
}

/// Tokens are compared by digest: how long the comparison takes says nothing about the token.
fn digest(token: &str) -> Digest {
    let mut digester = Digester::new("token/1");
    digester.text(token);
    digester.finish()
}

/// The token of `Authorization: Bearer`, or the password of `Basic`, which is what a browser asks its user for.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
        return decoded.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

/// What a path asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: probes.
    Nothing,
    /// A user's token.
    User,
    /// An executor's key.
    Executor,
    /// This process's own secret: Ballista's client calls run arbitrary plans, which could read any file.
    Internal,
}

/// Calls that executors make of Ballista's scheduler.
const EXECUTOR_CALLS: [&str; 5] =
    ["PollWork", "RegisterExecutor", "HeartBeatFromExecutor", "UpdateTaskStatus", "ExecutorStopped"];

/// What a gRPC or HTTP path needs. What is not known needs most.
pub(crate) fn needs(path: &str) -> Needs {
    if let Some(call) = path.strip_prefix("/ballista.protobuf.SchedulerGrpc/") {
        return if EXECUTOR_CALLS.contains(&call) { Needs::Executor } else { Needs::Internal };
    }
    if path.starts_with("/polybolos.cluster.v1.Executors/") {
        return Needs::Executor;
    }
    match path {
        "/healthz" | "/readyz" => Needs::Nothing,
        _ if path.starts_with("/arrow.flight.") => Needs::Internal,
        _ => Needs::User,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::io::Write as _;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    fn headers(name: axum::http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_token_is_asked_for_once_there_is_one() {
        let open = Tokens::default();
        assert_eq!(open.user(&HeaderMap::new()).as_deref(), Some(DEFAULT_USER));
        let tokens = Tokens::single("here", TOKEN).unwrap();
        assert_eq!(tokens.user(&HeaderMap::new()), None);
        for (value, expected) in [
            (format!("Bearer {TOKEN}"), Some(DEFAULT_USER)),
            (format!("bearer  {TOKEN} "), Some(DEFAULT_USER)),
            (format!("Basic {}", BASE64_STANDARD.encode(format!("me:{TOKEN}"))), Some(DEFAULT_USER)),
            (format!("Bearer {TOKEN}x"), None),
            ("Bearer ".to_owned(), None),
            (TOKEN.to_owned(), None),
        ] {
            assert_eq!(tokens.user(&headers(AUTHORIZATION, &value)).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn an_executor_proves_itself_by_a_key_that_is_not_the_token() {
        let tokens = Tokens::single("here", TOKEN).unwrap();
        let agent = format!("{EXECUTOR_AGENT}{} tonic/0.14", executor_key(TOKEN));
        assert!(tokens.is_executor(&headers(USER_AGENT, &agent)));
        assert!(!tokens.is_executor(&headers(USER_AGENT, &format!("{EXECUTOR_AGENT}{TOKEN}"))));
        assert!(!tokens.is_executor(&HeaderMap::new()));
        assert_eq!(tokens.user(&headers(AUTHORIZATION, &format!("Bearer {}", executor_key(TOKEN)))), None);
    }

    #[test]
    fn token_files_name_their_users_and_their_faults() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# people\nann  {TOKEN}a\nbob {TOKEN}b # the other").unwrap();
        let mut tokens = Tokens::default();
        tokens.add_file(file.path()).unwrap();
        let user = |token: &str| tokens.user(&headers(AUTHORIZATION, &format!("Bearer {token}")));
        assert_eq!(user(&format!("{TOKEN}b")).as_deref(), Some("bob"));
        assert_eq!(user(TOKEN), None);
        assert!(!format!("{tokens:?}").contains(TOKEN), "a token must not be printed");
        for (text, word) in [
            ("ann", "line 1"),
            ("ann short", "fewer than 16"),
            ("", "holds no token"),
            ("ann 0123456789abcdef0123\nann 0123456789abcdef0124", "line 2"),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let error = Tokens::default().add_file(file.path()).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("0123456789"), "{error}");
        }
    }

    #[test]
    fn only_probes_are_open_and_plans_are_ours_alone() {
        for (path, expected) in [
            ("/healthz", Needs::Nothing),
            ("/metrics", Needs::User),
            ("/", Needs::User),
            ("/polybolos.cluster.v1.Sweeps/Submit", Needs::User),
            ("/polybolos.cluster.v1.Executors/Report", Needs::Executor),
            ("/ballista.protobuf.SchedulerGrpc/HeartBeatFromExecutor", Needs::Executor),
            ("/ballista.protobuf.SchedulerGrpc/ExecuteQuery", Needs::Internal),
            ("/ballista.protobuf.SchedulerGrpc/CancelJob", Needs::Internal),
            ("/ballista.protobuf.SchedulerGrpc/NewCall", Needs::Internal),
            ("/arrow.flight.protocol.FlightService/DoGet", Needs::Internal),
        ] {
            assert_eq!(needs(path), expected, "{path}");
        }
    }
}
