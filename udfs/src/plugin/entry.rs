//! The one function that a plugin library exports, and the layout it speaks: that of
//! `arroyo-udf-common` 0.2.

use std::alloc::{GlobalAlloc, Layout, System, handle_alloc_error};
use std::path::Path;

use arrow::array::{Array, ArrayRef, make_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use libloading::Library;

use crate::error::Error;

#[repr(C)]
pub(super) struct Exchange(pub(super) FFI_ArrowArray, pub(super) FFI_ArrowSchema);

/// A `Vec<Exchange>` taken apart; the callee puts it together again and frees it.
#[repr(C)]
pub(super) struct Arguments {
    pub(super) pointer: *mut Exchange,
    pub(super) length: usize,
    pub(super) capacity: usize,
    /// Never read by a plugin, but part of the layout.
    pub(super) error: bool,
}

#[repr(C)]
#[cfg_attr(not(test), expect(dead_code, reason = "only a plugin makes one"))]
pub(super) enum Outcome {
    Ok(Exchange),
    Err,
}

type Run = extern "C-unwind" fn(Arguments) -> Outcome;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    run: Run,
}

/// Two loads of one library are the same function.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.run, other.run)
    }
}

impl Eq for Entry {}

impl std::hash::Hash for Entry {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.run as usize).hash(state);
    }
}

impl Entry {
    #[cfg(test)]
    pub(super) fn new(run: Run) -> Self {
        Self { run }
    }

    /// # Safety
    /// As of [`super::Plugin::load`].
    pub(super) unsafe fn load(path: &Path) -> Result<Self, Error> {
        // A bare file name would be looked for in the system's library folders.
        let path = path
            .canonicalize()
            .map_err(|source| Error::PluginFile { path: path.to_path_buf(), source })?;
        // SAFETY: the caller answers for what the library does when it is loaded.
        let library = unsafe { Library::new(&path) };
        // Leaked, because results hold buffers and release callbacks that live in the library.
        let library: &'static Library = match library {
            Ok(library) => Box::leak(Box::new(library)),
            Err(source) => return Err(Error::PluginLoad { path, source }),
        };
        // SAFETY: `__run` of a library that the plugin crate built has this type.
        match unsafe { library.get::<Run>("__run") } {
            Ok(run) => Ok(Self { run: *run }),
            Err(source) => Err(Error::PluginEntry { path, source }),
        }
    }

    /// Calls the plugin with `arguments`, each cast to its type where it is of another, for one
    /// result of `rows` rows.
    ///
    /// There must be at least one argument: the callee indexes the first, outside the part whose
    /// panics it catches.
    pub(super) fn call(
        &self,
        udf: &str,
        arguments: &[(ArrayRef, DataType)],
        rows: usize,
        result: &DataType,
    ) -> Result<ArrayRef, Error> {
        let data = |source| Error::PluginData { udf: udf.to_owned(), source };
        let exchanges = arguments
            .iter()
            .map(|(array, data_type)| export(array, data_type))
            .collect::<Result<Vec<_>, _>>()
            .map_err(data)?;
        match (self.run)(hand_over(exchanges)) {
            Outcome::Err => Err(Error::PluginPanic { udf: udf.to_owned() }),
            Outcome::Ok(Exchange(array, schema)) => {
                // SAFETY: the plugin exported both through the C data interface and gave them away.
                let array = make_array(unsafe { from_ffi(array, &schema) }.map_err(data)?);
                if array.data_type() != result || array.len() != rows {
                    return Err(Error::PluginResult {
                        udf: udf.to_owned(),
                        rows: array.len(),
                        found: array.data_type().clone(),
                        rows_expected: rows,
                        expected: result.clone(),
                    });
                }
                Ok(array)
            }
        }
    }
}

/// Arrow 51 knows no string views, and a plugin no dictionaries.
fn export(array: &ArrayRef, data_type: &DataType) -> Result<Exchange, ArrowError> {
    let (array, schema) = if array.data_type() == data_type {
        to_ffi(&array.to_data())?
    } else {
        to_ffi(&cast(array, data_type)?.to_data())?
    };
    Ok(Exchange(array, schema))
}

/// Moves the list to memory of the system allocator, which is what a plugin frees it with, whatever
/// allocator this process runs on. Nothing here frees it again, even if the call unwinds.
fn hand_over(exchanges: Vec<Exchange>) -> Arguments {
    let length = exchanges.len();
    let Ok(layout) = Layout::array::<Exchange>(length) else {
        unreachable!("a vector of this length exists");
    };
    // SAFETY: `Exchange` has a size, and the caller passes at least one.
    let pointer = unsafe { System.alloc(layout) }.cast::<Exchange>();
    if pointer.is_null() {
        handle_alloc_error(layout);
    }
    for (index, exchange) in exchanges.into_iter().enumerate() {
        // SAFETY: `index` is below the length that was allocated.
        unsafe { pointer.add(index).write(exchange) };
    }
    Arguments { pointer, length, capacity: length, error: false }
}
