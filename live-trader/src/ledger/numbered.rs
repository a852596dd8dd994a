//! Maps by number as lists of pairs: keys of JSON are text, and inside a tagged record text is not read back as a number.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<T: Serialize, S: Serializer>(
    map: &BTreeMap<i64, T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map.iter())
}

pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<i64, T>, D::Error> {
    Ok(Vec::<(i64, T)>::deserialize(deserializer)?.into_iter().collect())
}
