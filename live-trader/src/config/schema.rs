//! Schemas of values that have no type of their own in JSON.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A decimal number, kept digit by digit. Written as a number or in quotes.
pub(crate) fn decimal(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "string"], "format": "decimal" })
}

/// A decimal above 0.
pub(crate) fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "string"], "format": "decimal", "exclusiveMinimum": 0 })
}

/// A decimal of at least 0.
pub(crate) fn amount_or_zero(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "string"], "format": "decimal", "minimum": 0 })
}

/// A decimal above 0 and below 1.
pub(crate) fn fraction(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "string"], "format": "decimal", "exclusiveMinimum": 0, "exclusiveMaximum": 1 })
}

/// A name of an interval.
pub(crate) fn interval(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> =
        polybolos_engine::interval::Interval::all().map(polybolos_engine::interval::Interval::name).collect();
    json_schema!({ "type": "string", "enum": names })
}

/// 64 hexadecimal digits.
pub(crate) fn digest(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
}

/// A name of an environment variable. Shorter than any API key, so that a key in its place is found.
pub(crate) fn variable(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": super::conform::VARIABLE, "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,39}$" })
}
