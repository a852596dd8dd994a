//! Where bars and results lie: a folder, or a bucket.

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use polybolos_storage::Location;

/// Where market data lies.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataDir {
    /// Dataset folder, or s3://BUCKET/PREFIX.
    #[arg(long = "data", env = "POLYBOLOS_DATA", default_value = "./data", value_name = "DIR")]
    pub data: String,
}

/// Where results lie.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResultsDir {
    /// Results folder, or s3://BUCKET/PREFIX.
    #[arg(long = "results", env = "POLYBOLOS_RESULTS", default_value = "./results", value_name = "DIR", value_parser = location())]
    pub results: Location,
}

fn location() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(Location::parse)
}
