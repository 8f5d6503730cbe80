//! Text functions whose result may be many times as large as what goes in. No memory limit sees a
//! result before it is made, so its size is estimated first.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, resources_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::prelude::SessionContext;

/// The functions.
const GROWING: [&str; 6] =
    ["concat", "concat_ws", "overlay", "regexp_replace", "replace", "translate"];

/// Bytes of one result, for all rows of a batch together.
const RESULT_BYTES_MAX: u64 = 256 << 20;

/// Puts a bound on the growing functions that a context knows.
pub fn bound(context: &SessionContext) {
    for name in GROWING {
        let function = context.state().scalar_functions().get(name).cloned();
        if let Some(inner) = function {
            let inner = ScalarUDF::clone(&inner);
            context.register_udf(ScalarUDF::new_from_impl(Bounded { inner }));
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: ScalarUDF,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let most = most_bytes(self.name(), &args.args, args.number_rows)?;
        if most > RESULT_BYTES_MAX {
            return Err(resources_datafusion_err!(
                "{} would make up to {most} bytes of text at once",
                self.name()
            ));
        }
        self.inner.invoke_with_args(args)
    }
}

/// No result can be larger than this.
fn most_bytes(name: &str, args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let sizes = args.iter().map(|arg| Size::of(arg, rows)).collect::<Result<Vec<_>>>()?;
    let Some((text, others)) = sizes.split_first() else { return Ok(0) };
    let sum = || sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(size.total));
    Ok(match (name, others) {
        ("concat_ws", others) => {
            let separators = text.total.saturating_mul(others.len() as u64);
            sum().saturating_add(separators)
        }
        ("regexp_replace" | "replace", [_, by, ..]) => {
            // A match is one byte at least, or nothing between two.
            let places = text.total.saturating_add(rows as u64);
            text.total.saturating_add(places.saturating_mul(by.longest))
        }
        _ => sum(),
    })
}

/// Bytes of an argument: over all rows, and of its longest value.
struct Size {
    total: u64,
    longest: u64,
}

impl Size {
    fn of(arg: &ColumnarValue, rows: usize) -> Result<Self> {
        let array = match arg {
            ColumnarValue::Array(array) => cast(array, &DataType::LargeUtf8)?,
            ColumnarValue::Scalar(value) => {
                let longest = length(value);
                return Ok(Self { total: longest.saturating_mul(rows as u64), longest });
            }
        };
        let texts = array.as_string::<i64>();
        let lengths = (0..texts.len()).map(|row| texts.value_length(row).unsigned_abs());
        Ok(Self { total: lengths.clone().sum(), longest: lengths.max().unwrap_or(0) })
    }
}

fn length(value: &ScalarValue) -> u64 {
    value.try_as_str().flatten().map_or(64, |text| text.len() as u64)
}
