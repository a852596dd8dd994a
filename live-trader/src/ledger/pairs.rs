//! Maps by number are written as lists of pairs: a key of text is not read back as a number where serde must look ahead, as in
//! the journal's tagged records.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<V: Serialize, S: Serializer>(
    map: &BTreeMap<i64, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map)
}

pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<i64, V>, D::Error> {
    Ok(Vec::<(i64, V)>::deserialize(deserializer)?.into_iter().collect())
}
