//! The settings of an executor. The command line fills them; here is what they mean.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use polybolos_plan::faults::Faults;
use polybolos_plan::runtime::DEFAULT_CACHE_BYTES;

use polybolos_proto::access::{EXECUTOR_AGENT, executor_key};

use crate::error::ExecutorError;

/// A bearer token. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token; none for an empty or blank text.
    pub fn new(text: &str) -> Option<Token> {
        let text = text.trim();
        (!text.is_empty()).then(|| Token(text.to_owned()))
    }

    /// What proves to a scheduler that this executor knows the token, without sending it.
    pub(crate) fn agent(&self) -> String {
        format!("{EXECUTOR_AGENT}{}", executor_key(&self.0))
    }

    /// The value of an `authorization` header.
    fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether an `authorization` header carries it. Takes as long for every wrong header of a length.
    pub(crate) fn admits(&self, header: &[u8]) -> bool {
        let expected = self.bearer();
        let differences = expected.bytes().zip(header).fold(0, |sum, (a, &b)| sum | (a ^ b));
        expected.len() == header.len() && differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Where a scheduler listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerAddress {
    /// Host name or address; an IPv6 address in brackets.
    pub host: String,
    /// Its gRPC port.
    pub port: u16,
}

impl fmt::Display for SchedulerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A text that cannot be read as a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct ParseSettingError {
    text: String,
    wanted: &'static str,
}

impl FromStr for SchedulerAddress {
    type Err = ParseSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseSettingError {
            text: text.to_owned(),
            wanted: "HOST:PORT, e.g. scheduler:50050 (without http://)",
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let is_host = if let Some(inner) = host.strip_prefix('[') {
            inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
        } else {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        };
        let port = port.parse().ok().filter(|&port: &u16| port > 0).ok_or_else(error)?;
        if is_host { Ok(SchedulerAddress { host: host.to_owned(), port }) } else { Err(error()) }
    }
}

/// Which GPUs compute beside the slots. Units go where they are done faster; rows have the same bits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GpuChoice {
    /// All there are, if any.
    #[default]
    Auto,
    /// None.
    Off,
    /// These, by number; the executor does not start without them.
    Listed(Vec<usize>),
}

impl FromStr for GpuChoice {
    type Err = ParseSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => return Ok(GpuChoice::Auto),
            "off" => return Ok(GpuChoice::Off),
            _ => {}
        }
        let error = || ParseSettingError { text: text.to_owned(), wanted: "auto, off, or numbers like 0,1" };
        let mut listed = Vec::new();
        for part in text.split(',') {
            let ordinal = part.trim().parse().map_err(|_| error())?;
            if listed.contains(&ordinal) {
                return Err(error());
            }
            listed.push(ordinal);
        }
        Ok(GpuChoice::Listed(listed))
    }
}

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = ParseSettingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error =
            || ParseSettingError { text: text.to_owned(), wanted: "a size in bytes, or like 512MiB or 8GiB" };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(error()),
        };
        let number: u64 = number.parse().map_err(|_| error())?;
        number.checked_mul(1 << shift).map(ByteSize).ok_or_else(error)
    }
}

/// Port of the Flight service unless told otherwise; the next one is Ballista's gRPC.
pub const DEFAULT_PORT: u16 = 50051;

/// Port of the probes and metrics unless told otherwise.
pub const DEFAULT_HTTP_PORT: u16 = 8081;

/// What an executor is and where it runs.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// The scheduler it works for. It need not run yet.
    pub scheduler: SchedulerAddress,
    /// Address that all ports are bound to.
    pub bind: IpAddr,
    /// Host name or address under which scheduler and other executors reach this one; they dial back. Unless given it is
    /// `bind`, or where that is a wildcard, the address that this machine has towards the scheduler.
    pub advertise: Option<String>,
    /// Arrow Flight: other executors and the scheduler fetch results of query stages here. The port after it is Ballista's
    /// gRPC: the scheduler sends tasks there. 0 takes two neighbouring free ports.
    pub port: u16,
    /// Probes and metrics. 0 takes a free port.
    pub http_port: u16,
    /// Units and tasks run at a time, one thread each; at least 1.
    pub slots: usize,
    /// Folder for results of query stages and for spilled data. It is emptied at the start and at the end, and locked in
    /// between.
    pub work_dir: PathBuf,
    /// GPUs beside the slots.
    pub gpu: GpuChoice,
    /// Bytes of bars kept in memory between units, least recently used ones first out.
    pub bar_cache_bytes: usize,
    /// Bytes of memory for the tasks of queries, shared equally by the slots; a task that needs more spills to `work_dir`.
    /// `None`: 70 % of the machine's or the container's memory. The memory of sweeps is not in it: some tens of megabytes per
    /// slot and `bar_cache_bytes`.
    pub memory_pool_bytes: Option<u64>,
    /// Sent to the scheduler, and asked for by `/metrics`. The probes answer everybody.
    pub token: Option<Token>,
    /// Whether ports that other machines can reach may be bound without a token.
    pub is_insecure: bool,
    /// Time between two heartbeats, whole seconds. After five that fail in a row the executor registers anew.
    pub heartbeat: Duration,
    /// Time between two reports.
    pub report_interval: Duration,
    /// Faults on purpose, for tests.
    pub faults: Option<Faults>,
}

impl ExecutorConfig {
    /// An executor on this machine only, with what is chosen unless told otherwise.
    pub fn new(scheduler: SchedulerAddress, slots: usize, work_dir: PathBuf) -> ExecutorConfig {
        ExecutorConfig {
            scheduler,
            bind: IpAddr::from([127, 0, 0, 1]),
            advertise: None,
            port: DEFAULT_PORT,
            http_port: DEFAULT_HTTP_PORT,
            slots,
            work_dir,
            gpu: GpuChoice::Auto,
            bar_cache_bytes: DEFAULT_CACHE_BYTES,
            memory_pool_bytes: None,
            token: None,
            is_insecure: false,
            heartbeat: Duration::from_secs(10),
            report_interval: Duration::from_millis(500),
            faults: None,
        }
    }

    /// Host that is advertised; `None` if the way to the scheduler decides.
    pub(crate) fn advertised_host(&self) -> Option<String> {
        self.advertise.clone().or_else(|| (!self.bind.is_unspecified()).then(|| url_host(self.bind)))
    }

    pub(crate) fn check(&self) -> Result<(), ExecutorError> {
        let setting = |setting, value: String, reason| Err(ExecutorError::Setting { setting, value, reason });
        if self.slots == 0 {
            return setting("--slots", "0".to_owned(), "an executor needs at least one slot");
        }
        if self.port == u16::MAX {
            return setting("--port", self.port.to_string(), "the port after it is needed too");
        }
        let is_taken = |port: u16| self.port != 0 && (port == self.port || port == self.port + 1);
        if self.http_port != 0 && is_taken(self.http_port) {
            let reason = "is one of the two ports that begin with --port";
            return setting("--http-port", self.http_port.to_string(), reason);
        }
        if self.heartbeat.as_secs() == 0 {
            return setting("--heartbeat", format!("{:?}", self.heartbeat), "must be a second at least");
        }
        if self.memory_pool_bytes.is_some_and(|bytes| bytes < self.slots as u64) {
            let value = self.memory_pool_bytes.unwrap_or_default().to_string();
            return setting("--memory-pool", value, "leaves nothing for a slot");
        }
        if self.token.is_none() && !self.is_insecure && !self.bind.is_loopback() {
            return Err(ExecutorError::NoToken { address: SocketAddr::new(self.bind, self.port) });
        }
        Ok(())
    }
}

/// An address as the host of a URL.
pub(crate) fn url_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ExecutorConfig {
        let scheduler = SchedulerAddress { host: "localhost".to_owned(), port: 1 };
        ExecutorConfig::new(scheduler, 2, PathBuf::from("work"))
    }

    #[test]
    fn addresses_of_schedulers_are_read() {
        let parsed =
            |text: &str| text.parse::<SchedulerAddress>().map(|address| (address.host, address.port));
        for (text, host, port) in [
            ("localhost:50050", "localhost", 50050),
            ("10.0.0.7:1", "10.0.0.7", 1),
            ("my-host_1.example.com:65535", "my-host_1.example.com", 65535),
            ("[::1]:50050", "[::1]", 50050),
        ] {
            assert_eq!(parsed(text), Ok((host.to_owned(), port)), "{text}");
        }
        for text in
            ["", "localhost", ":50050", "localhost:0", "localhost:65536", "http://h:1", "::1:50050", "a b:1"]
        {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn choices_of_gpus_are_read() {
        assert_eq!("auto".parse(), Ok(GpuChoice::Auto));
        assert_eq!("off".parse(), Ok(GpuChoice::Off));
        assert_eq!("0, 2".parse(), Ok(GpuChoice::Listed(vec![0, 2])));
        for text in ["", "all", "0,", "-1", "1,1"] {
            assert!(text.parse::<GpuChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("0", 0), ("123", 123), ("7B", 7), ("2KiB", 2048), ("3 MiB", 3 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "GiB", "1.5GiB", "1GB", "-1", "99999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_for_strangers_needs_a_token() {
        let open = ExecutorConfig { bind: IpAddr::from([0, 0, 0, 0]), ..config() };
        assert!(config().check().is_ok());
        assert!(matches!(open.check(), Err(ExecutorError::NoToken { .. })));
        assert!(ExecutorConfig { token: Token::new("secret"), ..open.clone() }.check().is_ok());
        assert!(ExecutorConfig { is_insecure: true, ..open }.check().is_ok());
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        for (wrong, expected) in [
            (ExecutorConfig { slots: 0, ..config() }, "--slots"),
            (ExecutorConfig { port: u16::MAX, ..config() }, "--port"),
            (ExecutorConfig { http_port: DEFAULT_PORT + 1, ..config() }, "--http-port"),
            (ExecutorConfig { heartbeat: Duration::from_millis(999), ..config() }, "--heartbeat"),
            (ExecutorConfig { memory_pool_bytes: Some(1), ..config() }, "--memory-pool"),
        ] {
            let message = wrong.check().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn a_token_admits_itself_alone_and_is_never_printed() {
        let token = Token::new(" secret ").unwrap();
        assert!(token.admits(b"Bearer secret"));
        for wrong in
            ["", "secret", "Bearer", "Bearer secre", "Bearer secrets", "bearer secret", "Bearer Secret"]
        {
            assert!(!token.admits(wrong.as_bytes()), "{wrong}");
        }
        assert!(token.agent().starts_with(EXECUTOR_AGENT) && !token.agent().contains("secret"));
        assert!(Token::new("  ").is_none());
        assert!(!format!("{:?}", ExecutorConfig { token: Some(token), ..config() }).contains("secret"));
    }

    #[test]
    fn what_is_advertised_can_be_dialled() {
        assert_eq!(config().advertised_host().as_deref(), Some("127.0.0.1"));
        let v6 = ExecutorConfig { bind: "::1".parse().unwrap(), ..config() };
        assert_eq!(v6.advertised_host().as_deref(), Some("[::1]"));
        let any = ExecutorConfig { bind: "0.0.0.0".parse().unwrap(), ..config() };
        assert_eq!(any.advertised_host(), None);
        let named = ExecutorConfig { advertise: Some("pod-7".to_owned()), ..any };
        assert_eq!(named.advertised_host().as_deref(), Some("pod-7"));
    }
}
