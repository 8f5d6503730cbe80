//! Loads a user's `#[udf]`, built for Arroyo as a cdylib, as a function of DataFusion.
//!
//! The library speaks arrow 51, this crate a later one; they meet in the Arrow C data interface,
//! which both keep stable. What the library exports has no types, so they come from its Rust
//! source, the text that Arroyo is given too. Only synchronous functions: an async one needs a
//! runtime, which this crate deliberately does not know.

mod aggregate;
mod declaration;
mod entry;
mod scalar;
mod tokens;

pub use declaration::{Declaration, Form, Primitive};

use std::path::Path;
use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::prelude::SessionContext;

use crate::error::Error;
use aggregate::PluginAggregate;
use entry::Entry;
use scalar::PluginScalar;

/// A loaded plugin, named as its function is in the source. It stays in memory until the process
/// ends.
#[derive(Clone, Debug)]
pub enum Plugin {
    Scalar(Arc<ScalarUDF>),
    Aggregate(Arc<AggregateUDF>),
}

impl Plugin {
    /// Loads `library` as the function that `source` declares.
    ///
    /// Both forms are volatile to the optimizer, as in Arroyo: nothing says that a user's function
    /// is pure.
    ///
    /// # Safety
    /// `library` runs with all rights of this process. It must have been built from `source` with
    /// `arroyo-udf-plugin` 0.2, and must not set a global allocator: it frees its argument list
    /// with the system's.
    pub unsafe fn load(library: &Path, source: &str) -> Result<Plugin, Error> {
        let declaration = Declaration::parse(source)?;
        // SAFETY: the caller answers for the library.
        let entry = unsafe { Entry::load(library) }?;
        Ok(match declaration.form {
            Form::Scalar => Plugin::Scalar(Arc::new(PluginScalar::new(declaration, entry).into())),
            Form::Aggregate => {
                Plugin::Aggregate(Arc::new(PluginAggregate::new(declaration, entry).into()))
            }
        })
    }

    /// Makes the function known to SQL; one of the same name is replaced.
    pub fn register(&self, context: &SessionContext) {
        match self {
            Plugin::Scalar(udf) => context.register_udf(udf.as_ref().clone()),
            Plugin::Aggregate(udaf) => context.register_udaf(udaf.as_ref().clone()),
        }
    }
}
