//! What a model may ask for beyond what it is shown: a closed set, answered from the diagnosis.

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// Evidence about a service that was not shown yet.
    Evidence { service: String },
    /// Who calls it.
    Callers { service: String },
    /// Whom it calls.
    Callees { service: String },
}
