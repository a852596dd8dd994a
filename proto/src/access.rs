//! How an executor proves to a scheduler that it knows a token, without sending it.

use polybolos_engine::digest::Digester;

/// What an executor's key is written behind in the agent header: the only header that Ballista's client lets us set.
pub const EXECUTOR_AGENT: &str = "polybolos-executor/";

/// The key that is derived from a token: 64 hexadecimal digits. Whoever sees it can pose as an executor, not as a user.
pub fn executor_key(token: &str) -> String {
    let mut digester = Digester::new("executor-key/1");
    digester.text(token);
    digester.finish().to_string()
}
