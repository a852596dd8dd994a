//! Payload = magic (4 bytes), format version (1 byte), protobuf message.

use prost::Message;

use crate::WireError;

/// A kind of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// For messages.
    pub name: &'static str,
    /// First four bytes.
    pub magic: [u8; 4],
    /// Fifth byte.
    pub version: u8,
}

/// A sweep table inside a logical plan.
pub const TABLE: Kind = Kind { name: "sweep table", magic: *b"PBST", version: 2 };

/// A sweep operator inside a physical plan.
pub const NODE: Kind = Kind { name: "sweep operator", magic: *b"PBSX", version: 2 };

impl Kind {
    /// Whether a payload claims to be of this kind, whatever its version.
    pub fn claims(&self, payload: &[u8]) -> bool {
        payload.starts_with(&self.magic)
    }

    /// Appends a payload to `buffer`.
    pub fn encode(&self, message: &impl Message, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.magic);
        buffer.push(self.version);
        buffer.extend_from_slice(&message.encode_to_vec());
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// Another kind or version, or damaged bytes.
    pub fn decode<M: Message + Default>(&self, payload: &[u8]) -> Result<M, WireError> {
        let body = payload
            .strip_prefix(&self.magic)
            .and_then(|rest| rest.strip_prefix(&[self.version]))
            .ok_or(WireError::Foreign { wanted: self.name, version: self.version })?;
        M::decode(body).map_err(|error| WireError::Damaged { wanted: self.name, reason: error.to_string() })
    }
}
